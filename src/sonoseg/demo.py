"""`sonoseg demo`: makes synthetic ultrasound, segments it, scores it against the known masks, and writes a report."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import sonoseg
from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.measure import find_lesions
from sonoseg.core.metrics import METRICS, image_scores, normals_summary, summary
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.files import is_folder, output_folder, write_error, write_json, write_text
from sonoseg.inputs import read_json
from sonoseg.reader.overlay import NOTICE, write_picture
from sonoseg.reader.segmenter import Segmenter
from sonoseg.report.demo_page import HEADER, SYNTHETIC, demo_page, image_row
from sonoseg.report.tables import text_table

if TYPE_CHECKING:
    from sonoseg.cli import Demo

MOST = 1000
"""Images of a demo: the report holds all their pictures."""
_OWN = re.compile(
    r"images|masks|segmented|labels\.csv|results\.json|report\.html"
    r"|(images|masks)/synthetic_\d+\.png|segmented/synthetic_\d+_(mask|overlay)\.png"
)


class Outcome(NamedTuple):
    """One phantom, segmented and compared with its true mask.

    Attributes:
        entry: what results.json says of it.
        counts: of one image, on its own pixels.
        largest_false_part: of the prediction, as a share of the image.
        picture: the overlay, (H, W, 3) uint8.
    """

    entry: dict[str, Any]
    counts: Counts
    largest_false_part: float
    picture: NDArray[np.uint8]


def demo_command(options: Demo) -> int:
    """`sonoseg demo`: `run_demo`, a table of the images and where to look printed; gives the exit code, 0."""
    results = run_demo(options.out, options.count, options.model)
    dice, normals = results["conventions"]["lesion"]["dice"], results["normals"]["images"]
    print(text_table(HEADER, [image_row(entry) for entry in results["images"]]))
    print(
        f"\nMean Dice {dice:.3f} on the {len(results['images']) - normals} synthetic images with a lesion."
    )
    if normals:
        print(
            f"A false lesion on {round(results['normals']['false_lesion'] * normals)} of the {normals} without one."
        )
    print(
        f"{NOTICE}.\n\nLook at {options.out / 'report.html'}; masks and overlays are in {options.out / 'segmented'}"
    )
    return 0


def run_demo(out: Path | str, count: int, model: Path | str) -> dict[str, Any]:
    """Makes phantoms, segments and scores them, and writes all of it.

    Writes into `out`: images/, masks/ and labels.csv (a data set, as `write_phantoms` makes it), segmented/ with
    STEM_mask.png and STEM_overlay.png, results.json, and report.html, which holds its pictures in itself. An
    earlier demo there is replaced.

    Args:
        out: a new or empty folder, or one with an earlier demo.
        count: how many images, 1 to `MOST`; every fourth has no lesion.
        model: a shipped name or a bundle file.

    Returns:
        what results.json holds.

    Raises:
        InputError: before anything is written: no such model or one that cannot be run, a count out of its range, or a
            folder that cannot be written to or holds other files.
    """
    if not 1 <= count <= MOST:
        raise InputError(
            f"--count {count}", "is not a number of images for a demo", f"ask for 1 to {MOST}"
        )
    segmenter = sonoseg.load(model)
    segmenter.probability(
        [np.zeros(segmenter.card.size, np.uint8)]
    )  # if it fails, an earlier demo is kept
    folder = output_folder(out)
    _clear(folder)
    output_folder(folder / "segmented")  # first: by it `_clear` knows a demo that was stopped
    write_phantoms(folder, count)
    began = perf_counter()
    outcomes = [_segment(segmenter, case, folder) for case in load_cases(folder)]
    seconds = (perf_counter() - began) / count
    counts = stack(outcome.counts for outcome in outcomes)
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
        "normals": normals_summary(
            counts, np.array([outcome.largest_false_part for outcome in outcomes])
        ),
        "images": [outcome.entry for outcome in outcomes],
    }
    page = demo_page(results, [outcome.picture for outcome in outcomes], segmenter.card, seconds)
    write_json(folder / "results.json", results)
    write_text(folder / "report.html", page)
    return results


def _clear(folder: Path) -> None:
    """Removes an earlier demo's files from `folder`, and none if there is anything else in it that is not hidden.

    A data set of `write_phantoms` has the same names, but no folder segmented/.
    """
    found = []
    results = _results_of_demo(folder)
    for path in sorted(
        folder.rglob("*"), reverse=True
    ):  # the report before the results that make it known
        name = path.relative_to(folder).as_posix()
        if path.name.startswith("."):  # such as a file manager leaves behind
            continue
        other = name in ("results.json", "report.html") and not results
        if (
            path.is_symlink()
            or other
            or not _OWN.fullmatch(name)
            or (name == "labels.csv" and not _is_own_table(path))
        ):
            raise InputError(
                folder, f"has other files in it, such as {name}", "choose a new or an empty folder"
            )
        if not is_folder(path):
            found.append(path)
    if found and not is_folder(folder / "segmented"):
        raise InputError(
            folder, "holds a data set that no demo made", "choose a new or an empty folder"
        )
    for path in found:
        try:
            path.unlink()
        except OSError as error:
            raise write_error(path, error) from error


def _results_of_demo(folder: Path) -> bool:
    """Whether `folder` has the results.json of an earlier demo."""
    try:
        results = read_json(folder / "results.json")
    except InputError:
        return False
    return isinstance(results, dict) and results.get("synthetic") is True and "sonoseg" in results


def _is_own_table(path: Path) -> bool:
    """Whether a labels.csv is of phantoms alone."""
    try:
        rows = read_table(path, ("file",))
    except InputError:
        return False
    return all(_OWN.fullmatch(f"images/{row['file']}") for row in rows)


def _segment(segmenter: Segmenter, case: Case, folder: Path) -> Outcome:
    """Segments one phantom, writes mask and overlay, and compares."""
    image, truth = case.read()
    result = segmenter.segment(image, case.spacing)
    picture = _stamped(result.overlay(truth))
    mask, overlay = (f"segmented/{case.image.stem}_{kind}.png" for kind in ("mask", "overlay"))
    write_picture(folder / mask, result.mask.astype(np.uint8) * 255)
    write_picture(folder / overlay, picture)
    counts = count(result.mask, truth)
    files = {
        "file": f"images/{case.name}",
        "truth": f"masks/{case.name}",
        "mask": mask,
        "overlay": overlay,
    }
    pixels = {name: int(getattr(counts, name)[0]) for name in ("tp", "fp", "fn", "tn")}
    true_lesions = [
        lesion.to_dict()
        for lesion in find_lesions(truth, result.probability, spacing=result.spacing)
    ]
    for lesion in true_lesions:
        del lesion["mean_probability"]  # the network's, which knows nothing of the truth
    measured = result.to_dict() | {"true_lesions": true_lesions}
    measured["spacing"]["source"] = "synthetic image"
    false_parts = find_lesions(result.mask & ~truth, result.probability)
    largest = false_parts[0].pixels / truth.size if false_parts else 0.0
    return Outcome(
        files | {"result": _verdict(counts)} | pixels | _scores(counts) | measured,
        counts,
        largest,
        picture,
    )


def _verdict(counts: Counts) -> str:
    if counts.tp[0]:
        return "lesion outlined"
    if counts.has_lesion[0]:
        return "lesion missed, another place outlined" if counts.fp[0] else "lesion missed"
    return "no lesion, but one outlined" if counts.fp[0] else "no lesion, none outlined"


def _scores(counts: Counts) -> dict[str, float | None]:
    """Every metric of one image; None without a lesion, where there is nothing to agree with."""
    scores = image_scores(counts, "lesion")
    return {name: float(scores[name][0]) if len(scores[name]) else None for name in METRICS}


def _stamped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with "SYNTHETIC" in its corner, so that it is never taken for a patient's."""
    canvas = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(canvas, "RGBA"), ImageFont.load_default(canvas.width / 42)
    pad = canvas.width / 100
    box = draw.textbbox((2 * pad, 2 * pad), "SYNTHETIC", font=font)
    draw.rounded_rectangle(
        (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), pad / 2, fill=(0, 0, 0, 150)
    )
    draw.text((2 * pad, 2 * pad), "SYNTHETIC", font=font, fill=(255, 255, 255))
    return np.array(canvas)
