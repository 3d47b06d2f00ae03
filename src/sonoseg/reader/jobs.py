"""What one call of `sonoseg segment` does for a picture or a video; for DICOM see `sonoseg.dicom.files`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from sonoseg.core.paths import is_clip
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, atomic_path
from sonoseg.reader import cine
from sonoseg.reader.annotation_files import (
    annotation_names,
    path_from,
    write_annotations,
)
from sonoseg.reader.annotations import FORMATS, Annotated
from sonoseg.reader.outputs import PICTURES, output_names
from sonoseg.reader.overlay import draw_heat, save_picture
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import PixelSize, Segmenter
from sonoseg.reader.video import check_av

ShowFrames = Callable[[int], None]
"""Called with the number of frames that are done."""


class Job(Protocol):
    """A file to segment, and the files that it will become."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def group(self) -> str:
        """The list of results.json in which its entry is: images, clips or dicom."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the files that `write` may write."""

    @property
    def all_names(self) -> Sequence[str]:
        """These, and those that it would write with other options."""

    def read(self, segmenter: Segmenter) -> Any:
        """Does what can be done while the results of another job are written."""

    def write(
        self, segmenter: Segmenter, read: Any, folder: Path, show: ShowFrames
    ) -> dict[str, Any]:
        """Writes the results into `folder`, all of them or none; returns the entry for results.json."""


@dataclass(frozen=True)
class PictureJob:
    """An image file.

    Attributes:
        path: of the image.
        spacing: mm per pixel, one number or (row, column); None measures in pixels.
        explain: draw where the network looked.
        formats: of outlines for annotation programs, written beside the pictures.
    """

    path: Path
    spacing: PixelSize | None = None
    explain: bool = False
    formats: Sequence[str] = ()
    group = "images"

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of its pictures and outlines."""
        outlines = annotation_names(self.path.stem, self.formats)
        return (*output_names(self.path, self.explain), *outlines.values())

    @property
    def all_names(self) -> Sequence[str]:
        """These, and those that it would write with other options."""
        return replace(self, explain=True, formats=FORMATS).names

    def read(self, segmenter: Segmenter) -> SegmentationResult | InputError:
        """Segments it."""
        try:
            return segmenter.segment(self.path, self.spacing, self.explain)
        except InputError as error:
            return error
        except MemoryError:
            return InputError(
                self.path, "not enough memory to segment it", "make the picture smaller"
            )

    def write(
        self,
        segmenter: Segmenter,
        read: SegmentationResult | InputError,
        folder: Path,
        show: ShowFrames,
    ) -> dict[str, Any]:
        """Writes the pictures and outlines."""
        if isinstance(read, InputError):
            raise read
        heat = read.heat
        pictures = {"mask": read.mask.astype("uint8") * 255, "overlay": read.overlay()}
        if heat is not None:
            pictures["heat"] = draw_heat(read, heat)
        planned = output_names(self.path, heat is not None)
        names = dict(zip(PICTURES, planned, strict=False))
        # They are renamed in the opposite order: the longest name, which the disk may refuse, first.
        in_order = sorted(pictures, key=lambda kind: len(names[kind]))
        with atomic_files():
            with ExitStack() as stack:
                places = {}
                for kind in in_order:
                    target = atomic_path(folder / names[kind])
                    places[kind] = stack.enter_context(target)
                for kind, place in places.items():
                    save_picture(place, pictures[kind])
            annotated = Annotated(path_from(folder, self.path), read.mask)
            stem = self.path.stem
            names |= write_annotations(annotated, stem, folder, self.formats)
        return {"file": str(self.path), **names, **read.to_dict()}


@dataclass(frozen=True)
class ClipJob:
    """A video; see `sonoseg.reader.cine`."""

    path: Path
    spacing: PixelSize | None = None
    group = "clips"

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of its video and its table."""
        return cine.output_names(self.path)

    @property
    def all_names(self) -> Sequence[str]:
        """The same: no option adds a file."""
        return self.names

    def read(self, segmenter: Segmenter) -> None:
        """Nothing: the frames are read one by one, while they are written."""

    def write(
        self, segmenter: Segmenter, read: None, folder: Path, show: ShowFrames
    ) -> dict[str, Any]:
        """Segments the frames, and writes the video and the table."""
        return cine.segment_clip(segmenter, self.path, folder, self.spacing, show)


def make_jobs(
    files: Sequence[Path],
    spacing: PixelSize | None,
    explain: bool,
    formats: Sequence[str],
) -> list[Job]:
    """The jobs of image files and videos.

    Raises:
        InputError: there are videos and no PyAV.
    """
    jobs: list[Job] = []
    for path in files:
        if is_clip(path):
            check_av(path)
            jobs.append(ClipJob(path, spacing))
        else:
            jobs.append(PictureJob(path, spacing, explain, formats))
    return jobs
