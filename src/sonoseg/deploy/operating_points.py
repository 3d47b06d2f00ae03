"""Operating points: from which probability of the presence head a predicted lesion is kept, chosen on held-out images.

`calibrate` chooses them, `export` writes them on the card, and `--sensitivity` uses one of them. The outlines stay the
same at every point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sonoseg.core.measure import largest_part
from sonoseg.core.metrics import FALSE_LESION_FRACTION
from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.data.scan import read_table
from sonoseg.deploy.run_predictor import BATCH, RunPredictor
from sonoseg.errors import InputError
from sonoseg.files import write_text
from sonoseg.models.network import Output
from sonoseg.progress import track
from sonoseg.report.tables import csv_number, csv_text

CUTS = (
    0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995,
)  # fmt: skip
"""The probabilities that are tried."""
BALANCED = 0.5
"""The cut of the training."""
DROPPED = 0.01
"""At the point `high`, the presence head may drop this share of the lesions that the pixels find."""
FALSE = 0.05
"""At the point `specific`, this share of the lesion-free images may have a false lesion."""
LOST = 0.1
"""But there, too, the head may not drop more than this share of the lesions."""
MISSED = 0.1
"""A lesion is missed if the Dice of its image is below this."""
MARGIN, ROOM = 0.03, 0.3
"""A lesion-free crop stays this share of the image away from the lesion, and has at least this share of both sides."""


@dataclass(frozen=True)
class Point:
    """What was measured on the held-out images of one data set at one cut.

    Attributes:
        source: the data set.
        cut: probability of the presence head from which a predicted lesion is kept.
        lesions, dice, missed: number of images with a lesion, their mean Dice, share with a Dice under `MISSED`.
        normals, false_normals: number of images without a lesion, and share of them that have a false lesion.
        crops, false_crops: the same for crops beside the lesions.
    """

    source: str
    cut: float
    lesions: int
    dice: float | None
    missed: float | None
    normals: int
    false_normals: float | None
    crops: int
    false_crops: float | None


@dataclass(frozen=True)
class Judged:
    """One held-out image at every cut.

    Attributes:
        kind: lesion, normal or crop.
        scores: (CUTS,) the Dice of an image with a lesion; else whether there is a false lesion, 0 or 1.
    """

    kind: str
    scores: NDArray[np.float64]


def measure_points(
    predictor: RunPredictor, temperature: float, held_out: Mapping[str, Sequence[Case]]
) -> list[Point]:
    """Measures every cut on the held-out images of each data set and on crops of them that show no lesion.

    Args:
        predictor: of a network with a presence head.
        temperature: the logits are divided by it.
        held_out: name of a data set → images that were not trained on.

    Raises:
        InputError: an image cannot be read.
    """
    points = []
    for source, cases in held_out.items():
        judged = list(_judge(predictor, temperature, cases, source))
        for column, cut in enumerate(CUTS):
            points.append(_point(source, cut, column, judged))
    return points


def choose(points: Sequence[Point]) -> dict[str, float]:
    """The cuts for `sonoseg.reader.card.SENSITIVITIES`. Every data set counts alike.

    - high: the highest cut at which the head drops at most `DROPPED` of the lesions, and not above `BALANCED`;
    - balanced: `BALANCED`;
    - specific: the lowest cut at which at most `FALSE` of normal images and crops have a false lesion, but the highest
      one that drops at most `LOST` of the lesions if that is lower; and not below `BALANCED`.
    """
    dropped, false = [], []
    for cut in CUTS:
        found = [point for point in points if point.cut == cut]
        dropped.append(_mean([point.missed for point in found]))
        false.append(_mean([_false(point) for point in found]))
    few = [
        cut
        for cut, share in zip(CUTS, dropped, strict=True)
        if share - dropped[0] <= DROPPED
    ]
    most = [
        cut
        for cut, share in zip(CUTS, dropped, strict=True)
        if share - dropped[0] <= LOST
    ]
    strict = [cut for cut, share in zip(CUTS, false, strict=True) if share <= FALSE]
    specific = min(min(strict, default=max(CUTS)), max(most))
    return {
        "high": min(max(few), BALANCED),
        "balanced": BALANCED,
        "specific": max(specific, BALANCED),
    }


def describe_choice(cuts: Mapping[str, float], is_abroad: bool) -> list[str]:
    """What was chosen, at home alone or abroad too, in lines for the user; nothing if there are no points."""
    if not cuts:
        return []
    words = ", ".join(f"{name} {cut:g}" for name, cut in cuts.items())
    lines = [f"lesions are kept from a presence of: {words}"]
    if cuts["high"] == cuts["balanced"]:
        hint = ": to choose it on another hospital, give --abroad or --points"
        lines.append("high is the same as balanced" + ("" if is_abroad else hint))
    return lines


def write_points(file: Path, points: Sequence[Point]) -> None:
    """Writes the points as CSV, one row for each data set and cut."""
    header = [field.name for field in fields(Point)]
    rows = []
    for point in points:
        source, *numbers = astuple(point)
        rows.append([source, *map(csv_number, numbers)])
    write_text(file, csv_text(header, rows))


def read_points(file: Path) -> list[Point]:
    """Reads what `write_points` wrote.

    Raises:
        InputError: the file cannot be read, or is no such table.
    """
    names = [field.name for field in fields(Point)]
    rows = read_table(file, names)
    hint = "give a sensitivity.csv that sonoseg calibrate wrote"
    try:
        points = [Point(row["source"], *_numbers(row)) for row in rows]
    except ValueError as error:
        raise InputError(file, f"not a table of cuts ({error})", hint) from error
    for source, found in itertools.groupby(points, lambda point: point.source):
        if tuple(point.cut for point in found) != CUTS:
            problem = f"the cuts of {source} are not those of this version"
            raise InputError(file, problem, hint)
    if not any(point.missed is not None for point in points):
        raise InputError(file, "it has no images with a lesion", hint)
    return points


def _numbers(row: Mapping[str, str]) -> Iterator[Any]:
    """The fields of a `Point` after its source, in order."""
    counts = ("lesions", "normals", "crops")
    for field in fields(Point)[1:]:
        text = row[field.name]
        number = float(text) if text else None
        if field.name in counts:
            if number is None or not number.is_integer() or number < 0:
                raise ValueError(f"{field.name} is {text!r}")
            number = int(number)
        elif number is not None and not 0 <= number <= 1:
            raise ValueError(f"{field.name} is {text!r}")
        yield number


def _judge(
    predictor: RunPredictor, temperature: float, cases: Sequence[Case], source: str
) -> Iterator[Judged]:
    views: list[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]] = []
    for case in track(cases, source, len(cases), "image"):
        image, mask = case.read()
        views.append(("lesion" if mask.any() else "normal", image, mask))
        beside = beside_lesion(mask)
        if beside is not None:
            views.append(("crop", image[beside], mask[beside]))
        while len(views) >= BATCH:
            yield from _judge_batch(predictor, temperature, views[:BATCH])
            del views[:BATCH]
    if views:
        yield from _judge_batch(predictor, temperature, views)


def _judge_batch(
    predictor: RunPredictor,
    temperature: float,
    views: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]],
) -> Iterator[Judged]:
    with torch.inference_mode():
        image = predictor.tensor([view for _, view, _ in views])
        output = predictor.model.outputs(image).divided_by(temperature)
        masks = np.stack([kept_at(output, cut) for cut in CUTS], 1)
    for (kind, _, mask), found in zip(views, masks, strict=True):
        truth = resize_mask(mask, predictor.size)
        if kind == "lesion":
            both = (found & truth).sum((1, 2))
            scores = 2 * both / (found.sum((1, 2)) + truth.sum()).clip(min=1)
        else:
            least = FALSE_LESION_FRACTION * truth.size
            scores = np.array([float(largest_part(each) >= least) for each in found])
        yield Judged(kind, scores)


def kept_at(output: Output, cut: float) -> NDArray[np.bool_]:
    """The masks (N, H, W) at a cut: pixels of at least 0.5, where the presence head's probability is at least `cut`."""
    assert output.presence is not None
    shifted = output._replace(presence=output.presence - math.log(cut / (1 - cut)))
    masks: NDArray[np.bool_] = (shifted.logits >= 0)[:, 0].cpu().numpy()
    return masks


def beside_lesion(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """The largest strip of the image (H, W) beside, above or below all lesions; None without lesion or room."""
    if not mask.any():
        return None
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom = rows[0] - int(MARGIN * height), rows[-1] + 1 + int(MARGIN * height)
    left, right = (
        columns[0] - int(MARGIN * width),
        columns[-1] + 1 + int(MARGIN * width),
    )
    strips = [
        (slice(0, max(0, top)), slice(0, width)),
        (slice(min(height, bottom), height), slice(0, width)),
        (slice(0, height), slice(0, max(0, left))),
        (slice(0, height), slice(min(width, right), width)),
    ]
    largest = max(strips, key=lambda strip: mask[strip].size)
    sides = mask[largest].shape
    has_room = sides[0] >= ROOM * height and sides[1] >= ROOM * width
    return largest if has_room else None


def _point(source: str, cut: float, column: int, judged: Sequence[Judged]) -> Point:
    def scores(kind: str) -> NDArray[np.float64]:
        return np.array([one.scores[column] for one in judged if one.kind == kind])

    dice, normals, crops = scores("lesion"), scores("normal"), scores("crop")
    return Point(
        source=source,
        cut=cut,
        lesions=len(dice),
        dice=float(dice.mean()) if len(dice) else None,
        missed=float((dice < MISSED).mean()) if len(dice) else None,
        normals=len(normals),
        false_normals=float(normals.mean()) if len(normals) else None,
        crops=len(crops),
        false_crops=float(crops.mean()) if len(crops) else None,
    )


def _false(point: Point) -> float | None:
    """The share of false lesions on normal images and crops together."""
    count = point.normals + point.crops
    if not count:
        return None
    wrong = point.normals * (point.false_normals or 0)
    wrong += point.crops * (point.false_crops or 0)
    return wrong / count


def _mean(values: Sequence[float | None]) -> float:
    """Of the values that are there; 0 if there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0
