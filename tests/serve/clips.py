"""Videos that say little or nothing of how many frames they have."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_clip(
    path: Path, times: Iterable[int], options: dict[str, str] | None = None
) -> None:
    """A video whose frames are shown at these milliseconds, and whose header says 25 a second."""
    codec = "libvpx" if path.suffix == ".webm" else "mpeg4"
    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            pixels = np.full((240, 320), 7 * number % 255, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "gray").reformat(
                format="yuv420p"
            )
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
