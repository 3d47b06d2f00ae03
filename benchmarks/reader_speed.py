"""How fast is the reader, beside the network that most people would put in its place?

    python benchmarks/reader_speed.py                  # 60 rounds, the shipped bundle
    python benchmarks/reader_speed.py --rounds 20
    python benchmarks/reader_speed.py --model accurate

Every row is a call on one image, one after the other, the rows taking turns. "Frame to mask" begins with a decoded
gray frame of 1000 × 700 pixels and ends with a mask of that size; of ours, also with every lesion measured. The others
are the network alone at the bundle's input size: ours, and smp.Unet("efficientnet-b0") in PyTorch as it comes and in
ONNX Runtime. OpenVINO's rows appear if it is installed.
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
import torch.nn.functional as F
from common import in_openvino, report, spread, take_turns
from numpy.typing import NDArray
from PIL import Image

import sonoseg
from sonoseg.core.resize import resize_image
from sonoseg.data.phantom import make_phantom
from sonoseg.models.encoders import Normalize
from sonoseg.reader.bundle import Bundle, find_bundle

FRAME = (1000, 700)
NORMALIZE = Normalize()
OURS = {what: f"sonoseg-1, {what}" for what in ("frame to mask", "network alone")}
"""What the other rows are measured by."""


def frame() -> NDArray[np.uint8]:
    """A synthetic frame (700, 1000) with a lesion."""
    return np.asarray(
        Image.fromarray(make_phantom(0)[0]).resize(FRAME, Image.Resampling.BILINEAR)
    )


def peer_in_onnx(
    peer: torch.nn.Module, image: torch.Tensor
) -> Callable[..., torch.Tensor]:
    """The peer, exported and optimised by PyTorch, in ONNX Runtime; on `image` (1, 3, h, w) if given no other."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "peer.onnx"
        torch.onnx.export(
            peer,
            (image,),
            file,
            input_names=["image"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(
            file.read_bytes(), providers=["CPUExecutionProvider"]
        )
    return lambda pixels=image: torch.from_numpy(
        session.run(None, {"image": pixels.numpy()})[0]
    )


def peers_mask(
    peer: Callable[[torch.Tensor], torch.Tensor],
    scan: NDArray[np.uint8],
    size: tuple[int, int],
) -> Any:
    """The mask (H, W) of a frame (H, W) by `peer`, with the few lines around it that its users write."""
    small = torch.from_numpy(resize_image(scan, size))[None, None]
    logits = F.interpolate(
        peer(NORMALIZE(small.float() / 255)),
        size=scan.shape,
        mode="bilinear",
        align_corners=False,
    )
    return (logits[0, 0] > 0).numpy()


def openvino_sides(
    bundle: Path, image: NDArray[np.float32]
) -> dict[str, Callable[[], Any]]:
    """Our network in OpenVINO, if it is there: in the precision that we use, and in the one that it may choose."""
    sides = {}
    for precision in ("f32", "bf16"):
        if (compiled := in_openvino(bundle, image, precision)) is not None:
            sides[f"sonoseg-1, OpenVINO in {precision}, network alone"] = partial(
                compiled, {"image": image}
            )
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    file = find_bundle(options.model)
    segmenter, bundle, scan = sonoseg.load(file), Bundle.read(file), frame()
    height, width = segmenter.card.size
    image = np.random.default_rng(0).random((1, 1, height, width), np.float32)
    coloured = torch.from_numpy(image).expand(-1, 3, -1, -1).contiguous()
    peer = smp.Unet("efficientnet-b0", encoder_weights=None).eval()

    def eager(pixels: torch.Tensor = coloured) -> torch.Tensor:
        with torch.inference_mode():
            return peer(pixels)

    in_onnx = peer_in_onnx(peer, coloured)
    sides: dict[str, Callable[[], Any]] = {
        OURS["frame to mask"]: lambda: segmenter.segment(scan),
        "sonoseg-1, frame to mask and lesions": lambda: segmenter.segment(scan).lesions,
        "smp.Unet efficientnet-b0, PyTorch, frame to mask": lambda: peers_mask(
            eager, scan, (height, width)
        ),
        "smp.Unet efficientnet-b0, ONNX Runtime, frame to mask": lambda: peers_mask(
            in_onnx, scan, (height, width)
        ),
        OURS["network alone"]: lambda: bundle.run(image),
        "sonoseg-1, network and Grad-CAM": lambda: bundle.run(image, explain=True),
        "smp.Unet efficientnet-b0, PyTorch": eager,
        "smp.Unet efficientnet-b0, ONNX Runtime": in_onnx,
        **openvino_sides(file, image),
    }
    times = {
        name: spread(values)
        for name, values in take_turns(sides, options.rounds).items()
    }
    rows = [
        {
            "what": name,
            "median ms": round(1000 * told["median"], 1),
            "quartiles": f"{1000 * told['quartile_1']:.1f} to {1000 * told['quartile_3']:.1f}",
            "images a second": round(1 / told["median"], 1),
            **{
                f"times our {what}": round(told["median"] / times[row]["median"], 2)
                for what, row in OURS.items()
            },
        }
        for name, told in times.items()
    ]
    report(
        "reader_speed" if options.model == "default" else f"reader_speed_{file.stem}",
        {"rounds": options.rounds, "frame": FRAME, "network input": [height, width]},
        rows,
    )


if __name__ == "__main__":
    main()
