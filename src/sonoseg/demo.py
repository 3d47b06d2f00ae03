"""`sonoseg demo`: makes synthetic images, segments them, scores the masks against the known ones, writes a report."""

from __future__ import annotations

import importlib.util
import logging
import re
import shlex
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import sonoseg
from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.measure import Spacing, find_lesions
from sonoseg.core.metrics import METRICS, image_scores, normals_summary, summary
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError, counted
from sonoseg.files import is_folder, output_folder, write_error, write_json, write_text
from sonoseg.inputs import read_json
from sonoseg.reader.overlay import NOTICE, write_picture
from sonoseg.reader.segmenter import Segmenter
from sonoseg.report.demo_page import HEADER, SYNTHETIC, demo_page, image_row
from sonoseg.report.tables import text_table

_logger = logging.getLogger(__name__)

ANNOTATIONS = "annotations"
"""The folder that `sonoseg serve` writes into the demo's."""
MOST = 1000
"""Largest number of images of a demo: the report contains all their pictures."""
_OWN = re.compile(
    r"images|masks|segmented|labels\.csv|results\.json|report\.html"
    r"|(images|masks)/synthetic_\d+\.png|segmented/synthetic_\d+_(mask|overlay)\.png"
)


class Outcome(NamedTuple):
    """One synthetic image after segmentation and comparison with its known mask.

    Attributes:
        entry: its entry in results.json.
        counts: of this one image, on its own pixels.
        largest_false_part: area of the largest false-positive part as a share of the image, 0..1.
        picture: the overlay, (H, W, 3) uint8.
    """

    entry: dict[str, Any]
    counts: Counts
    largest_false_part: float
    picture: NDArray[np.uint8]


def demo_command(out: Path, count: int = 12, model: str = "default") -> str:
    """Runs `run_demo` and returns a table of the images for the terminal. Logs where to look.

    Raises:
        InputError: as `run_demo`.
    """
    results = run_demo(out, count, model)
    entries = results["images"]
    normals = results["normals"]
    dice = results["conventions"]["lesion"]["dice"]
    with_lesion = len(entries) - normals["images"]
    lines = [text_table(HEADER, [image_row(entry) for entry in entries]), ""]
    images = counted(with_lesion, "synthetic image")
    lines.append(f"Mean Dice {dice:.3f} on {images} with a lesion.")
    if normals["images"]:
        false_lesions = round(normals["false_lesion"] * normals["images"])
        lines.append(
            f"A false lesion on {false_lesions} of the {normals['images']} without one."
        )
    lines.append(f"{NOTICE}.")
    _logger.info(
        "open %s; masks and overlays are in %s", out / "report.html", out / "segmented"
    )
    _logger.info("open the page to correct the outlines: %s", _page_command(out))
    return "\n".join(lines)


def _page_command(out: Path) -> str:
    """The command that opens the page on the synthetic images, and what to install before, if need be."""
    command = f"sonoseg serve {shlex.quote(str(out))}"
    needed = ("fastapi", "uvicorn", "python_multipart")
    is_installed = all(importlib.util.find_spec(name) for name in needed)
    return (
        command
        if is_installed
        else f"pip install '.[serve]' in the source folder, then {command}"
    )


def run_demo(out: Path | str, count: int, model: Path | str) -> dict[str, Any]:
    """Makes synthetic images, segments and scores them, and writes everything.

    Writes into `out`: images/, masks/ and labels.csv (a data set, as `write_phantoms` makes it), segmented/ with
    STEM_mask.png and STEM_overlay.png, results.json, and report.html, which contains its pictures. It replaces an
    earlier demo in `out`.

    Args:
        out: a new or empty folder, or one with an earlier demo. What was drawn on the page in it stays.
        count: number of images, 1 to `MOST`; every fourth has no lesion.
        model: the name of a bundled model, or a bundle file.

    Returns:
        the content of results.json.

    Raises:
        InputError: before anything is written: the model does not exist or cannot be run, `count` is out of range, or
            `out` cannot be written to or contains other files.
    """
    if not 1 <= count <= MOST:
        problem = "is not a number of images for a demo"
        raise InputError(f"--count {count}", problem, f"ask for 1 to {MOST}")
    segmenter = sonoseg.load(model)
    black = np.zeros(segmenter.card.size, np.uint8)
    segmenter.probability([black])  # a trial: if it fails, an earlier demo is kept
    folder = output_folder(out)
    _clear(folder)
    output_folder(
        folder / "segmented"
    )  # made first, so that `_clear` recognises an unfinished demo
    write_phantoms(folder, count)
    began = perf_counter()
    outcomes = [_segment(segmenter, case, folder) for case in load_cases(folder)]
    seconds = (perf_counter() - began) / count
    counts = stack(outcome.counts for outcome in outcomes)
    false_parts = np.array([outcome.largest_false_part for outcome in outcomes])
    pictures = [outcome.picture for outcome in outcomes]
    results = {
        "sonoseg": sonoseg.__version__,
        "notice": f"{NOTICE}. {SYNTHETIC}",
        "synthetic": True,
        "model": {
            "name": segmenter.card.name,
            "version": segmenter.card.version,
            "sha256": segmenter.sha256,
        },
        "conventions": summary(counts),
        "normals": normals_summary(counts, false_parts),
        "images": [outcome.entry for outcome in outcomes],
    }
    write_json(folder / "results.json", results)
    write_text(
        folder / "report.html", demo_page(results, pictures, segmenter.card, seconds)
    )
    return results


def _clear(folder: Path) -> None:
    """Removes the files of an earlier demo from `folder`. Removes none if there are other files, except hidden ones.

    A data set of `write_phantoms` has the same names, but no folder segmented/.
    """
    found = []
    has_results = _has_results_of_demo(folder)
    # In reverse order the report goes before results.json, by which a demo is recognised.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name.startswith("."):  # such as a file that a file manager makes
            continue
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ANNOTATIONS:  # what a reader drew on the page stays
            continue
        if not _is_of_demo(path, name, has_results):
            problem = f"has other files in it, such as {name}"
            raise InputError(folder, problem, "choose a new or an empty folder")
        if not is_folder(path):
            found.append(path)
    if found and not is_folder(folder / "segmented"):
        problem = "has a data set that was not made by sonoseg demo"
        raise InputError(folder, problem, "choose a new or an empty folder")
    for path in found:
        try:
            path.unlink()
        except OSError as error:
            raise write_error(path, error) from error


def _is_of_demo(path: Path, name: str, has_results: bool) -> bool:
    """Whether a demo wrote `path`. `name` is its path within the demo's folder."""
    if path.is_symlink() or not _OWN.fullmatch(name):
        return False
    if name in ("results.json", "report.html"):
        return has_results
    return name != "labels.csv" or _is_own_table(path)


def _has_results_of_demo(folder: Path) -> bool:
    """Whether `folder` has the results.json of an earlier demo."""
    try:
        results = read_json(folder / "results.json")
    except InputError:
        return False
    return (
        isinstance(results, dict)
        and results.get("synthetic") is True
        and "sonoseg" in results
    )


def _is_own_table(path: Path) -> bool:
    """Whether a labels.csv is about synthetic images only."""
    try:
        rows = read_table(path, ("file",))
    except InputError:
        return False
    return all(_OWN.fullmatch(f"images/{row['file']}") for row in rows)


def _segment(segmenter: Segmenter, case: Case, folder: Path) -> Outcome:
    """Segments one synthetic image, writes mask and overlay, and compares the mask with the known one."""
    image, truth = case.read()
    result = segmenter.segment(image, case.spacing)
    picture = _stamped(result.overlay(truth))
    mask_name = f"segmented/{case.image.stem}_mask.png"
    overlay_name = f"segmented/{case.image.stem}_overlay.png"
    write_picture(folder / mask_name, result.mask.astype(np.uint8) * 255)
    write_picture(folder / overlay_name, picture)
    counts = count(result.mask, truth)
    entry: dict[str, Any] = {
        "file": f"images/{case.name}",
        "truth": f"masks/{case.name}",
        "mask": mask_name,
        "overlay": overlay_name,
        "result": _verdict(counts, len(result.lesions)),
        "tp": int(counts.tp[0]),
        "fp": int(counts.fp[0]),
        "fn": int(counts.fn[0]),
        "tn": int(counts.tn[0]),
    }
    entry |= _scores(counts)
    entry |= result.to_dict()
    entry["spacing"]["source"] = "synthetic image"
    entry["true_lesions"] = _true_lesions(truth, result.spacing)
    false_parts = find_lesions(result.mask & ~truth, result.probability)
    largest = false_parts[0].pixels / truth.size if false_parts else 0.0
    return Outcome(entry, counts, largest, picture)


def _true_lesions(
    truth: NDArray[np.bool_], spacing: Spacing | None
) -> list[dict[str, Any]]:
    """The measurements of the known lesions in the mask (H, W)."""
    certain = truth.astype(np.float32)  # `find_lesions` wants probabilities
    lesions = [
        lesion.to_dict() for lesion in find_lesions(truth, certain, spacing=spacing)
    ]
    for lesion in lesions:
        del lesion["mean_probability"]  # says nothing about a known mask
    return lesions


def _verdict(counts: Counts, outlined: int) -> str:
    """In words; `outlined`: how many lesions the network outlined."""
    if counts.tp[0]:
        return "lesion outlined"
    if counts.has_lesion[0]:
        return (
            "lesion missed, another place outlined" if counts.fp[0] else "lesion missed"
        )
    if outlined == 0:
        return "no lesion, none outlined"
    return f"no lesion, but {'one' if outlined == 1 else outlined} outlined"


def _scores(counts: Counts) -> dict[str, float | None]:
    """Every metric of one image; None if it has no lesion."""
    scores = image_scores(counts, "lesion")
    return {
        name: float(scores[name][0]) if len(scores[name]) else None for name in METRICS
    }


def _stamped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with "SYNTHETIC" in its corner, so that nobody takes it for the image of a patient."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(canvas.width / 42)
    pad = canvas.width / 100
    corner = (2 * pad, 2 * pad)
    left, top, right, bottom = draw.textbbox(corner, "SYNTHETIC", font=font)
    plate = (left - pad, top - pad, right + pad, bottom + pad)
    draw.rounded_rectangle(plate, pad / 2, fill=(0, 0, 0, 150))
    draw.text(corner, "SYNTHETIC", font=font, fill=(255, 255, 255))
    return np.array(canvas)
