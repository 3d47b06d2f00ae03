"""`sonoseg evaluate`: from a predictor and cases to counts, metrics, intervals and the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.measure import largest_part
from sonoseg.core.metrics import CONVENTIONS, GRID, METRICS, image_scores, normals_summary, summary
from sonoseg.core.reliability import reliability
from sonoseg.core.resize import resize_mask, resize_probability
from sonoseg.core.roc import PixelROC
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.splits import leaked, split_cases
from sonoseg.errors import InputError, visible
from sonoseg.evaluate.curves import write_reliability, write_roc, write_trade_off
from sonoseg.evaluate.predictors import Predictor, load_predictor, predicted_mask
from sonoseg.evaluate.surface import (
    DISTANCES,
    Surface,
    describe_surface,
    measure_surface,
    pixel_size,
    surface_summary,
)
from sonoseg.evaluate.tradeoff import TradeOff
from sonoseg.files import atomic_files, output_folder, write_json, write_text
from sonoseg.progress import Bar, track
from sonoseg.report.tables import Cell, csv_number, csv_text, text_table
from sonoseg.train.lock import held
from sonoseg.train.record import TRAIN, VALIDATION, Record

if TYPE_CHECKING:
    from sonoseg.cli import Evaluate

BATCH = 16
SEEN = {"trained": TRAIN, "chosen": VALIDATION}
"""What a run did on images of a subset: it was trained on those of one, and its epoch was chosen on those of the other.
"""


def evaluate_command(options: Evaluate) -> None:
    """`sonoseg evaluate`: checks the input, evaluates, prints the scores and where the files are."""
    predictor = load_predictor(options.model)
    subsets = split_cases(load_cases(options.data), options.split)
    cases, copied = subsets[options.subset], len(leaked(subsets, options.subset))
    about: dict[str, str | int] = {
        "data": data_name(options.data),
        "split": Path(options.split).name,
        "subset": options.subset,
        "leaked": copied,
    }
    require_images(cases, predictor)
    with held(options.out):  # two at once could leave files of both
        metrics = evaluate(predictor, cases, options.out, about=about)
    print(
        f"{visible(predictor.name)} on {options.split}/{options.subset}, {metrics['images']} images\n"
    )
    print(describe(metrics))
    if copied:
        print(
            f"{copied} of these {len(cases)} images have a near-copy, or another image of their patient, elsewhere in "
            f"{options.split}:\nof a network trained on that, part of the score is memory; grouped keeps them apart"
        )
    for line in describe_memory(metrics, getattr(predictor, "record", None)):
        print(line)
    print(
        f"\n{options.out}: metrics.json, cases.csv; the curves roc, reliability and tradeoff as .csv and .png"
    )


def require_images(
    cases: Sequence[Case], predictor: Predictor, size: tuple[int, int] = GRID
) -> None:
    """Refuses an empty subset, and images of a pack that has another size than the grid's or the predictor's.

    Raises:
        InputError: it is one of these.
    """
    if not cases:
        raise InputError(
            "evaluation", "there are no images in this subset", "choose another --split or --subset"
        )
    own_size = getattr(predictor, "size", size)
    for case in cases:
        case.check_size(size[0], "evaluation")
        case.check_size(own_size[0], predictor.name)


def describe(metrics: dict[str, Any]) -> str:
    """The metrics of `evaluate` as text for the terminal: a table of the conventions, normals and AUC below."""
    rows: list[list[Cell]] = []
    for convention in CONVENTIONS:
        scores = metrics["conventions"][convention]
        interval = scores["dice_interval"]
        within = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else None
        rows.append([convention, *(scores[metric] for metric in METRICS), within])
    normals = metrics["normals"]
    below = [
        f"{normals['images']} images without lesion: {share:.1%} {words}"
        for share, words in (
            (normals["any_false_positive"], "with a false-positive pixel"),
            (normals["false_lesion"], "with a false lesion"),
        )
        if share is not None
    ]
    if metrics["auc"] is not None:
        below.append(f"AUC over pixels: {metrics['auc']:.4f}")
    below.append(f"expected calibration error over pixels: {metrics['calibration_error']:.4f}")
    below.append(describe_surface(metrics["surface"]))
    table = text_table(["convention", *METRICS, "Dice, 95 % interval"], rows)
    return "\n".join([table, "", *below])


def describe_memory(metrics: dict[str, Any], record: Record | None) -> list[str]:
    """What the scores owe to images that the network has seen before, a line each; nothing for what is no run."""
    about, images = metrics["about"], metrics["images"]
    lines: list[str] = []
    if trained := about["trained_on"]:
        lines.append(
            f"{trained} of these {images} images were used to train this network: their scores are memory"
        )
    if chosen := about["chosen_on"]:
        lines.append(
            f"{chosen} of these {images} images were used to choose the epoch of this network"
        )
    if record is not None and not record.complete:
        lines.append("on which images the runs that it began from were trained is not recorded")
    return lines


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    out: Path | str,
    size: tuple[int, int] = GRID,
    progress: bool = True,
    about: Mapping[str, str | int] | None = None,
    pictures: bool = True,
) -> dict[str, Any]:
    """Compares predictions with the truth on a grid of `size`, as the paper did, and writes what comes of it.

    The predictor gets every image at its own size; its probability map and the true mask are scaled to the grid,
    the mask by nearest neighbour. All files are written at the end, all of them or none:

    - `cases.csv`, an image a row: file, label, group, tp, fp, fn, tn, the metrics under the convention `paper`
      (0/0 = 0), largest_false_part (pixels of the largest connected false-positive part), and the distances of the
      borders (see `surface.Surface`), empty where undefined;
    - `roc.csv` and `roc.png`, the pixel-wise ROC curve;
    - `reliability.csv` and `.png`, how often the lesion's probability is right (see `calibration.Reliability`);
    - `tradeoff.csv` and `.png`, what other thresholds would find and miss (see `tradeoff.Point`);
    - `metrics.json`, which is also returned: `about`, with how many of the images the network was `trained_on`, and
      how many its epoch was `chosen_on`, by their pixels (None where that is not recorded);
      `model` (its name and rule); `images`; `conventions` (see
      `metrics.summary`); `normals` (see `metrics.normals_summary`); `auc` (None unless there are both lesion and
      background pixels); `calibration_error` (0..1, over pixels); `surface` (see `surface.surface_summary`).

    Args:
        predictor: see `load_predictor`.
        cases: at least one; images of a group are resampled together for the intervals.
        out: the folder to write to.
        size: (h, w) of the grid.
        progress: show progress bars on stderr.
        about: what was evaluated, for metrics.json, such as the names of data and split.
        pictures: draw the curves too.

    Raises:
        InputError: no cases, an image or mask that cannot be read (both before the first prediction), no place to
            write to, a pack of another size than the grid's and the predictor's, or a predictor that does not give
            probabilities.
    """
    require_images(cases, predictor, size)
    folder = output_folder(out)
    truths = _read_truths(cases, size, progress)
    counts, largest_false_part, surfaces, roc, trade_off, seen = _compare(
        predictor, cases, truths, progress
    )
    groups = [case.group for case in cases]
    reliable = reliability(roc)
    metrics = {
        "about": {**(about or {}), **seen},
        "model": {
            key: getattr(predictor, key) for key in ("name", "threshold", "min_lesion_fraction")
        },
        "images": len(cases),
        "conventions": summary(counts, groups),
        "normals": normals_summary(counts, largest_false_part / truths[0].size, groups),
        "auc": roc.auc(),
        "calibration_error": reliable.error,
        "surface": surface_summary(surfaces, groups, size),
    }
    with atomic_files():
        write_text(folder / "cases.csv", _cases_csv(cases, counts, largest_false_part, surfaces))
        write_roc(folder, predictor.name, roc, pictures)
        write_reliability(folder, reliable, pictures)
        write_trade_off(folder, predictor.name, trade_off.points(), pictures)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _read_truths(
    cases: Sequence[Case], size: tuple[int, int], progress: bool
) -> list[NDArray[np.bool_]]:
    """Every true mask on the grid; reading it also checks that its image can be read and is of its size."""
    bar = track(cases, "reading masks", len(cases), "image", progress)
    return [resize_mask(case.read_mask(), size) for case in bar]


def _compare(
    predictor: Predictor, cases: Sequence[Case], truths: Sequence[NDArray[np.bool_]], progress: bool
) -> tuple[Counts, NDArray[np.int64], list[Surface], PixelROC, TradeOff, dict[str, int | None]]:
    """Counts, largest false-positive parts (N,) in pixels, borders, histograms of the ROC, trade-off, and `SEEN`."""
    rows: list[Counts] = []
    largest_false_part: list[int] = []
    surfaces: list[Surface] = []
    roc, trade_off = PixelROC(), TradeOff(predictor.min_lesion_fraction)
    record = getattr(predictor, "record", None)
    seen: list[str | None] = []
    with Bar(visible(predictor.name), len(cases), "image", progress, leave=True) as bar:
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            images = [case.read_image() for case in batch]
            maps = predictor.probability(images)
            seen += [record.subset_of(image) for image in images] if record else []
            for case, image, truth, own in zip(
                batch, images, truths[start : start + BATCH], maps, strict=True
            ):
                probability = _on_grid(predictor.name, case.name, own, truth.shape)
                prediction = predicted_mask(predictor, probability)
                roc.add(probability, truth)
                trade_off.add(probability, truth)
                rows.append(count(prediction, truth))
                largest_false_part.append(largest_part(prediction & ~truth))
                pixel = pixel_size(case, case.full_shape(image.shape), truth.shape)
                surfaces.append(measure_surface(prediction, truth, pixel))
            bar.update(len(batch))
    memory = {f"{subset}_on": seen.count(name) if record else None for subset, name in SEEN.items()}
    return (
        stack(rows),
        np.array(largest_false_part, dtype=np.int64),
        surfaces,
        roc,
        trade_off,
        memory,
    )


def _on_grid(
    model: str, case: str, probability: NDArray[np.float32], size: tuple[int, ...]
) -> NDArray[np.float32]:
    is_map = probability.ndim == 2 and probability.size > 0
    if not (is_map and probability.min() >= 0 and probability.max() <= 1):  # false for NaN too
        fault = f"does not give one probability a pixel (NaN, outside 0..1, or of shape {probability.shape})"
        raise InputError(model, f"{fault} for {case}", "train it again or use another model")
    return resize_probability(probability, (size[0], size[1]))


def _cases_csv(
    cases: Sequence[Case],
    counts: Counts,
    largest_false_part: NDArray[np.int64],
    surfaces: Sequence[Surface],
) -> str:
    scores = image_scores(counts, "paper")
    header = [
        "file",
        "label",
        "group",
        "tp",
        "fp",
        "fn",
        "tn",
        *METRICS,
        "largest_false_part",
        *DISTANCES,
    ]
    rows = [
        [case.name, case.label, case.group, counts.tp[n], counts.fp[n], counts.fn[n], counts.tn[n]]
        + [f"{scores[metric][n]:.6f}" for metric in METRICS]
        + [largest_false_part[n]]
        + [csv_number(getattr(surfaces[n], name)) for name in DISTANCES]
        for n, case in enumerate(cases)
    ]
    return csv_text(header, rows)
