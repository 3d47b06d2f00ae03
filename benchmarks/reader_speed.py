"""How fast is the reader, beside the network that most people would put in its place?

    python benchmarks/reader_speed.py                  # 60 rounds, the shipped bundle
    python benchmarks/reader_speed.py --rounds 20

Every row is a call on one image, one after the other, the rows taking turns. "Frame to mask" begins with a decoded
gray frame of 1000 × 700 pixels and ends with probabilities, mask and measured lesions of that size. The others are the
network alone at the bundle's input size: ours, and smp.Unet("efficientnet-b0") in PyTorch as it comes and in ONNX
Runtime. OpenVINO's rows appear if it is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import segmentation_models_pytorch as smp
import torch
from common import in_openvino, report, spread, take_turns
from numpy.typing import NDArray
from PIL import Image

import sonoseg
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.bundle import Bundle, default_bundle_path

FRAME = (1000, 700)


def frame() -> NDArray[np.uint8]:
    """A synthetic frame (700, 1000) with a lesion."""
    return np.asarray(Image.fromarray(make_phantom(0)[0]).resize(FRAME, Image.Resampling.BILINEAR))


def peer_in_onnx(peer: torch.nn.Module, image: torch.Tensor) -> Callable[[], Any]:
    """The peer, exported and optimised by PyTorch's exporter, in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "peer.onnx"
        torch.onnx.export(peer, (image,), file, input_names=["image"], dynamo=True, external_data=False, verbose=False)
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    pixels = image.numpy()
    return lambda: session.run(None, {"image": pixels})


def openvino_sides(image: NDArray[np.float32]) -> dict[str, Callable[[], Any]]:
    """Our network in OpenVINO, if it is there: in the precision that we use, and in the one that it may choose."""
    sides = {}
    for precision in ("f32", "bf16"):
        if (compiled := in_openvino(default_bundle_path(), image, precision)) is not None:
            sides[f"sonoseg-1, OpenVINO in {precision}, network alone"] = partial(compiled, {"image": image})
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    segmenter, bundle, scan = sonoseg.load(), Bundle.read(default_bundle_path()), frame()
    height, width = segmenter.card.size
    image = np.random.default_rng(0).random((1, 1, height, width), np.float32)
    coloured = torch.from_numpy(image).expand(-1, 3, -1, -1).contiguous()
    peer = smp.Unet("efficientnet-b0", encoder_weights=None).eval()

    def eager() -> None:
        with torch.inference_mode():
            peer(coloured)

    sides: dict[str, Callable[[], Any]] = {
        "sonoseg-1, frame to mask": lambda: segmenter.segment(scan),
        "sonoseg-1, network alone": lambda: bundle.run(image),
        "sonoseg-1, network and Grad-CAM": lambda: bundle.run(image, explain=True),
        "smp.Unet efficientnet-b0, PyTorch": eager,
        "smp.Unet efficientnet-b0, ONNX Runtime": peer_in_onnx(peer, coloured),
        **openvino_sides(image),
    }
    times = {name: spread(values) for name, values in take_turns(sides, options.rounds).items()}
    ours = times["sonoseg-1, frame to mask"]["median"]
    rows = [
        {
            "what": name,
            "median ms": round(1000 * told["median"], 1),
            "quartiles": f"{1000 * told['quartile_1']:.1f} to {1000 * told['quartile_3']:.1f}",
            "images a second": round(1 / told["median"], 1),
            "times sonoseg's frame to mask": round(told["median"] / ours, 2),
        }
        for name, told in times.items()
    ]
    report("reader_speed", {"rounds": options.rounds, "frame": FRAME, "network input": [height, width]}, rows)


if __name__ == "__main__":
    main()
