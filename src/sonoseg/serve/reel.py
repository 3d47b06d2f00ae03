"""A loop that is looked at: what the network finds on its frames, worked out ahead, one frame after the other."""

from __future__ import annotations

import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from sonoseg.core.image import Image
from sonoseg.errors import InputError
from sonoseg.files import write_error
from sonoseg.reader.ahead import ahead
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve.patch import Mask, squeeze, unsqueeze
from sonoseg.serve.refusal import Refused

_logger = logging.getLogger(__name__)
_MOST_SPOOLED = 2 << 30
"""Bytes of a video's frames on the disk."""
_PATIENCE = 60.0
"""Seconds for which a frame of a video is waited for."""
_AGAIN_SECONDS = 60.0
"""After which a loop that could not be read is read again: a disk may have been away."""


@dataclass(frozen=True)
class Seen:
    """What the network found on a frame.

    Attributes:
        bits: the mask, compressed: a loop of 2,000 frames needs some megabytes.
        shape: (H, W) of the mask.
        share: of the frame that is lesion, 0..1.
    """

    bits: bytes
    shape: tuple[int, int]
    share: float

    @property
    def mask(self) -> Mask:
        """(H, W) bool."""
        return unsqueeze(self.bits, *self.shape)


class Reel:
    """Segments all frames in a thread of its own. Neither images nor maps are kept.

    Args:
        images: opens the frames in their order.
        segment: segments one frame; waits for its turn.
    """

    def __init__(
        self,
        images: Callable[[], Iterator[Image]],
        segment: Callable[[Image], SegmentationResult],
    ) -> None:
        self._images, self._segment = images, segment
        self._seen: list[Seen] = []
        self._failed_at = -math.inf
        self._is_stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins, or goes on where it was stopped; but not at once with what could not be read."""
        if time.monotonic() < self._failed_at + _AGAIN_SECONDS:
            return
        self._is_stopped.clear()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the frame that it works on."""
        self._is_stopped.set()

    def close(self) -> None:
        """As `stop`, and waits for the thread."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    @property
    def shares(self) -> list[float]:
        """Of each frame that was segmented, the share that is lesion."""
        return [one.share for one in self._seen]

    def seen(self, frame: int) -> Seen | None:
        """What was found on a frame, counted from 1; None if it was not segmented yet."""
        return self._seen[frame - 1] if frame <= len(self._seen) else None

    def _run(self) -> None:
        try:
            # The next frame is decoded while this one is segmented.
            with closing(ahead(self._images())) as images:
                for place, image in enumerate(images):
                    if self._is_stopped.is_set():
                        return
                    if place >= len(self._seen):
                        self._add(image)
        except (InputError, Refused, CancelledError) as error:
            if isinstance(error, InputError):
                self._failed_at = time.monotonic()
            words = getattr(error, "problem", "the server was busy")
            _logger.warning("sonoseg: a loop was not segmented to its end: %s", words)

    def _add(self, image: Image) -> None:
        mask = self._segment(image).mask
        self._seen.append(Seen(squeeze(mask), mask.shape, float(mask.mean())))


class Spool:
    """The frames of a video on the disk, because a video can only be read from its begin.

    They lie in a file without a name, which goes with the process.

    Args:
        images: opens the frames in their order; all have one size.
    """

    def __init__(self, images: Callable[[], Iterator[Image]]) -> None:
        self._images = images
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is used as long as the spool
        self._shape = (0, 0)
        self._count = 0
        self._error: InputError | None = None
        self._is_done = False
        self._changed = threading.Condition()
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def frame(self, number: int) -> Image:
        """A frame, counted from 1; waits until it was decoded.

        Raises:
            InputError: the video is damaged, too long, or has no such frame.
            Refused: status 503, it takes too long.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_done or self._count >= number, _PATIENCE
            )
            if self._count < number and not self._is_done:
                problem = f"frame {number} is not decoded yet"
                raise Refused(503, "video", problem, "try again later")
            if self._count < number:
                problem = f"has no frame {number}"
                hint = "choose an earlier one"
                raise self._error or InputError("video", problem, hint)
            height, width = self._shape
            self._file.seek((number - 1) * height * width)
            content = self._file.read(height * width)
        return Image(np.frombuffer(content, np.uint8).reshape(height, width))

    def close(self) -> None:
        """Ends the thread after the frame that it decodes, and waits for it."""
        self._is_stopped.set()
        self._thread.join()

    def frames(self, count: int) -> Iterator[Image]:
        """The first `count` frames in their order."""
        for number in range(1, count + 1):
            yield self.frame(number)

    def _run(self) -> None:
        try:
            with closing(self._images()) as images:  # type: ignore[type-var]
                for image in images:
                    if self._is_stopped.is_set():
                        break
                    self._add(image)
        except InputError as error:
            self._error = error
        except OSError as error:
            self._error = write_error("the disk", error)
        with self._changed:
            self._is_done = True
            self._changed.notify_all()

    def _add(self, image: Image) -> None:
        if (self._count + 1) * image.pixels.size > _MOST_SPOOLED:
            problem = f"is too long to be shown; its first {self._count} frames are"
            raise InputError("video", problem, "cut it into shorter clips")
        with self._changed:
            self._shape = image.pixels.shape
            self._file.seek(0, 2)
            self._file.write(image.pixels.tobytes())
            self._count += 1
            self._changed.notify_all()
