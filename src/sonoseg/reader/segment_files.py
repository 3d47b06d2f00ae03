"""Segments files: for each image a mask and an overlay picture, for each clip a video, one results.json for all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import sonoseg
from sonoseg.core.image import pixel_spacing
from sonoseg.core.paths import list_images
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_there, output_folder, write_json
from sonoseg.reader.ahead import ahead
from sonoseg.reader.annotation_files import COCO, write_coco
from sonoseg.reader.folder_lock import locked
from sonoseg.reader.jobs import Job, make_jobs
from sonoseg.reader.outputs import (
    RESULTS,
    at_work,
    checksums,
    earlier_files,
    end_work,
    noted_checksums,
    plan_outputs,
    remove_older,
    retire_results,
)
from sonoseg.reader.overlay import NOTICE
from sonoseg.reader.segmenter import PixelSize, Segmenter, load

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Summary:
    """The results of `segment_files`.

    Attributes:
        images: one entry for each image that was segmented, as in results.json.
        clips: one entry for each video that was.
        failed: the errors of the others; `subject` names the file.
        results: the path of results.json, None when nothing could be segmented.
        dicom: one entry for each DICOM file that was.
        removed: the names of files of earlier calls that these results replace, and that were not written again.
    """

    images: list[dict[str, Any]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    failed: list[InputError] = field(default_factory=list)
    results: Path | None = None
    dicom: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All entries of results.json."""
        return [*self.images, *self.clips, *self.dicom]

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some files failed; 2: all failed, and nothing was written."""
        if not self.entries:
            return 2
        return 1 if self.failed else 0


def segment_files(
    paths: Iterable[Path | str],
    model: Path | str,
    out: Path | str,
    spacing: PixelSize | None = None,
    progress: Progress | None = None,
    explain: bool = False,
    formats: Sequence[str] = (),
) -> Summary:
    """Segments image files, videos and those in folders, one after the other, in the memory of three.

    While the results of one are drawn and written, a second thread reads and segments the next.

    Writes into `out`: for an image STEM_mask.png (0 and 255, the image's own size), STEM_overlay.png and, if asked
    to explain, STEM_heat.png; for a video what `segment_clip` says; and at the end results.json. Each file appears
    whole or not at all, the files of an image together. What cannot be read or written is noted and passed over.
    Nothing is replaced or removed but what earlier calls wrote (see `outputs`).

    Args:
        paths: image files, videos and folders (see `list_images`).
        model: a shipped name or a bundle file.
        out: a folder, made if need be.
        spacing: mm per pixel of all images, one number or (row, column); None measures in pixels.
        progress: called with the number of files finished, of all, and of frames of the video at hand.
        explain: draw where the network looked on each image (not on videos).
        formats: of outlines for annotation programs, see `sonoseg.reader.annotations.FORMATS`: for each image
            STEM_lesions.geojson and STEM_labelme.json, for all images lesions_coco.json (not for videos).

    Raises:
        InputError: before anything is written: a path, the model, the spacing or `out` cannot be used, a result
            would replace an input or another's file, the model cannot explain, or there are videos and no PyAV.
    """
    pixel_spacing(spacing)
    jobs = make_jobs(list_images(paths, clips=True), spacing, explain, formats)
    return segment_jobs(jobs, model, out, progress, explain, formats)


def segment_jobs(
    jobs: Sequence[Job],
    model: Path | str,
    out: Path | str,
    progress: Progress | None = None,
    explain: bool = False,
    formats: Sequence[str] = (),
    failed: Sequence[InputError] = (),
    sensitivity: str | None = None,
) -> Summary:
    """`segment_files` for files of any kind, for which the jobs are made.

    Args:
        jobs, model, out, progress, explain, formats: as in `segment_files`.
        failed: the files that could not be read.
        sensitivity: an operating point, see `sonoseg.reader.segmenter.Segmenter.at`.
    """
    folder = Path(out)
    has_masks = any(job.group != "clips" for job in jobs)
    common = [COCO] if "coco" in formats and has_masks else []
    planned = [(job.path, job.names) for job in jobs]
    new_folders = [path for path in (folder, *folder.parents) if not is_there(path)]
    with ExitStack() as stack:
        if not new_folders:
            stack.enter_context(locked(folder))
        outputs = plan_outputs(planned, folder, common)
        segmenter = load(model, sensitivity)
        if explain:
            segmenter.check_explains()
            segmenter.warn_of_heat()
        output_folder(folder)
        if new_folders:
            # Another call may have written there since.
            stack.enter_context(locked(folder))
            outputs = plan_outputs(planned, folder, common)
        older = _older_names(folder, jobs, *outputs)
        with at_work(folder, *outputs):
            summary = _segment_all(
                segmenter, jobs, folder, progress or (lambda *_: None), failed, older
            )
        if summary.entries:
            return _finish(segmenter, summary, folder, outputs[1], common)
        end_work(folder)
        with contextlib.suppress(OSError):  # another program has written there
            for path in new_folders:
                path.rmdir()
        return summary


def _older_names(
    folder: Path, jobs: Sequence[Job], planned: Sequence[str], earlier: Sequence[str]
) -> list[list[str]]:
    """For each job the names of the files that earlier calls wrote for its file, perhaps with other options."""
    inputs = {os.path.realpath(job.path) for job in jobs}
    there, taken = set(earlier), set(planned)
    older = []
    for job in jobs:
        of_others = taken.difference(job.names)
        names = []
        for name in sorted(there.intersection(job.all_names) - of_others):
            if os.path.realpath(folder / name) not in inputs:
                names.append(name)
        older.append(names)
    return older


def _finish(
    segmenter: Segmenter,
    summary: Summary,
    folder: Path,
    earlier: Sequence[str],
    common: Sequence[str],
) -> Summary:
    """Writes results.json, and the files for all images together."""
    report = _report(segmenter, summary)
    if common:
        report["coco"] = COCO
    before = earlier_files(folder, earlier, summary.entries)
    report["earlier_files"] = [name for name in before if name not in common]
    report["checksums"] = checksums(folder, summary.entries, before)
    try:
        with atomic_files():
            if common:
                write_coco(report, folder)
            write_json(folder / RESULTS, report)
    except InputError as error:
        summary.failed.append(error)
        return summary
    end_work(folder)
    return replace(summary, results=folder / RESULTS)


def _segment_all(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    folder: Path,
    progress: Progress,
    failed: Sequence[InputError],
    older: Sequence[Sequence[str]],
) -> Summary:
    summary = Summary(failed=list(failed))
    known = noted_checksums(folder)
    groups = {"images": summary.images, "clips": summary.clips, "dicom": summary.dicom}

    def outcome(job: Job) -> tuple[Job, Any]:
        return job, job.read(segmenter)

    with closing(ahead(map(outcome, jobs))) as outcomes:
        for count, (job, read) in enumerate(outcomes):
            show = partial(progress, count, len(jobs))
            try:
                if isinstance(read, InputError):
                    raise read
                if not summary.entries:
                    retire_results(folder)
                entry = job.write(segmenter, read, folder, show)
                groups[job.group].append(entry)
                removed = remove_older(folder, older[count], entry, known)
                summary.removed.extend(removed)
            except InputError as error:
                summary.failed.append(_failure_of(job.path, error))
            except MemoryError:
                summary.failed.append(
                    InputError(
                        job.path,
                        "not enough memory to draw it",
                        "make the picture smaller",
                    )
                )
            progress(count + 1, len(jobs), 0)
    return summary


def _failure_of(path: Path, error: InputError) -> InputError:
    """The error of one file: `subject` is the file, also if a result of it cannot be written or the network fails."""
    if error.subject == str(path):
        return error
    return InputError(
        path, f"has no result ({Path(error.subject).name}: {error.problem})", error.hint
    )


def _report(segmenter: Segmenter, summary: Summary) -> dict[str, Any]:
    card = segmenter.card
    return {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": segmenter.sha256,
            "sensitivity": segmenter.sensitivity,
        },
        "images": summary.images,
        "clips": summary.clips,
        "dicom": summary.dicom,
        "failed": [
            {"file": error.subject, "problem": error.problem, "hint": error.hint}
            for error in summary.failed
        ],
    }
