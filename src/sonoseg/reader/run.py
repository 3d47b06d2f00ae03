"""Segments files: for each image a mask and an overlay picture, for each clip a video, one results.json for all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sonoseg
from sonoseg.errors import InputError
from sonoseg.files import output_folder, write_json
from sonoseg.reader.ahead import ahead
from sonoseg.reader.cine import output_names, segment_clip
from sonoseg.reader.overlay import NOTICE, draw_heat, write_picture
from sonoseg.reader.paths import is_clip, list_images
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter, check_spacing, load
from sonoseg.reader.video import check_av

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonoseg.cli import Segment

PICTURES = ("mask", "overlay", "heat")
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Summary:
    """What a run over files did.

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
    spacing: float | None = None,
    progress: Progress | None = None,
    explain: bool = False,
) -> Summary:
    """Segments image files, videos and those in folders, one after the other, in the memory of three.

    While the results of one are drawn and written, a second thread reads and segments the next.

    Writes into `out`: for an image STEM_mask.png (0 and 255, the image's own size), STEM_overlay.png and, if asked
    to explain, STEM_heat.png; for a video what `segment_clip` says; and at the end results.json. Each file appears
    whole or not at all. What cannot be read is noted and passed over.

    Args:
        paths: image files, videos and folders (see `list_images`).
        model: a shipped name or a bundle file.
        out: a folder, made if need be.
        spacing: mm per pixel of all images; None measures in pixels.
        progress: called with the number of files finished, of all, and of frames of the video at hand.
        explain: draw where the network looked on each image (not on videos).

    Raises:
        InputError: before anything is written: a path, the model, the spacing or `out` cannot be used, a result
            would overwrite an input, the model cannot explain, or there are videos and no PyAV; later only if the
            disk fails.
    """
    check_spacing(spacing)
    files, folder = list_images(paths, clips=True), Path(out)
    _check_outputs(files, folder)
    for path in filter(is_clip, files):
        check_av(path)
    segmenter = load(model)
    if explain:
        segmenter.check_explains()
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    output_folder(folder)
    summary = _segment_all(segmenter, files, folder, spacing, progress or (lambda *_: None), explain)
    if not (summary.images or summary.clips):
        with contextlib.suppress(OSError):  # not empty, if another program has written there
            for path in new_folders:
                path.rmdir()
        return summary
    write_json(folder / "results.json", _report(segmenter, summary))
    return replace(summary, results=folder / "results.json")


def _segment_all(
    segmenter: Segmenter, files: list[Path], folder: Path, spacing: float | None, progress: Progress, explain: bool
) -> Summary:
    summary = Summary([], [], [], None)

    def outcome(path: Path) -> tuple[Path, SegmentationResult | InputError | None]:
        return path, None if is_clip(path) else _try_segment(segmenter, path, spacing)

    with closing(ahead(map(outcome, files))) as outcomes:
        for count, (path, result) in enumerate(outcomes):
            if isinstance(result, InputError):
                summary.failed.append(result)
            elif result is not None:
                heat = segmenter.explain(result.image) if explain else None
                summary.images.append(_write_image(result, path, folder, heat))
            else:
                try:
                    show = partial(progress, count, len(files))
                    summary.clips.append(segment_clip(segmenter, path, folder, spacing, show))
                except InputError as error:
                    if error.subject != str(path):  # the disk's fault
                        raise
                    summary.failed.append(error)
            progress(count + 1, len(files), 0)
    return summary


def _try_segment(segmenter: Segmenter, path: Path, spacing: float | None) -> SegmentationResult | InputError:
    try:
        return segmenter.segment(path, spacing)
    except InputError as error:
        return error
    except MemoryError:
        return InputError(path, "not enough memory to segment it", "make the picture smaller")


def segment_command(options: Segment) -> int:
    """`sonoseg segment`: `segment_files`, a line on each image printed, faults to stderr; gives the exit code."""
    progress = _show_count if sys.stderr.isatty() else None
    summary = segment_files(options.images, options.model, options.out, options.spacing, progress, options.explain)
    for error in summary.failed:
        print(f"sonoseg: {error}", file=sys.stderr)
    for entry in summary.images:
        print(f"{entry['file']}: {_describe(entry)}")
        for doubt in entry["doubts"]:
            print(f"{entry['file']}: do not trust this: {doubt}")
    for entry in summary.clips:
        print(f"{entry['file']}: {_describe_clip(entry)}")
    if summary.results is not None:
        print(f"masks, overlays and {summary.results.name} are in {summary.results.parent}")
    return summary.exit_code


def _show_count(done: int, total: int, frames: int) -> None:
    line = f"{done}/{total} files" + (f", frame {frames} of the next" if frames else "")
    print(f"\r{line:40}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _describe(entry: dict[str, Any]) -> str:
    if not entry["lesions"]:
        return "no lesion found"
    count, largest = len(entry["lesions"]), entry["lesions"][0]
    lengths = f"{largest['longest_diameter']:.1f} x {largest['perpendicular_diameter']:.1f} {entry['unit']}"
    return f"1 lesion, {lengths}" if count == 1 else f"{count} lesions, the largest {lengths}"


def _describe_clip(entry: dict[str, Any]) -> str:
    rates = f"{entry['frames']} frames of {entry['fps']:g} a second, segmented at {entry['rate_held']:g} a second"
    if doubtful := entry["frames_in_doubt"]:
        rates += f"; do not trust {doubtful} of them: unlike the images that the network was trained on"
    if (largest := entry["largest"]) is None:
        return f"{rates}; no lesion found"
    found = _describe({"lesions": [largest], "unit": entry["unit"]})
    return f"{rates}; a lesion in {entry['frames_with_lesion']}, the largest in frame {largest['frame']}: {found}"


def _output_names(path: Path) -> tuple[str, ...]:
    return output_names(path) if is_clip(path) else tuple(f"{path.stem}_{kind}.png" for kind in PICTURES)


def _check_outputs(files: list[Path], folder: Path) -> None:
    inputs = {path.resolve(): path for path in files}
    for path in files:
        for name in _output_names(path):
            if taken := inputs.get((folder / name).resolve()):
                fault = f"is an input, and would be overwritten by the result of {path}"
                raise InputError(taken, fault, "choose another output folder")


def _write_image(
    result: SegmentationResult, image: Path, folder: Path, heat: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the pictures; returns the entry for results.json."""
    names = dict(zip(PICTURES, _output_names(image), strict=True))
    write_picture(folder / names["mask"], result.mask.astype("uint8") * 255)
    write_picture(folder / names["overlay"], result.overlay())
    if heat is None:
        del names["heat"]
    else:
        write_picture(folder / names["heat"], draw_heat(result, heat))
    return {"file": str(image), **names, **result.to_dict()}


def _report(segmenter: Segmenter, summary: Summary) -> dict[str, Any]:
    card = segmenter.card
    return {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": {"name": card.name, "version": card.version, "sha256": segmenter.sha256},
        "images": summary.images,
        "clips": summary.clips,
        "failed": [{"file": error.subject, "fault": error.fault, "mend": error.mend} for error in summary.failed],
    }
