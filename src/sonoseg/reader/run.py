"""Segments files: for each image a mask and an overlay picture, and one results.json for all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sonoseg
from sonoseg.errors import InputError
from sonoseg.files import output_folder, write_json
from sonoseg.reader.overlay import NOTICE, write_picture
from sonoseg.reader.paths import list_images
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter, check_spacing, load

if TYPE_CHECKING:
    from sonoseg.cli import Segment


@dataclass(frozen=True)
class Summary:
    """What a run over files did.

    Attributes:
        images: one entry for each image that was segmented, as in results.json.
        failed: the errors of the others; `subject` names the file.
        results: the path of results.json, None when no image could be segmented.
    """

    images: list[dict[str, Any]]
    failed: list[InputError]
    results: Path | None

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some images failed; 2: all failed, and nothing was written."""
        if not self.images:
            return 2
        return 1 if self.failed else 0


def segment_files(
    paths: Iterable[Path | str],
    model: Path | str,
    out: Path | str,
    spacing: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Segments image files and those in folders, one after the other, in the memory of one.

    Writes into `out`: STEM_mask.png (0 and 255, the image's own size), STEM_overlay.png, and at the end
    results.json. Each file appears whole or not at all. An image that cannot be read is noted and passed over.

    Args:
        paths: image files and folders (see `list_images`).
        model: a shipped name or a bundle file.
        out: a folder, made if need be.
        spacing: mm per pixel of all images; None measures in pixels.
        progress: called with the number of images finished and of all.

    Raises:
        InputError: before anything is written: a path, the model, the spacing or `out` cannot be used, or a
            result would overwrite an image; later only if the disk fails.
    """
    check_spacing(spacing)
    images, folder = list_images(paths), Path(out)
    _check_outputs(images, folder)
    segmenter = load(model)
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    output_folder(folder)
    done: list[dict[str, Any]] = []
    failed: list[InputError] = []
    for count, path in enumerate(images, 1):
        try:
            result = segmenter.segment(path, spacing)
        except InputError as error:
            failed.append(error)
        except MemoryError:
            failed.append(InputError(path, "not enough memory to segment it", "make the picture smaller"))
        else:
            done.append(_write_image(result, path, folder))
        if progress is not None:
            progress(count, len(images))
    if not done:
        with contextlib.suppress(OSError):  # not empty, if another program has written there
            for path in new_folders:
                path.rmdir()
        return Summary(done, failed, None)
    results = folder / "results.json"
    write_json(results, _report(segmenter, done, failed))
    return Summary(done, failed, results)


def segment_command(options: Segment) -> int:
    """`sonoseg segment`: `segment_files`, a line on each image printed, faults to stderr; gives the exit code."""
    progress = _show_count if sys.stderr.isatty() else None
    summary = segment_files(options.images, options.model, options.out, options.spacing, progress)
    for error in summary.failed:
        print(f"sonoseg: {error}", file=sys.stderr)
    for entry in summary.images:
        print(f"{entry['file']}: {_describe(entry)}")
    if summary.results is not None:
        print(f"masks, overlays and {summary.results.name} are in {summary.results.parent}")
    return summary.exit_code


def _show_count(done: int, total: int) -> None:
    print(f"\r{done}/{total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _describe(entry: dict[str, Any]) -> str:
    if not entry["lesions"]:
        return "no lesion found"
    count, largest = len(entry["lesions"]), entry["lesions"][0]
    lengths = f"{largest['longest_diameter']:.1f} x {largest['perpendicular_diameter']:.1f} {entry['unit']}"
    return f"1 lesion, {lengths}" if count == 1 else f"{count} lesions, the largest {lengths}"


def _output_names(image: Path) -> tuple[str, str]:
    return f"{image.stem}_mask.png", f"{image.stem}_overlay.png"


def _check_outputs(images: list[Path], folder: Path) -> None:
    inputs = {image.resolve(): image for image in images}
    for image in images:
        for name in _output_names(image):
            if taken := inputs.get((folder / name).resolve()):
                fault = f"is an input, and would be overwritten by the result of {image}"
                raise InputError(taken, fault, "choose another output folder")


def _write_image(result: SegmentationResult, image: Path, folder: Path) -> dict[str, Any]:
    """Writes mask and overlay; returns the entry for results.json."""
    mask, overlay = _output_names(image)
    write_picture(folder / mask, result.mask.astype("uint8") * 255)
    write_picture(folder / overlay, result.overlay())
    return {"file": str(image), "mask": mask, "overlay": overlay, **result.to_dict()}


def _report(segmenter: Segmenter, done: list[dict[str, Any]], failed: list[InputError]) -> dict[str, Any]:
    card = segmenter.card
    return {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": {"name": card.name, "version": card.version, "sha256": segmenter.sha256},
        "images": done,
        "failed": [{"file": error.subject, "fault": error.fault, "mend": error.mend} for error in failed],
    }
