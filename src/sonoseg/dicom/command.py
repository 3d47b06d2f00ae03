"""`sonoseg segment` on DICOM: finds the ultrasound in files and folders, and writes what was asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from sonoseg.core.paths import list_images
from sonoseg.dicom.capture import draw_capture, make_capture
from sonoseg.dicom.header import NotUltrasound
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.recognise import files_below, is_dicom_file
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import Options, make_fractional_seg, make_seg
from sonoseg.dicom.segment import Segmented, segment_dicom
from sonoseg.dicom.source import Algorithm, as_bytes
from sonoseg.dicom.summary import RESULTS, Summary, report, to_text
from sonoseg.errors import InputError
from sonoseg.files import (
    atomic_files,
    atomic_path,
    is_folder,
    is_there,
    output_folder,
    write_json,
)
from sonoseg.progress import ProgressLine
from sonoseg.reader.ahead import ahead
from sonoseg.reader.overlay import write_picture
from sonoseg.reader.segmenter import Segmenter, load

FORMATS = ("seg", "sr", "sc")
_ENDINGS = (".dcm", ".dicom", ".ima")
_logger = logging.getLogger(__name__)


@dataclass
class _Found:
    """What is kept of a file that was segmented: never its frames, but those of the largest lesion."""

    outlines: list[Outline] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    best: list[Segmented] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def segment_command(
    paths: Iterable[Path | str],
    model: Path | str = "default",
    out: Path | str = "segmented",
    to: Sequence[str] = (),
    strict: bool = False,
    fractional: bool = False,
    pseudonym: str | None = None,
) -> tuple[str, int]:
    """Segments DICOM files, and those in folders and below.

    Writes into `out` for each file STEM_mask.png (of a loop one for each frame with a lesion, STEM_frame0007_mask.png)
    and STEM_overlay.png (of a loop the frame with the largest lesion), of the size of the whole frame, then
    STEM_seg.dcm, STEM_sr.dcm and STEM_sc.dcm if asked for, and at the end results.json. The files of an image appear
    together or not at all.

    Args:
        paths: DICOM files and folders.
        model: a shipped name or a bundle file.
        out: a folder, made if need be.
        to: any of `FORMATS`.
        strict, pseudonym: see `sonoseg.dicom.seg.Options`.
        fractional: write probabilities of stills as well, as STEM_probability.dcm.

    Returns:
        a text with one line for each file, and the exit code of `Summary`.

    Raises:
        InputError: before anything is written: a path, the model or `out` cannot be used, there is no DICOM
            ultrasound, or a result would replace a file that sonoseg has not written.
    """
    for name in to:
        if name not in FORMATS:
            raise InputError(
                "--to", f"{name} is not known", f"give {', '.join(FORMATS)}"
            )
    options = Options(strict, pseudonym)
    summary = Summary()
    named = _list_files(paths, summary)
    segmenter, folder = load(model), output_folder(out)
    _check_free(folder, named)
    with ProgressLine() as line:
        for count, (stem, file) in enumerate(named, start=1):
            try:
                entry = _segment_one(
                    segmenter, file, folder / stem, to, options, fractional
                )
                summary.files.append(entry)
            except InputError as error:
                summary.failed.append(error)
            line.show(f"{count}/{len(named)} files", last=count == len(named))
    for failure in summary.failed:
        _logger.warning("sonoseg: %s", failure)
    if summary.files:
        write_json(folder / RESULTS, report(segmenter, summary))
    return to_text(summary, folder), summary.exit_code


def _list_files(
    paths: Iterable[Path | str], summary: Summary
) -> list[tuple[str, DicomFile]]:
    """The ultrasound files with the stems of their results; counts what is passed over in folders."""
    named: dict[str, DicomFile] = {}
    for path in map(Path, paths):
        in_folder = is_folder(path)
        found = files_below(path) if in_folder else list_images([path])
        for one in found:
            try:
                file = read_dicom(one)
            except InputError as error:
                if in_folder and (
                    isinstance(error, NotUltrasound) or not is_dicom_file(one)
                ):
                    summary.passed_over += 1
                else:
                    summary.failed.append(error)
                continue
            stem = _stem(one.relative_to(path) if in_folder else Path(one.name))
            if stem in named:
                problem = "has the same name as another, their results would overwrite each other"
                raise InputError(one, problem, "segment them into two folders")
            named[stem] = file
    if not named and not summary.failed:
        raise InputError(
            "images", "no DICOM ultrasound among them", "give ultrasound images"
        )
    return list(named.items())


def _stem(path: Path) -> str:
    """The path in one word, without a DICOM ending; other dots belong to the name, as in UIDs."""
    is_ending = path.suffix.lower() in _ENDINGS
    bare = path.with_suffix("") if is_ending else path
    return "_".join(bare.parts)


def _check_free(folder: Path, named: Sequence[tuple[str, DicomFile]]) -> None:
    if is_there(folder / RESULTS):
        return
    for stem, _ in named:
        for kind in (
            "mask.png",
            "overlay.png",
            "seg.dcm",
            "sr.dcm",
            "sc.dcm",
            "probability.dcm",
        ):
            target = folder / f"{stem}_{kind}"
            if is_there(target):
                problem = (
                    f"is there already, and there is no {RESULTS} of sonoseg segment"
                )
                raise InputError(target, problem, "choose another output folder")


def _segment_one(
    segmenter: Segmenter,
    file: DicomFile,
    place: Path,
    to: Sequence[str],
    options: Options,
    fractional: bool,
) -> dict[str, Any]:
    """Segments a file and writes its results, all of them or none; returns the entry for results.json."""
    found = _Found()
    written: list[str] = []
    # Frames are decoded and segmented in a second thread, while this one writes.
    with atomic_files(), closing(ahead(segment_dicom(segmenter, file))) as segmented:
        frame: list[Segmented] = []
        for one in segmented:
            frame.append(one)
            if one.view.number == len(file.layout.regions):
                _add_frame(found, frame, file)
                if file.frames == 1 or _largest(frame) > 0:
                    written.append(_write_mask(frame, file, place))
                frame = []
        overlay = place.with_name(f"{place.name}_overlay.png")
        write_picture(overlay, draw_capture(file, found.best))
        objects = _objects(
            file, found, Algorithm.of(segmenter), to, options, fractional
        )
        for kind, dataset in objects.items():
            path = place.with_name(f"{place.name}_{kind}.dcm")
            content = as_bytes(file, dataset)
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
            written.append(path.name)
    return {
        "file": file.header.subject,
        "instance": file.header.instance,
        "frames": file.frames,
        "overlay": overlay.name,
        "written": written,
        "doubts": found.doubts,
        "views": found.views,
    }


def _add_frame(found: _Found, frame: Sequence[Segmented], file: DicomFile) -> None:
    for one in frame:
        found.outlines += one.outlines
        for doubt in one.result.doubts:
            if doubt not in found.doubts:
                found.doubts.append(doubt)
        entry = {"frame": one.view.frame, "region": one.view.number}
        entry |= {"left": one.view.region.left, "top": one.view.region.top}
        found.views.append(entry | one.result.to_dict())
    if not found.best or _largest(frame) > _largest(found.best):
        found.best = list(frame)


def _largest(frame: Sequence[Segmented]) -> float:
    """The area of the largest lesion of a frame, 0 if there is none."""
    largest = 0.0
    for one in frame:
        for outline in one.outlines:
            largest = max(largest, outline.area)
    return largest


def _write_mask(frame: Sequence[Segmented], file: DicomFile, place: Path) -> str:
    whole = np.zeros(file.shape, np.uint8)
    for one in frame:
        whole[one.view.region.slices] = one.result.mask.astype(np.uint8) * 255
    number = f"_frame{frame[0].view.frame:04d}" if file.frames > 1 else ""
    path = place.with_name(f"{place.name}{number}_mask.png")
    write_picture(path, whole)
    return path.name


def _objects(
    file: DicomFile,
    found: _Found,
    algorithm: Algorithm,
    to: Sequence[str],
    options: Options,
    fractional: bool,
) -> dict[str, Dataset]:
    """The DICOM objects that were asked for; a segmentation only where there is a lesion."""
    objects: dict[str, Dataset] = {}
    if "seg" in to and found.outlines:
        objects["seg"] = make_seg(file, found.outlines, algorithm, options)
    if "sr" in to:
        objects["sr"] = make_report(file, found.outlines, algorithm, options)
    if "sc" in to:
        objects["sc"] = make_capture(file, found.best, algorithm, options)
    if fractional and file.frames == 1:
        probability = np.zeros(file.shape, np.float32)
        for one in found.best:
            probability[one.view.region.slices] = one.result.probability
        objects["probability"] = make_fractional_seg(
            file, probability, algorithm, options
        )
    return objects
