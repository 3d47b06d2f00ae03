"""Writes a video frame by frame through PyAV (the extra `video`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.files import write_error

if TYPE_CHECKING:
    import av

CODECS = ("libx264", "mpeg4")
"""The first that this PyAV can encode is used. x264 makes H.264, which everything plays."""
_BUFFER = 1 << 18


class VideoWriter:
    """Adds frames to a video file; see `video_writer`."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        rate: Fraction,
        time_base: Fraction,
    ) -> None:
        self._container, self._rate, self._time_base = container, rate, time_base
        self._stream: Any = None

    def write(self, picture: NDArray[np.uint8], ticks: int) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB, all of one size, shown from `ticks` on, which must rise.

        Odd sizes get a black line or column more, which H.264 asks for.
        """
        import av

        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)))
        if self._stream is None:
            self._stream = self._add_stream(picture)
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = ticks, self._time_base
        self._container.mux(self._stream.encode(frame))

    def _add_stream(self, picture: NDArray[np.uint8]) -> Any:
        import av

        codec = next(name for name in CODECS if name in av.codecs_available)
        stream: Any = self._container.add_stream(
            codec, rate=self._rate, options={"preset": "superfast", "crf": "20"}
        )
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._time_base
        return stream

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))


@contextlib.contextmanager
def video_writer(
    path: Path, rate: Fraction, time_base: Fraction
) -> Iterator[VideoWriter]:
    """Writes the video `path`, the suffix of which decides on the container.

    Args:
        path: the file; not atomic, see `sonoseg.files.atomic_path`.
        rate: frames a second.
        time_base: seconds a tick.

    Raises:
        InputError: the disk is full, or the frames cannot be encoded.
    """
    import av

    try:
        with (
            path.open("wb+") as file,
            av.open(file, "w", buffer_size=_BUFFER) as container,
        ):
            writer = VideoWriter(container, rate, time_base)
            yield writer
            writer.finish()
    except (av.FFmpegError, OSError) as error:
        raise write_error(path, OSError(error.errno, error.strerror)) from error
