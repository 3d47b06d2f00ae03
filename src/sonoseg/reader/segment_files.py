"""Segments files: for each image a mask and an overlay picture, for each clip a video, one results.json for all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import sonoseg
from sonoseg.core.image import parse_spacing, pixel_spacing
from sonoseg.core.paths import is_clip, list_images
from sonoseg.errors import InputError, visible
from sonoseg.files import atomic_path, is_there, output_folder, write_json
from sonoseg.progress import ProgressLine
from sonoseg.reader.ahead import ahead
from sonoseg.reader.cine import segment_clip
from sonoseg.reader.outputs import (
    PICTURES,
    RESULTS,
    at_work,
    earlier_files,
    end_work,
    output_names,
    plan_outputs,
    retire_results,
)
from sonoseg.reader.overlay import NOTICE, draw_heat, save_picture
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import PixelSize, Segmenter, load
from sonoseg.reader.video import check_av

_logger = logging.getLogger(__name__)
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Summary:
    """The results of `segment_files`.

    Attributes:
        images: one entry for each image that was segmented, as in results.json.
        clips: one entry for each video that was.
        failed: the errors of the others; `subject` names the file.
        results: the path of results.json, None when nothing could be segmented.
    """

    images: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    failed: list[InputError]
    results: Path | None

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some files failed; 2: all failed, and nothing was written."""
        if not (self.images or self.clips):
            return 2
        return 1 if self.failed else 0


def segment_files(
    paths: Iterable[Path | str],
    model: Path | str,
    out: Path | str,
    spacing: PixelSize | None = None,
    progress: Progress | None = None,
    explain: bool = False,
) -> Summary:
    """Segments image files, videos and those in folders, one after the other, in the memory of three.

    While the results of one are drawn and written, a second thread reads and segments the next.

    Writes into `out`: for an image STEM_mask.png (0 and 255, the image's own size), STEM_overlay.png and, if asked
    to explain, STEM_heat.png; for a video what `segment_clip` says; and at the end results.json. Each file appears
    whole or not at all, the files of an image together. What cannot be read or written is noted and passed over.
    Nothing is replaced but what earlier calls wrote (see `outputs`).

    Args:
        paths: image files, videos and folders (see `list_images`).
        model: a shipped name or a bundle file.
        out: a folder, made if need be.
        spacing: mm per pixel of all images, one number or (row, column); None measures in pixels.
        progress: called with the number of files finished, of all, and of frames of the video at hand.
        explain: draw where the network looked on each image (not on videos).

    Raises:
        InputError: before anything is written: a path, the model, the spacing or `out` cannot be used, a result
            would replace an input or another's file, the model cannot explain, or there are videos and no PyAV.
    """
    pixel_spacing(spacing)
    files, folder = list_images(paths, clips=True), Path(out)
    names, earlier = plan_outputs(files, folder, explain)
    for path in filter(is_clip, files):
        check_av(path)
    segmenter = load(model)
    if explain:
        segmenter.check_explains()
    new_folders = [path for path in (folder, *folder.parents) if not is_there(path)]
    output_folder(folder)
    with at_work(folder, names, earlier):
        summary = _segment_all(
            segmenter, files, folder, spacing, progress or (lambda *_: None), explain
        )
    if not (summary.images or summary.clips):
        end_work(folder)
        with contextlib.suppress(
            OSError
        ):  # not empty, if another program has written there
            for path in new_folders:
                path.rmdir()
        return summary
    before = earlier_files(folder, earlier, [*summary.images, *summary.clips])
    try:
        write_json(
            folder / RESULTS, {**_report(segmenter, summary), "earlier_files": before}
        )
    except InputError as error:
        summary.failed.append(error)
        return summary
    end_work(folder)
    return replace(summary, results=folder / RESULTS)


def _segment_all(
    segmenter: Segmenter,
    files: list[Path],
    folder: Path,
    spacing: PixelSize | None,
    progress: Progress,
    explain: bool,
) -> Summary:
    summary = Summary([], [], [], None)

    def outcome(path: Path) -> tuple[Path, SegmentationResult | InputError | None]:
        return path, None if is_clip(path) else _try_segment(
            segmenter, path, spacing, explain
        )

    with closing(ahead(map(outcome, files))) as outcomes:
        for count, (path, result) in enumerate(outcomes):
            show = partial(progress, count, len(files))
            try:
                if isinstance(result, InputError):
                    raise result
                if not (summary.images or summary.clips):
                    retire_results(folder)
                if result is None:
                    summary.clips.append(
                        segment_clip(segmenter, path, folder, spacing, show)
                    )
                else:
                    summary.images.append(_write_image(result, path, folder))
            except InputError as error:
                summary.failed.append(_failure_of(path, error))
            except MemoryError:
                summary.failed.append(
                    InputError(
                        path, "not enough memory to draw it", "make the picture smaller"
                    )
                )
            progress(count + 1, len(files), 0)
    return summary


def _try_segment(
    segmenter: Segmenter, path: Path, spacing: PixelSize | None, explain: bool
) -> SegmentationResult | InputError:
    try:
        return segmenter.segment(path, spacing, explain)
    except InputError as error:
        return error
    except MemoryError:
        return InputError(
            path, "not enough memory to segment it", "make the picture smaller"
        )


def _failure_of(path: Path, error: InputError) -> InputError:
    """The error of one file: `subject` is the file, also if a result of it cannot be written or the network fails."""
    if error.subject == str(path):
        return error
    return InputError(
        path, f"has no result ({Path(error.subject).name}: {error.problem})", error.hint
    )


def segment_command(
    paths: Iterable[Path | str],
    model: Path | str = "default",
    out: Path | str = "segmented",
    spacing: str | None = None,
    explain: bool = False,
) -> tuple[str, int]:
    """`sonoseg segment`: `segment_files` with its progress on stderr; what failed is logged.

    Args: as of `segment_files`, but `spacing` as a text, see `parse_spacing`.

    Returns:
        a text with one line for each image and clip, and the exit code of `Summary`.

    Raises:
        InputError: as `segment_files`.
    """
    with ProgressLine() as line:
        progress = partial(_show_count, line)
        pair = None if spacing is None else parse_spacing(spacing)
        summary = segment_files(paths, model, out, pair, progress, explain)
    for error in summary.failed:
        _logger.warning("sonoseg: %s", error)
    return _text(summary), summary.exit_code


def _text(summary: Summary) -> str:
    lines = []
    for entry in summary.images:
        name = visible(entry["file"])
        lines.append(f"{name}: {_describe(entry)}")
        for doubt in entry["doubts"]:
            lines.append(f"{name}: do not trust this: {doubt}")
    for entry in summary.clips:
        lines.append(f"{visible(entry['file'])}: {_describe_clip(entry)}")
    if summary.results is not None:
        lines.append(
            f"masks, overlays and {summary.results.name} are in {summary.results.parent}"
        )
    return "\n".join(lines)


def _show_count(line: ProgressLine, done: int, total: int, frames: int) -> None:
    line.show(
        f"{done}/{total} files" + (f", frame {frames} of the next" if frames else ""),
        last=done == total,
    )


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
    rates = f"{entry['frames']} frames of {entry['fps']:g} a second, segmented at {entry['rate_held']:g} a second"
    if doubtful := entry["frames_in_doubt"]:
        rates += f"; do not trust {doubtful} of them: unlike the images that the network was trained on"
    if (largest := entry["largest"]) is None:
        return f"{rates}; no lesion found"
    found = _describe({"lesions": [largest], "unit": entry["unit"]})
    return f"{rates}; a lesion in {entry['frames_with_lesion']}, the largest in frame {largest['frame']}: {found}"


def _write_image(
    result: SegmentationResult, image: Path, folder: Path
) -> dict[str, Any]:
    """Writes the pictures, all of them or none; returns the entry for results.json."""
    heat = result.heat
    pictures = {"mask": result.mask.astype("uint8") * 255, "overlay": result.overlay()}
    if heat is not None:
        pictures["heat"] = draw_heat(result, heat)
    names = dict(zip(PICTURES, output_names(image, heat is not None), strict=False))
    # They are renamed in the opposite order: the longest name, which the disk may refuse, first.
    in_order = sorted(pictures, key=lambda kind: len(names[kind]))
    with contextlib.ExitStack() as stack:
        places = {
            kind: stack.enter_context(atomic_path(folder / names[kind]))
            for kind in in_order
        }
        for kind, place in places.items():
            save_picture(place, pictures[kind])
    return {"file": str(image), **names, **result.to_dict()}


def _report(segmenter: Segmenter, summary: Summary) -> dict[str, Any]:
    card = segmenter.card
    return {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": segmenter.sha256,
        },
        "images": summary.images,
        "clips": summary.clips,
        "failed": [
            {"file": error.subject, "problem": error.problem, "hint": error.hint}
            for error in summary.failed
        ],
    }
