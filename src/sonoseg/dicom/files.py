"""Segments a DICOM file of ultrasound and writes what was asked for."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from sonoseg.dicom.capture import draw_capture, draw_heat, make_capture
from sonoseg.dicom.doubts import Doubts
from sonoseg.dicom.find import DicomPath
from sonoseg.dicom.frames import NONE, by_frame, joined, largest_lesion, loop_writer
from sonoseg.dicom.header import NotUltrasound
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.options import OBJECTS, Settings
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_fractional_seg, make_seg
from sonoseg.dicom.segment import TOGETHER, Segmented, segment_dicom
from sonoseg.dicom.source import Algorithm, write_object
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, atomic_path
from sonoseg.reader.ahead import ahead
from sonoseg.reader.annotation_files import (
    IMAGE,
    annotation_names,
    write_annotations,
)
from sonoseg.reader.annotations import FORMATS, Annotated
from sonoseg.reader.jobs import Job, ShowFrames
from sonoseg.reader.overlay import write_picture
from sonoseg.reader.segmenter import Segmenter


@dataclass
class _Found:
    """What is kept of a file that was segmented: never its frames, but those of the largest lesion."""

    outlines: list[Outline] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    best: list[Segmented] = field(default_factory=list)
    doubts: Doubts = field(default_factory=Doubts)


def make_dicom_jobs(
    paths: Sequence[DicomPath], settings: Settings
) -> tuple[list[Job], list[InputError], Counter[str]]:
    """Reads the headers of DICOM files.

    Returns:
        the jobs, the errors of files that cannot be read, and how many files of other modalities were skipped.
    """
    jobs: list[Job] = []
    failed: list[InputError] = []
    skipped: Counter[str] = Counter()
    for one in paths:
        try:
            file = read_dicom(one.path)
        except NotUltrasound as error:
            if one.is_named:
                failed.append(error)
            else:
                skipped[error.modality] += 1
        except InputError as error:
            failed.append(error)
        else:
            if settings.spacing is not None:
                file = file.with_spacing(settings.spacing)
            jobs.append(DicomJob(file, one.path, one.stem, settings))
    return jobs, failed, skipped


@dataclass(frozen=True)
class DicomJob:
    """A DICOM file, segmented frame by frame.

    Writes STEM_mask.png (of a loop one for each frame with a lesion, STEM_frame0007_mask.png), STEM_overlay.png and
    STEM_heat.png (of a loop for the frame with the largest lesion), all of the size of the whole frame; of a loop
    STEM_overlay.mp4, if PyAV is there; and what the settings ask for: STEM_seg.dcm, STEM_sr.dcm, STEM_sc.dcm,
    STEM_probability.dcm, and outlines beside each mask, with the image as STEM_shown.png for programs that read no
    DICOM. If patient data are to be replaced and the file does not say where the B-mode image lies, no overlay, heat
    map, video, image or SC is written: a name could be in them.
    """

    file: DicomFile
    path: Path
    stem: str
    settings: Settings
    group = "dicom"

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of all files that it may write."""
        names = []
        if not self._hides:
            names.append(f"{self.stem}_overlay.png")
            if self.settings.explain:
                names.append(f"{self.stem}_heat.png")
        if self._has_video:
            names.append(f"{self.stem}_overlay.mp4")
        for kind in OBJECTS:
            if kind in self._objects_to:
                names.append(f"{self.stem}_{kind}.dcm")
        if self.settings.fractional and self.file.frames == 1:
            names.append(f"{self.stem}_probability.dcm")
        for frame in range(1, self.file.frames + 1):
            stem = self._frame_stem(frame)
            names.append(f"{stem}_mask.png")
            if self._has_images:
                names.append(f"{stem}{IMAGE}")
            names += annotation_names(stem, self.settings.to).values()
        return names

    @property
    def all_names(self) -> Sequence[str]:
        """These, and those that it would write with other options."""
        everything = Settings(explain=True, to=(*OBJECTS, *FORMATS), fractional=True)
        names = list(replace(self, settings=everything).names)
        if self.file.frames > 1:
            names.append(f"{self.stem}_overlay.mp4")  # even if PyAV is not there now
        return names

    @property
    def _hides(self) -> bool:
        """Whether pictures are left out: they may show a name that is to be replaced."""
        return self.settings.options.pseudonym is not None and self.file.is_whole_frame

    @property
    def _has_images(self) -> bool:
        """Whether each mask has its image beside it."""
        return self.settings.needs_images and not self._hides

    @property
    def _objects_to(self) -> list[str]:
        """The DICOM objects to write."""
        wanted = [kind for kind in OBJECTS if kind in self.settings.to]
        return [kind for kind in wanted if kind != "sc" or not self._hides]

    @property
    def _has_video(self) -> bool:
        is_loop = self.file.frames > 1 and not self._hides
        return is_loop and importlib.util.find_spec("av") is not None

    def _frame_stem(self, frame: int) -> str:
        return f"{self.stem}_frame{frame:04d}" if self.file.frames > 1 else self.stem

    def read(self, segmenter: Segmenter) -> None:
        """Nothing: frames are read one by one, while they are written."""

    def write(
        self, segmenter: Segmenter, read: None, folder: Path, show: ShowFrames
    ) -> dict[str, Any]:
        """Segments the frames and writes all results."""
        file, found = self.file, _Found()
        entry: dict[str, Any] = {
            "file": str(self.path),
            "instance": file.header.instance,
            "frames": file.frames,
        }
        written: list[str] = []
        with atomic_files():
            with ExitStack() as stack:
                # Frames are decoded and segmented in a second thread, while this one writes.
                segmented = segment_dicom(segmenter, file, self.settings.explain)
                results = stack.enter_context(closing(ahead(segmented, TOGETHER)))
                video = None
                if self._has_video:
                    entry["video"] = f"{self.stem}_overlay.mp4"
                    place = folder / entry["video"]
                    video = stack.enter_context(loop_writer(file, place))
                for frame in by_frame(results, len(file.layout.regions)):
                    _add_frame(found, frame, described=file.frames == 1)
                    number = frame[0].view.frame
                    if video is not None:
                        video.write(draw_capture(file, frame), number - 1)
                    if file.frames == 1 or largest_lesion(frame) > NONE:
                        written += self._write_mask(frame, folder)
                    if file.frames > 1:
                        show(number)
            if not self._hides:
                entry |= self._write_pictures(found.best, folder)
            written += self._write_objects(found, Algorithm.of(segmenter), folder)
        return entry | {
            "written": written,
            "doubts": found.doubts.words,
            "notes": [self.settings.left_out] if self._hides else [],
            "views": found.views,
        }

    def _write_mask(self, frame: Sequence[Segmented], folder: Path) -> list[str]:
        """Writes the mask of a frame, its outlines and their image; returns the names."""
        stem = self._frame_stem(frame[0].view.frame)
        whole = joined(self.file.shape, frame, "mask", np.bool_)
        names = [f"{stem}_mask.png"]
        write_picture(folder / names[0], whole.astype(np.uint8) * 255)
        picture = f"{stem}{IMAGE}"
        if self._has_images:
            names.append(picture)
            pixels = joined(self.file.shape, frame, "image", np.uint8)
            write_picture(folder / picture, pixels)
        annotated = Annotated(picture, whole)
        outlines = write_annotations(annotated, stem, folder, self.settings.to)
        return [*names, *outlines.values()]

    def _write_pictures(
        self, frame: Sequence[Segmented], folder: Path
    ) -> dict[str, str]:
        """Writes overlay and heat map of a frame; returns the names by their kind."""
        names = {"overlay": f"{self.stem}_overlay.png"}
        write_picture(folder / names["overlay"], draw_capture(self.file, frame))
        if self.settings.explain:
            names["heat"] = f"{self.stem}_heat.png"
            write_picture(folder / names["heat"], draw_heat(self.file, frame))
        return names

    def _write_objects(
        self, found: _Found, algorithm: Algorithm, folder: Path
    ) -> list[str]:
        """Writes the DICOM objects; returns their names."""
        names = []
        for kind, dataset in self._objects(found, algorithm).items():
            name = f"{self.stem}_{kind}.dcm"
            with atomic_path(folder / name) as temporary:
                write_object(self.file, dataset, temporary)
            names.append(name)
        return names

    def _objects(self, found: _Found, algorithm: Algorithm) -> dict[str, Dataset]:
        """The DICOM objects that were asked for; a segmentation only where there is a lesion."""
        file, wanted, options = self.file, self._objects_to, self.settings.options
        objects: dict[str, Dataset] = {}
        if "seg" in wanted and found.outlines:
            objects["seg"] = make_seg(file, found.outlines, algorithm, options)
        if "sr" in wanted:
            doubts = found.doubts.words
            objects["sr"] = make_report(
                file, found.outlines, algorithm, options, doubts
            )
        if "sc" in wanted:
            objects["sc"] = make_capture(file, found.best, algorithm, options)
        if self.settings.fractional and file.frames == 1:
            probability = joined(file.shape, found.best, "probability", np.float32)
            objects["probability"] = make_fractional_seg(
                file, probability, algorithm, options
            )
        return objects


def _add_frame(found: _Found, frame: Sequence[Segmented], described: bool) -> None:
    for one in frame:
        found.outlines += one.outlines
        found.doubts.add(one)
        entry = {"frame": one.view.frame, "region": one.view.number}
        entry |= {"left": one.view.region.left, "top": one.view.region.top}
        found.views.append(entry | one.result.to_dict(described))
    if not found.best or largest_lesion(frame) > largest_lesion(found.best):
        found.best = list(frame)
