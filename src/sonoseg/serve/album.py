"""The images of a folder, each under an identifier that is no path, and what the network says of them."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture

from sonoseg.core.image import Image, read_image
from sonoseg.core.paths import IMAGE_SUFFIXES, is_input
from sonoseg.core.source import check_dimensions, opened
from sonoseg.data.scan import images_in, subfolder
from sonoseg.errors import InputError
from sonoseg.files import is_folder, output_folder
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.answer import png
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.projector import Projector
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import Scans, read_scan
from sonoseg.serve.scenes import Scene, Shot, split_identifier, twins_notice
from sonoseg.serve.table import Table
from sonoseg.serve.uploads import check_upload, plain_name, write_upload
from sonoseg.serve.versions import version_of

THUMBNAIL = 96
"""Pixels of its longer side."""
_KEPT = 12
"""Results that are kept in memory."""
_KEPT_BYTES = 256 << 20
"""Of the pixels of these results; one is always kept."""


class _Version(NamedTuple):
    """An image as it is now: one that was replaced by another under the same name is read again."""

    identifier: str
    file: str


class Album:
    """The images; may be used from several threads.

    Args:
        folder: made if need be. If it holds no images but has images/ (or Images/), that folder is served.
        segmenter: the network.
        pool: where images are read and segmented.
        limits: on the images.

    Attributes:
        table: labels.csv beside the images.

    Raises:
        InputError: the folder cannot be read or written to, or labels.csv cannot be used.
    """

    def __init__(
        self, folder: Path, segmenter: Segmenter, pool: Pool, limits: Limits
    ) -> None:
        inner = subfolder(folder, "images")
        self._scans = Scans()
        has_own = is_folder(folder) and bool(
            images_in(folder) or self._scans.find(folder)
        )
        self.folder = inner if inner is not None and not has_own else folder
        output_folder(self.folder)
        self.table = Table(self.folder)
        self._segmenter, self._pool, self._limits = segmenter, pool, limits
        self._projector = Projector(segmenter, pool, limits)
        self._lock = threading.Lock()
        self._adding, self._reading = threading.Lock(), threading.Lock()
        self._drawing = threading.Lock()
        self._scenes: dict[str, Scene] = {}
        self._results: OrderedDict[_Version, Future[SegmentationResult]] = OrderedDict()
        self._thumbnails: dict[_Version, bytes] = {}

    def refresh(self) -> dict[str, Scene]:
        """Looks for new and removed files; returns all scenes by identifier, in the order of their names.

        Raises:
            InputError: the folder cannot be listed.
        """
        scenes = []
        for path in images_in(self.folder):
            if is_input(path, IMAGE_SUFFIXES):
                scenes.append(Scene(path))
        scenes += self._scans.find(self.folder)
        scenes.sort(key=lambda scene: (scene.path.name, scene.region))
        by_identifier = {scene.identifier: scene for scene in scenes}
        with self._lock:
            self._scenes = by_identifier
        return by_identifier

    @property
    def notice(self) -> str:
        """What the page should say of the folder, "" if nothing."""
        with self._lock:
            scenes = list(self._scenes.values())
        words = [self._scans.notice, twins_notice(scenes), *self.table.notices(scenes)]
        return ". ".join(word for word in words if word)

    def shot(self, identifier: str) -> Shot:
        """The image with an identifier.

        Raises:
            Refused: status 404, there is none.
        """
        own, frame = split_identifier(identifier)
        with self._lock:
            scene = self._scenes.get(own)
        scene = scene or self.refresh().get(own)
        if scene is None:
            problem = "is not in the folder any more"
            raise Refused(404, "image", problem, "reload the page")
        if not 1 <= frame <= scene.frames:
            raise Refused(404, "image", f"has no frame {frame}", "reload the page")
        return Shot(scene, frame)

    def patient(self, shot: Shot) -> str:
        """A code that images of one patient share, as far as that is known; "" if nothing is."""
        scenes = self.refresh()  # other files of the patient may have come
        scene = scenes.get(shot.scene.identifier, shot.scene)
        return self.table.patient(scene, scenes.values())

    def result(self, shot: Shot) -> SegmentationResult:
        """What the network says of an image; waits for it if it is not known yet.

        Raises:
            Refused: there is no such image, too many requests wait, or it takes too long.
            InputError: the image cannot be read.
        """
        version = _version(shot)
        future = self._future(version, shot)
        try:
            return self._pool.wait(future)
        except BaseException:
            if future.done():  # a failure is not kept: the file may be repaired
                with self._lock:
                    self._results.pop(version, None)
            raise

    def image(self, shot: Shot) -> Image:
        """An image as it is read. It need not be segmented for that."""
        with self._lock:
            future = self._results.get(_version(shot))
        if future is not None and future.done():
            return self.result(shot).record
        # It is read twice, but shown while the network is still at work.
        with self._reading:  # one at a time: a page asks for many at once
            return self._read(shot)

    def look_ahead(self, shot: Shot, count: int = 2) -> None:
        """Begins to segment what follows, while there is little else to do: the next frames, then the next images."""
        frames = range(shot.frame + 1, min(shot.scene.frames, shot.frame + count) + 1)
        following = [Shot(shot.scene, frame) for frame in frames]
        order = list(self._scenes)
        if shot.scene.identifier in order:
            place = order.index(shot.scene.identifier) + 1
            scenes = [self._scenes.get(one) for one in order[place : place + count]]
            following += [Shot(scene) for scene in scenes if scene is not None]
        for one in following:
            if self._pool.count >= self._limits.threads:
                break
            # Nobody waits for it: if it cannot be done now, it is done when it is asked for.
            with contextlib.suppress(Refused):
                self._future(_version(one), one)
        self._projector.show(shot.scene, version_of(shot.path))

    def begin(self) -> None:
        """Begins to segment the first image, so that the network is awake when somebody opens it."""
        with contextlib.suppress(InputError, Refused):
            for scene in list(self.refresh().values())[:1]:
                shot = Shot(scene)
                self._future(_version(shot), shot)

    def loop(self, scene: Scene) -> Projector:
        """What is known of the frames of a loop; from now on they are segmented one after the other."""
        self._projector.show(scene, version_of(scene.path))
        return self._projector

    def heat(self, shot: Shot) -> bytes:
        """Where the network looked, as a PNG file of the image's size."""
        image = self.result(shot).image
        work = partial(self._segmenter.explain, image)
        heat = self._pool.wait(self._pool.submit(work))
        return png(np.rint(heat * 255).astype(np.uint8))

    def thumbnail(self, scene: Scene) -> bytes:
        """A small PNG file of an image; of a loop its middle frame."""
        shot = Shot(scene, 1 if scene.is_video else (scene.frames + 1) // 2)
        version = _version(shot)
        with self._drawing:  # apart from images, which people wait for
            known = self._thumbnails.get(version)
            if known is None:
                picture = Picture.fromarray(self._read(shot).pixels)
                picture.thumbnail((THUMBNAIL, THUMBNAIL))
                known = self._thumbnails[version] = png(np.asarray(picture))
        return known

    def add(self, name: str, content: bytes) -> str:
        """Puts an image that was sent into the folder; returns its identifier.

        Args:
            name: that the client gives it. Only its plain letters and digits are used, and nothing is replaced.
            content: of the file.

        Raises:
            InputError: it is no image, or the folder cannot be written to.
        """
        suffix = check_upload(name, content, self._limits)
        with self._adding:
            path = write_upload(self.folder, plain_name(name), suffix, content)
            try:
                for scene in self.refresh().values():
                    if scene.path == path:
                        return scene.identifier
                hint = "install the extra that reads it"
                raise InputError("image", "cannot be shown", hint)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def close(self) -> None:
        """Ends what is done in the background."""
        self._projector.close()

    def _future(self, version: _Version, shot: Shot) -> Future[SegmentationResult]:
        with self._lock:
            future = self._results.get(version)
            if future is None:
                future = self._pool.submit(partial(self._segment, shot))
                self._results[version] = future
            self._results.move_to_end(version)
            while len(self._results) > self._room():
                self._results.popitem(last=False)
        return future

    def _room(self) -> int:
        """How many results may be kept, so that large images do not fill the memory."""
        sizes = [
            future.result().image.size
            for future in self._results.values()
            if future.done() and not future.cancelled() and not future.exception()
        ]
        if not sizes:
            return _KEPT
        # Pixels, mask and what is worked out of them: about four bytes each.
        return max(1, min(_KEPT, _KEPT_BYTES // (4 * max(sizes))))

    def _segment(self, shot: Shot) -> SegmentationResult:
        return self._segmenter.segment(self._read(shot))

    def _read(self, shot: Shot) -> Image:
        path = shot.path
        spacing = self.table.of(path).spacing
        if shot.scene.is_video:
            frame = self._projector.video_frame(shot, version_of(shot.path))
            return read_image(replace(frame, source=str(path)), spacing)
        if not shot.scene.is_copied:
            return read_scan(shot, self._limits)
        with opened(path) as (header, subject):
            check_dimensions(subject, header.width, header.height, self._limits.pixels)
        return read_image(path, spacing)


def _version(shot: Shot) -> _Version:
    return _Version(shot.identifier, version_of(shot.path))
