"""`sonoseg segment`: pictures, videos and DICOM files in one call, with one results.json."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import Any

from sonoseg.core.image import parse_spacing
from sonoseg.core.paths import list_images
from sonoseg.dicom.find import Found, find_files
from sonoseg.dicom.options import OBJECTS, Options, Settings
from sonoseg.dicom.recognise import check_installed
from sonoseg.errors import InputError, counted, visible
from sonoseg.progress import ProgressLine
from sonoseg.reader.jobs import Job, make_jobs
from sonoseg.reader.segment_files import Summary, segment_jobs

_MOST_NAMED = 3
_logger = logging.getLogger(__name__)


def segment_command(
    paths: Iterable[Path | str],
    model: Path | str = "default",
    out: Path | str = "segmented",
    spacing: str | None = None,
    explain: bool = False,
    to: Sequence[str] = (),
    strict: bool = False,
    fractional: bool = False,
    pseudonym: str | None = None,
    sensitivity: str | None = None,
) -> tuple[str, int]:
    """Segments files of any kind, with the progress on stderr; what failed is logged.

    Args:
        paths: pictures, videos, DICOM files, and folders of them (see `sonoseg.dicom.find.find_files`).
        model: a shipped name or a bundle file.
        out: a folder, made if need be; for the files in it see `segment_files` and `sonoseg.dicom.files.DicomJob`.
        spacing: mm per pixel as a text, see `parse_spacing`; replaces that of DICOM files.
        explain: also draw where the network looked.
        to: any of `sonoseg.dicom.options.OBJECTS`, which only DICOM files get, and of
            `sonoseg.reader.annotations.FORMATS`.
        strict, pseudonym: see `sonoseg.dicom.options.Options`.
        fractional: write probabilities of DICOM stills as well.
        sensitivity: an operating point of the model, see `sonoseg.reader.segmenter.Segmenter.at`.

    Returns:
        a text with one line for each file, and the exit code of `Summary`.

    Raises:
        InputError: as `segment_files`; options of DICOM for other files; or what reads DICOM is not installed.
    """
    found = find_files(paths)
    objects = [name for name in to if name in OBJECTS]
    formats = [name for name in to if name not in OBJECTS]
    is_for_dicom = bool(objects) or strict or fractional or pseudonym is not None
    if is_for_dicom and not found.dicom:
        problem = (
            "--to seg, sr and sc, --strict, --fractional and --pseudonym are for DICOM"
        )
        hint = "leave these options out"
        if found.dicom_below:
            hint += ", or name the subfolders that hold DICOM"
        raise InputError("images", f"no DICOM among them; {problem}", hint)
    size = None if spacing is None else parse_spacing(spacing)
    jobs: list[Job] = []
    if found.pictures or not found.dicom:
        pictures = list_images(found.pictures, clips=True)
        jobs += make_jobs(pictures, size, explain, formats)
    failed: list[InputError] = []
    if found.dicom:
        check_installed()
        files = import_module("sonoseg.dicom.files")  # needs pydicom
        options = Options(strict, pseudonym)
        settings = Settings(size, explain, tuple(to), options, fractional)
        dicom_jobs, failed, skipped = files.make_dicom_jobs(found.dicom, settings)
        jobs += dicom_jobs
        found.skipped += skipped
    if not jobs and not failed:
        raise InputError("images", "no ultrasound among them", "give ultrasound images")
    with ProgressLine() as line:
        show = partial(_show_count, line)
        summary = segment_jobs(
            jobs, model, out, show, explain, formats, failed, sensitivity
        )
    for error in summary.failed:
        _logger.warning("sonoseg: %s", error)
    ignored = _ignored(summary, objects, formats, explain, fractional)
    return _text(summary, found, formats, ignored), summary.exit_code


def _show_count(line: ProgressLine, done: int, total: int, frames: int) -> None:
    line.show(
        f"{done}/{total} files" + (f", frame {frames} of the next" if frames else ""),
        last=done == total,
    )


def _ignored(
    summary: Summary,
    objects: Sequence[str],
    formats: Sequence[str],
    explain: bool,
    fractional: bool,
) -> list[str]:
    """A line for each option that does nothing for some of the files."""
    lines = []
    of_videos = (["heat map"] if explain else []) + [f"{name} file" for name in formats]
    if summary.clips and of_videos:
        lines.append(f"videos have no {', no '.join(of_videos)}")
    if objects and (summary.images or summary.clips):
        lines.append(f"pictures and videos have no {', no '.join(objects)} file")
    loops = [entry for entry in summary.dicom if entry["frames"] > 1]
    if fractional and loops:
        lines.append("DICOM loops have no probability file (--fractional)")
    return lines


def _text(
    summary: Summary, found: Found, formats: Sequence[str], ignored: Sequence[str]
) -> str:
    lines = []
    for entry in summary.images:
        lines += _with_doubts(entry, _describe(entry))
    for entry in summary.clips:
        lines.append(f"{visible(entry['file'])}: {_describe_clip(entry)}")
    for entry in summary.dicom:
        lines += _with_doubts(entry, _describe_dicom(entry))
    if summary.results is None:
        return "\n".join(lines)
    lines += [*_left_out(found), *ignored]
    if summary.removed:
        names = visible(", ".join(summary.removed[:_MOST_NAMED]))
        more = len(summary.removed) - _MOST_NAMED
        names += f" and {more} more" if more > 0 else ""
        lines.append(f"older results of the same files were removed: {names}")
    folder = summary.results.parent
    lines.append(f"masks, overlays and {summary.results.name} are in {folder}")
    if formats and (summary.images or summary.dicom):
        lines.append(f"outlines for {', '.join(formats)} are in {folder}")
    return "\n".join(lines)


def _left_out(found: Found) -> list[str]:
    """What was not segmented of the folders, and why."""
    lines = []
    if found.skipped:
        kinds = [f"{count} {kind}" for kind, count in found.skipped.most_common()]
        files = "file was" if found.skipped.total() == 1 else "files were"
        words = f"{files} skipped, not ultrasound ({', '.join(kinds)})"
        lines.append(f"{found.skipped.total()} {words}")
    for kind, below in (
        ("picture", found.pictures_below),
        ("DICOM file", found.dicom_below),
    ):
        if below:
            words = counted(len(below), kind)
            verb = "was" if len(below) == 1 else "were"
            hint = "name their folders as well"
            lines.append(f"{words} in subfolders {verb} skipped: {hint}")
    return lines


def _with_doubts(entry: dict[str, Any], words: str) -> list[str]:
    name = visible(entry["file"])
    doubts = [f"{name}: do not trust this: {doubt}" for doubt in entry["doubts"]]
    notes = [f"{name}: {note}" for note in entry.get("notes", [])]
    return [f"{name}: {words}", *doubts, *notes]


def _describe(entry: dict[str, Any]) -> str:
    if not entry["lesions"]:
        return "no lesion found"
    count, largest = len(entry["lesions"]), entry["lesions"][0]
    lengths = f"{largest['longest_diameter']:.1f} x {largest['perpendicular_diameter']:.1f} {entry['unit']}"
    return (
        f"1 lesion, {lengths}"
        if count == 1
        else f"{count} lesions, the largest {lengths}"
    )


def _describe_clip(entry: dict[str, Any]) -> str:
    frames = counted(entry["frames"], "frame")
    rates = f"{frames} of {entry['fps']:g} a second, segmented at {entry['rate_held']:g} a second"
    if doubtful := entry["frames_in_doubt"]:
        rates += f"; do not trust {doubtful} of them: unlike the images that the network was trained on"
    if (largest := entry["largest"]) is None:
        return f"{rates}; no lesion found"
    found = _describe({"lesions": [largest], "unit": entry["unit"]})
    return f"{rates}; a lesion in {entry['frames_with_lesion']}, the largest in frame {largest['frame']}: {found}"


def _describe_dicom(entry: dict[str, Any]) -> str:
    """The largest lesion of a DICOM file, in a line; one in mm rather than one in pixels, whatever their areas."""
    found = []
    for view in entry["views"]:
        is_mm = view["unit"] == "mm"
        found += [((is_mm, one["area"]), one, view) for one in view["lesions"]]
    if not found:
        return "no lesion found"
    _, lesion, view = max(found, key=itemgetter(0))
    long, short = lesion["longest_diameter"], lesion["perpendicular_diameter"]
    frame = (
        f" in frame {view['frame']} of {entry['frames']}" if entry["frames"] > 1 else ""
    )
    return f"{counted(len(found), 'outline')}, the largest{frame} {long:.1f} x {short:.1f} {view['unit']}"
