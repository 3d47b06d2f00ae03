"""The images of a folder, each under an identifier that is no path, and what the network says of them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections import OrderedDict
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture

from sonoseg.core.image import Image, read_image
from sonoseg.core.paths import list_images
from sonoseg.core.source import check_dimensions, opened
from sonoseg.data.scan import images_in
from sonoseg.dicom.recognise import is_dicom, is_dicom_file
from sonoseg.errors import InputError, visible
from sonoseg.files import atomic_path, is_folder, output_folder
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.answer import png, read_upload
from sonoseg.serve.dicom_answer import read_dicom_upload
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import Scans, read_scan, stem_of

THUMBNAIL = 96
"""Pixels of its longer side."""
_KEPT = 8
"""Results that are kept in memory."""
_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "MPO": ".jpg",
}


class _Version(NamedTuple):
    """An image as it is now: one that was replaced by another under the same name is read again."""

    identifier: str
    modified: int
    size: int


class Album:
    """The images; may be used from several threads.

    Args:
        folder: made if need be. If it holds no images but has images/, that folder is served.
        segmenter: the network.
        pool: where images are read and segmented.
        limits: on the images.
    """

    def __init__(
        self, folder: Path, segmenter: Segmenter, pool: Pool, limits: Limits
    ) -> None:
        inner = folder / "images"
        self._scans = Scans()
        has_own = is_folder(folder) and bool(
            images_in(folder) or self._scans.find(folder)
        )
        self.folder = inner if is_folder(inner) and not has_own else folder
        output_folder(self.folder)
        self._segmenter, self._pool, self._limits = segmenter, pool, limits
        self._lock = threading.Lock()
        self._adding, self._drawing = threading.Lock(), threading.Lock()
        self._paths: dict[str, Path] = {}
        self._results: OrderedDict[_Version, Future[SegmentationResult]] = OrderedDict()
        self._thumbnails: dict[_Version, bytes] = {}

    def refresh(self) -> dict[str, Path]:
        """Looks for new and removed files; returns all images by identifier, in the order of their names.

        Raises:
            InputError: two images share a stem, so that their masks would have one name.
        """
        files = list_images([self.folder]) if images_in(self.folder) else []
        scans = self._scans.find(self.folder)
        _check_stems([*files, *scans])
        files = sorted([*files, *scans], key=lambda path: path.name)
        paths = {identifier_of(path): path for path in files}
        with self._lock:
            self._paths = paths
        return paths

    @property
    def notice(self) -> str:
        """What the page should say of the folder, "" if nothing."""
        count = self._scans.passed_over
        hint = "to see them: pip install '.[dicom]' in the source folder"
        return f"{count} DICOM files are passed over; {hint}" if count else ""

    def path(self, identifier: str) -> Path:
        """The file of an image.

        Raises:
            Refused: status 404, there is no image with this identifier.
        """
        with self._lock:
            path = self._paths.get(identifier)
        if path is None:
            path = self.refresh().get(identifier)
        if path is None:
            raise Refused(
                404, "image", "is not in the folder any more", "reload the page"
            )
        return path

    def result(self, identifier: str) -> SegmentationResult:
        """What the network says of an image; waits for it if it is not known yet.

        Raises:
            Refused: there is no such image, too many requests wait, or it takes too long.
            InputError: the image cannot be read.
        """
        version = _version(identifier, self.path(identifier))
        future = self._future(version)
        try:
            return self._pool.wait(future)
        except BaseException:
            if future.done():  # a failure is not kept: the file may be repaired
                with self._lock:
                    self._results.pop(version, None)
            raise

    def look_ahead(self, identifier: str, count: int = 2) -> None:
        """Begins to segment the images after this one, while there is little else to do."""
        order = list(self._paths)
        place = order.index(identifier) + 1 if identifier in order else 0
        for following in order[place : place + count]:
            if self._pool.count >= self._limits.threads:
                return
            # Nobody waits for it: if it cannot be done now, it is done when it is asked for.
            with contextlib.suppress(Refused):
                self._future(_version(following, self.path(following)))

    def heat(self, identifier: str) -> bytes:
        """Where the network looked, as a PNG file of the image's size."""
        image = self.result(identifier).image
        work = partial(self._segmenter.explain, image)
        heat = self._pool.wait(self._pool.submit(work))
        return png(np.rint(heat * 255).astype(np.uint8))

    def thumbnail(self, identifier: str) -> bytes:
        """A small PNG file of an image."""
        version = _version(identifier, self.path(identifier))
        with self._drawing:  # one at a time: a page asks for many at once
            known = self._thumbnails.get(version)
            if known is None:
                known = self._draw_thumbnail(self.path(identifier))
                self._thumbnails[version] = known
        return known

    def add(self, name: str, content: bytes) -> str:
        """Puts an image that was sent into the folder; returns its identifier.

        Args:
            name: that the client gives it. Only its plain letters and digits are used, and nothing is replaced.
            content: of the file.

        Raises:
            InputError: it is no image, or the folder cannot be written to.
        """
        if is_dicom(content):
            read_dicom_upload(content, self._limits)
            suffix = ".dcm"
        else:
            read_upload(content, self._limits)
            with opened(content) as (header, _):
                suffix = _SUFFIXES.get(header.format or "", ".png")
        words = re.sub(
            r"[^A-Za-z0-9_-]+", "_", re.split(r"[\\/]", name)[-1].rpartition(".")[0]
        )
        # Names that end so are those of results, which are not listed.
        stem = re.sub(
            r"_(mask(_?\d+)?|overlay|heat)$", "", words[:80], flags=re.I
        ).strip("_")
        with self._adding:
            return self._write_free(stem or "image", suffix, content)

    def _write_free(self, stem: str, suffix: str, content: bytes) -> str:
        taken = {stem_of(path).casefold() for path in self.refresh().values()}
        number, free = 1, stem
        while free.casefold() in taken:
            number += 1
            free = f"{stem}-{number}"
        path = self.folder / f"{free}{suffix}"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        self.refresh()
        return identifier_of(path)

    def _draw_thumbnail(self, path: Path) -> bytes:
        picture = Picture.fromarray(self._read(path).pixels)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        return png(np.asarray(picture))

    def _future(self, version: _Version) -> Future[SegmentationResult]:
        with self._lock:
            future = self._results.get(version)
            if future is None:
                work = partial(self._segment, self._paths[version.identifier])
                future = self._pool.submit(work)
                self._results[version] = future
            self._results.move_to_end(version)
            while len(self._results) > _KEPT:
                self._results.popitem(last=False)
        return future

    def _segment(self, path: Path) -> SegmentationResult:
        return self._segmenter.segment(self._read(path))

    def _read(self, path: Path) -> Image:
        if is_dicom_file(path):
            return read_scan(path, self._limits)
        with opened(path) as (header, subject):
            check_dimensions(subject, header.width, header.height, self._limits.pixels)
        return read_image(path)


def _check_stems(paths: list[Path]) -> None:
    """Raises InputError if the masks of two images would have one name."""
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(stem_of(path).casefold(), path)
        if other is not path:
            problem = f"has the same name as {other.name}"
            raise InputError(path, problem, "rename one of them")


def identifier_of(path: Path) -> str:
    """16 hex digits that stand for the name of a file."""
    return hashlib.sha256(name_of(path).encode()).hexdigest()[:16]


def _version(identifier: str, path: Path) -> _Version:
    try:
        status = path.stat()
    except OSError:
        raise Refused(
            404, "image", "is not in the folder any more", "reload the page"
        ) from None
    return _Version(identifier, status.st_mtime_ns, status.st_size)


def name_of(path: Path) -> str:
    """The name of a file as text that can be shown and stored."""
    return visible(path.name)
