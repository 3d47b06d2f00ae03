"""Bundles without PyTorch: a tiny network that finds dark blobs, with its checksum as a real one has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from sonoseg.reader.card import CARD_KEY
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum

CARD: dict[str, Any] = {
    "format": 1,
    "name": "dark-blobs",
    "version": "1.0",
    "input": {"size": [96, 112], "range": [0, 1], "channels": 1},
    "threshold": 0.5,
    "min_lesion_fraction": 0.002,
    "training_data": ["none"],
    "recipe": "made by hand",
    "scores": {},
    "intended_use": "tests",
    "limits": ["finds whatever is dark"],
    "licence": "Apache-2.0",
    "created": "2026-01-01",
}
BLUR = 9


def build_onnx(
    card: dict[str, Any] | None = None, metadata: dict[str, str] | None = None
) -> bytes:
    """A network without a right checksum: probability = sigmoid(40 (0.35 - image averaged over 9 x 9))."""
    card = CARD if card is None else card
    height, width = card["input"]["size"]
    nodes = [
        helper.make_node(
            "AveragePool",
            ["image"],
            ["blurred"],
            kernel_shape=[BLUR, BLUR],
            pads=[BLUR // 2] * 4,
            strides=[1, 1],
        ),
        helper.make_node("Sub", ["level", "blurred"], ["darkness"]),
        helper.make_node("Mul", ["gain", "darkness"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probability"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("level", 0.35), ("gain", 40))
    ]
    shape = ["n", 1, height, width]
    graph = helper.make_graph(
        nodes,
        "dark_blobs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    default = {CARD_KEY: json.dumps(card), CHECKSUM_KEY: CHECKSUM_MARK + "0" * 64}
    helper.set_model_props(model, default if metadata is None else metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def card() -> dict[str, Any]:
    """A valid card."""
    return CARD


@pytest.fixture(scope="session")
def unsealed() -> Callable[..., bytes]:
    """`build_onnx`, for tests that change it before it gets its checksum."""
    return build_onnx


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that finds dark blobs."""
    path = tmp_path_factory.mktemp("bundle") / "dark-blobs.onnx"
    path.write_bytes(add_checksum(build_onnx()))
    return path


@pytest.fixture(scope="session")
def scan() -> NDArray[np.uint8]:
    """(300, 420) uint8: bright noise with a dark ellipse (x 100..240, y 90..170) and a small one elsewhere."""
    picture = Image.new("L", (420, 300), 170)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((100, 90, 240, 170), fill=20)
    draw.ellipse((330, 200, 380, 240), fill=20)
    noise = np.random.default_rng(0).normal(0, 12, (300, 420))
    return np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)


def build_clip(
    path: Path, frames: Iterable[NDArray[np.uint8]], rate: int = 25, **options: Any
) -> Path:
    """Writes gray frames (H, W) as a video, by PyAV itself.

    Options: `codec`, `ticks` (when each frame is shown, in milliseconds), `container` (for `av.open`),
    `aspect` (width by height of a pixel).
    """
    codec = options.get("codec", "mpeg4" if path.suffix == ".avi" else "libx264")
    ticks = options.get("ticks")
    with av.open(str(path), "w", options=options.get("container", {})) as file:
        stream: Any = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = file.add_stream(codec, rate=rate, options={"crf": "5"})
                stream.height, stream.width = pixels.shape
                if "aspect" in options:
                    stream.codec_context.sample_aspect_ratio = options["aspect"]
                if codec == "mpeg4":
                    stream.bit_rate = 8_000_000
                stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
                stream.codec_context.time_base = (
                    Fraction(1, rate) if ticks is None else Fraction(1, 1000)
                )
            frame = av.VideoFrame.from_ndarray(pixels, "gray").reformat(
                format=stream.pix_fmt
            )
            if ticks is not None:
                frame.pts, frame.time_base = ticks[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """`build_clip`."""
    return build_clip


@pytest.fixture(scope="session")
def loop(scan: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Twelve frames (300, 420) of the scan sliding 10 pixels a frame to the right; the last two show no lesion."""
    return [np.roll(scan, 10 * step, 1) for step in range(10)] + [
        np.full_like(scan, 170)
    ] * 2
