"""Loops and videos: the reels of those that were looked at last. Only one of them is worked on at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

from sonoseg.core.image import Image
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask
from sonoseg.serve.pool import Pool
from sonoseg.serve.reel import Reel, Spool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import clip_frames, scan_frames
from sonoseg.serve.scenes import Scene, Shot

_KEPT = 2
"""Loops whose masks, and videos whose frames, are kept."""
_BUSY_SECONDS = 1.0
_Key = tuple[str, str]


class Projector:
    """The reels; may be used from several threads."""

    def __init__(self, segmenter: Segmenter, pool: Pool, limits: Limits) -> None:
        self._segmenter, self._pool, self._limits = segmenter, pool, limits
        self._lock = threading.Lock()
        self._reels: OrderedDict[_Key, Reel] = OrderedDict()
        self._spools: OrderedDict[_Key, Spool] = OrderedDict()

    def show(self, scene: Scene, version: str) -> None:
        """Begins to segment a loop, and stops the one before. A still stops it too: it must not wait.

        Args:
            scene: that is looked at.
            version: of its file; a new file has a new reel.
        """
        if scene.frames == 1:
            with self._lock:
                for other in self._reels.values():
                    other.stop()
            return
        key = (scene.identifier, version)
        with self._lock:
            reel = self._reels.get(key)
            if reel is None:
                frames = partial(self._frames, scene, version)
                reel = self._reels[key] = Reel(frames, self._segment)
            self._reels.move_to_end(key)
            for other in list(self._reels.values())[:-1]:
                other.stop()
            while len(self._reels) > _KEPT:
                self._reels.popitem(last=False)
            reel.start()

    def shares(self, scene: Scene) -> list[float]:
        """Of each frame that was segmented so far, the share that is lesion."""
        reel = self._reel(scene)
        return [] if reel is None else reel.shares

    def mask(self, shot: Shot) -> Mask | None:
        """The network's mask (H, W) of a frame; None if it was not segmented yet."""
        reel = self._reel(shot.scene)
        seen = None if reel is None else reel.seen(shot.frame)
        return None if seen is None else seen.mask

    def video_frame(self, shot: Shot, version: str) -> Image:
        """A frame of a video; waits until it was decoded.

        Raises:
            InputError: the video cannot be read so far.
        """
        return self._spool(shot.scene, version).frame(shot.frame)

    def close(self) -> None:
        """Ends the work and waits for its threads: as the interpreter ends, they could begin nothing more."""
        with self._lock:
            reels, spools = list(self._reels.values()), list(self._spools.values())
        for reel in reels:  # they may wait for a spool
            reel.close()
        for spool in spools:
            spool.close()

    def _reel(self, scene: Scene) -> Reel | None:
        with self._lock:
            for (identifier, _), reel in reversed(self._reels.items()):
                if identifier == scene.identifier:
                    return reel
        return None

    def _spool(self, scene: Scene, version: str) -> Spool:
        key = (scene.identifier, version)
        with self._lock:
            if key not in self._spools:
                self._spools[key] = Spool(partial(clip_frames, scene.path))
            self._spools.move_to_end(key)
            while len(self._spools) > _KEPT:
                self._spools.popitem(last=False)
            return self._spools[key]

    def _frames(self, scene: Scene, version: str) -> Iterator[Image]:
        if scene.is_video:
            return self._spool(scene, version).frames(scene.frames)
        return scan_frames(scene, self._limits)

    def _segment(self, image: Image) -> SegmentationResult:
        """Waits for its turn among the requests of people."""
        while True:
            try:
                work = partial(self._segmenter.segment, image)
                return self._pool.wait(self._pool.submit(work))
            except Refused as refused:
                if refused.status_code != 429:
                    raise
                time.sleep(_BUSY_SECONDS)
