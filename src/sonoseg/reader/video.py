"""Reads a cine loop frame by frame through PyAV (the extra `video`).

FFmpeg gets an open file, never a name: a name can be an address, which FFmpeg would open over the network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import resize_image
from sonoseg.core.source import check_dimensions
from sonoseg.errors import InputError
from sonoseg.inputs import readable_file

if TYPE_CHECKING:
    import av

MAX_FRAME_PIXELS = 4096 * 4096
MAX_FRAMES = 200_000
"""Over two hours at 25 frames a second."""
MAX_HOURS = 24
FORMATS = "mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,ogg,gif,nut,dv,mxf,ivf"
"""Containers, by FFmpeg's names. All of them contain their frames. Playlists are left out: they name other files."""
_EXPORT = "export it again as MP4 or AVI"
_OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    "max_pixels": str(
        4 * MAX_FRAME_PIXELS
    ),  # FFmpeg decodes a frame when it opens a file; over this it knows no size
}
_BUFFER = 1 << 18
_TIMED = ("matroska,webm", "mxf")
"""Containers whose header has the duration. If they are cut short, FFmpeg reports no error."""
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""Advanced Systems Format (WMV), section 3.2: the object that tells the file's size, 40 bytes after this."""
_MOST_ASPECT = 16
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # no text has these


class Frame(NamedTuple):
    """One frame of a clip: (H, W) uint8, and when it is shown, in units of `Clip.time_base` from the first."""

    image: NDArray[np.uint8]
    ticks: int


def check_av(path: Path) -> None:
    """Raises InputError if PyAV is missing, which is needed to read `path`; the hint is how to install it."""
    if importlib.util.find_spec("av") is None:
        raise InputError(
            path,
            "a video needs PyAV to be read",
            "pip install '.[video]' in the source folder",
        )


class Clip:
    """A video file, open until `close`.

    Attributes:
        path: the file.
        rate: frames per second according to the file; the mean if the intervals differ.
        time_base: seconds per tick.

    Raises:
        InputError: no such file, not a video (a playlist is none), no pictures in it, over `MAX_FRAMES` or `MAX_HOURS`,
            or frames under 16 × 16 or over 16 megapixels (checked before a frame is decoded).
    """

    def __init__(self, path: Path | str) -> None:
        import av

        self.path = readable_file(path)
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(self.path.open("rb"))
            try:
                self._container = av.open(
                    file,
                    "r",
                    metadata_errors="ignore",
                    options=_OPTIONS,
                    buffer_size=_BUFFER,
                )
            except (
                Exception
            ) as error:  # damaged files make FFmpeg raise nearly anything
                raise _no_video(self.path) from error
            opened.callback(self._container.close)
            if not self._container.streams.video:
                problem = "has no pictures in it, only sound or text"
                raise InputError(self.path, problem, "give a video")
            self._stream = stream = self._container.streams.video[0]
            if not getattr(
                stream, "width", 0
            ):  # PyAV has none where FFmpeg knows no decoder
                most = f"{MAX_FRAME_PIXELS // 10**6} megapixels"
                problem = f"not a video that can be read, or its frames are over {most}"
                raise InputError(self.path, problem, _EXPORT)
            check_dimensions(self.path, stream.width, stream.height, MAX_FRAME_PIXELS)
            self._aspect = Fraction(stream.sample_aspect_ratio or 1)
            self._check_aspect()
            self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.time_base = stream.time_base or 1 / self.rate
            self._check_count(stream.frames)  # what the file says; `frames` counts
            self._check_time(stream.duration or 0)
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()

    def count_frames(self) -> int:
        """How many frames there are; of a damaged file one more than can be read, so that reading them all tells it.

        They are counted without being decoded: many files do not say how many they have, or say it of their first part.
        `frames` has none after that.
        """
        count = 0
        try:
            for packet in self._packets():
                count += packet.size > 0 and not packet.is_discard
                if count > MAX_FRAMES:
                    break
        except Exception:
            count += 1
        return count

    def _check_count(self, frames: int) -> None:
        if frames > MAX_FRAMES:
            raise InputError(
                self.path, f"has over {MAX_FRAMES} frames", "cut it into shorter clips"
            )

    def _check_time(self, ticks: int) -> None:
        if ticks * self.time_base > MAX_HOURS * 3600:
            raise InputError(
                self.path,
                f"lasts over {MAX_HOURS} hours",
                "cut it into shorter clips or export it again",
            )

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of display: gray, upright, with square pixels. They can be read once.

        If the pixels in the file are not square, as on DVDs, the frames are made longer on one side. If a time is
        missing or not later than the one before, it is computed from the rate.

        Raises:
            InputError: the file is damaged or cut short, has no frame, too many, or frames of more than one size.
        """
        step = max(1, round(1 / (self.rate * self.time_base)))
        first, ticks, shape = 0, -step, None
        for count, frame in enumerate(self._decoded()):
            self._check_count(count + 1)
            stored = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            image = np.rot90(
                self._with_square_pixels(stored), round(frame.rotation / 90)
            )
            if shape is None:
                shape, first = image.shape, frame.pts or 0
            elif image.shape != shape:
                raise InputError(
                    self.path,
                    f"its frames change their size after {count}",
                    "cut it there into two",
                )
            later = ticks + step if frame.pts is None else frame.pts - first
            ticks = later if later > ticks else ticks + step
            self._check_time(ticks)
            yield Frame(np.ascontiguousarray(image), ticks)
        if shape is None:
            raise InputError(self.path, "has no frame in it", _EXPORT)

    def _check_aspect(self) -> None:
        aspect = self._aspect
        if not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
            problem = f"says that its pixels are {aspect.numerator} wide and {aspect.denominator} high"
            raise InputError(self.path, problem, _EXPORT)
        height, width = self._square_size(self._stream.height, self._stream.width)
        check_dimensions(self.path, width, height, MAX_FRAME_PIXELS)

    def _square_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a frame with square pixels: one side becomes longer, none shorter."""
        one = Fraction(1)
        return round(height / min(self._aspect, one)), round(
            width * max(self._aspect, one)
        )

    def _with_square_pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._aspect == 1:
            return image
        height, width = image.shape
        return resize_image(image, self._square_size(height, width))

    def _decoded(self) -> Iterator[av.VideoFrame]:
        packets, count = self._packets(), 0
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames: Any = packet.decode()
            except Exception as error:
                raise self._damaged(count) from error
            count += len(frames)
            yield from frames

    def _packets(self) -> Iterator[Any]:
        """The packets of the pictures; raises nearly anything if the file is damaged, EOFError if it is cut short."""
        end = 0.0
        for packet in self._container.demux():
            if packet.pts is not None:
                length = packet.pts + (packet.duration or 0)
                end = max(end, float(length * packet.time_base))
            if packet.stream.index != self._stream.index:
                continue  # sound; it is read only to know where the data ends
            if packet.is_corrupt:
                raise EOFError
            yield packet
        if self._is_cut_short(end):
            raise EOFError

    def _is_cut_short(self, end: float) -> bool:
        """Whether the data ends, after `end` seconds in all streams, before the end that the file's header has."""
        kind = self._container.format.name
        if kind == "asf":
            with self.path.open("rb") as file:
                head, size = file.read(1 << 16), file.seek(0, os.SEEK_END)
            at = head.find(_ASF_PROPERTIES)
            is_live = (
                at < 0 or head[at + 88 : at + 89] != b"\x02"
            )  # flags: broadcast 1, seekable 2
            return (
                not is_live and int.from_bytes(head[at + 40 : at + 48], "little") > size
            )
        start = (self._container.start_time or 0) / 1e6
        missing = start + (self._container.duration or 0) / 1e6 - end
        return kind in _TIMED and missing > max(0.15, float(3 / self.rate))

    def _damaged(self, count: int) -> InputError:
        return InputError(
            self.path,
            f"is damaged or cut short after {count} frames",
            "copy or export it again",
        )


def _no_video(path: Path) -> InputError:
    problem = "not a video that can be read"
    with path.open("rb") as file:
        start = file.read(4096)
    if not _BINARY.search(start):
        return InputError(
            path, f"{problem} but text, such as a playlist", "give the video itself"
        )
    return InputError(path, problem, _EXPORT)
