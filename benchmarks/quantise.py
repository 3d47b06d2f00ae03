"""Would 8-bit weights and activations be faster, and what would they cost?

    python benchmarks/quantise.py BUSI

The shipped bundle's graph, its convolutions quantised by ONNX Runtime's tools, all of them or all but the first ones,
their ranges fitted to 64 training images of `paper-clean`; scored on the validation images beside the bundle itself,
and timed in turns with it. The same graph in OpenVINO appears if that is installed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from common import in_openvino, lesion_dice, report, spread, take_turns
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import split_cases
from sonoseg.reader.bundle import Bundle, default_bundle_path

FIRST = (0, 4, 8)
"""How many of the first convolutions, which see the image's full range, stay as they are."""


class Images(CalibrationDataReader):  # type: ignore[misc]
    """Prepared images, one at a time, as the quantiser asks for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image[None]}


def prepared(cases: Sequence[Case], size: tuple[int, int]) -> NDArray[np.float32]:
    """(N, 1, H, W) in 0..1."""
    return (
        np.stack([resize_image(case.read_image(), size)[None] for case in cases]).astype(np.float32)
        / 255
    )


def optimised(folder: Path) -> Path:
    """The bundle's graph as the quantiser takes it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "whole.onnx")
    onnxruntime.InferenceSession(default_bundle_path(), options, providers=["CPUExecutionProvider"])
    return folder / "whole.onnx"


def quantised(whole: Path, images: NDArray[np.float32], first: int) -> Path:
    """A graph with its convolutions but the `first` in 8 bits: weights by channel, activations by tensor."""
    file = whole.with_name(f"int8-{first}.onnx")
    nodes = onnx.load(whole).graph.node
    quantize_static(
        whole,
        file,
        Images(images),
        nodes_to_exclude=[node.name for node in nodes if node.op_type == "Conv"][:first],
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return file


def in_onnxruntime(file: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The graph's probability of (N, 1, H, W)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["probability"], {"image": image})[0]


def main(busi: str) -> None:
    bundle = Bundle.read(default_bundle_path())
    split = split_cases(load_cases(Path(busi)), "paper-clean")
    images = prepared(split["validation"], bundle.card.size)
    masks = np.stack(
        [resize_mask(case.read_mask(), bundle.card.size) for case in split["validation"]]
    )
    sides: dict[str, Any] = {"as shipped": lambda image: bundle.run(image).probability}
    with tempfile.TemporaryDirectory() as folder:
        whole = optimised(Path(folder))
        known = prepared(split["train"][::8][:64], bundle.card.size)
        for first in FIRST:
            file = quantised(whole, known, first)
            name = f"8 bits but for {first} convolutions" if first else "8 bits"
            sides[name] = in_onnxruntime(file)
            if (compiled := in_openvino(file, images[:1], "f32")) is not None:
                sides[f"{name}, OpenVINO"] = lambda image, run=compiled: run({"image": image})[
                    "probability"
                ]
    times = take_turns({name: (lambda run=run: run(images[:1])) for name, run in sides.items()}, 40)
    rows = []
    for name, run in sides.items():
        probability = np.concatenate([run(image[None])[:, 0] for image in images])
        dice = lesion_dice(probability >= bundle.card.threshold, masks)
        median = spread(times[name])["median"]
        rows.append(
            {
                "network": name,
                "median ms": round(1000 * median, 1),
                "lesion Dice, validation": round(dice, 4),
            }
        )
    report("quantise", {"images": len(images), "size": list(bundle.card.size)}, rows)


if __name__ == "__main__":
    main(sys.argv[1])
