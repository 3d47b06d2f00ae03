"""`sonoseg evaluate`: compares predictions with reference masks and writes metrics, intervals and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.measure import largest_part
from sonoseg.core.metrics import GRID, normals_summary, summary
from sonoseg.core.reliability import reliability
from sonoseg.core.roc import PixelROC
from sonoseg.core.sizes import Sizes, sizes_summary
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.splits import count_leaked, split_cases, unnamed
from sonoseg.errors import InputError, visible
from sonoseg.evaluate.curves import (
    write_reliability,
    write_roc,
    write_sizes,
    write_trade_off,
)
from sonoseg.evaluate.describe import describe, describe_memory, describe_split
from sonoseg.evaluate.evaluated import cases_csv
from sonoseg.evaluate.judge import judge_cases
from sonoseg.evaluate.predicted_masks import PredictedMasks
from sonoseg.evaluate.predictors import (
    Predictor,
    load_predictor,
    on_grid,
    predict,
    predicted_mask,
)
from sonoseg.evaluate.sizes import case_sizes
from sonoseg.evaluate.subgroups import subgroups
from sonoseg.evaluate.surface import (
    Surface,
    measure_surface,
    pixel_size,
    surface_summary,
)
from sonoseg.evaluate.tradeoff import TradeOff
from sonoseg.evaluate.truths import read_truths
from sonoseg.files import atomic_files, output_folder, write_json, write_text
from sonoseg.lock import held
from sonoseg.progress import Bar
from sonoseg.train.record import TRAIN, VALIDATION, Record

IMAGES_AT_ONCE = 16
SEEN = {"trained_on": TRAIN, "chosen_on": VALIDATION}
"""Entry of metrics.json → the subset of the run's own training that it counts."""


def evaluate_command(
    model: str,
    data: Path,
    split: str = "all",
    subset: str = "test",
    out: Path = Path("evaluation"),
) -> str:
    """Evaluates a model on one subset and returns the scores as text for the terminal.

    Args:
        model: see `load_predictor`.
        data: folder of a data set, or a pack.
        split: name of a split, or a CSV file.
        subset: train, validation or test.
        out: the folder to write to.

    Raises:
        InputError: as `load_predictor`, `load_cases`, `split_cases` and `evaluate`, or another command is writing
            into `out`.
    """
    predictor = load_predictor(model)
    every = load_cases(data)
    if isinstance(predictor, PredictedMasks):
        predictor.check_names(every)
    subsets = split_cases(every, split)
    cases = subsets[subset]
    copied = count_leaked(every, subsets, subset, split)
    about: dict[str, str | int | None] = {
        "data": data_name(data),
        "split": Path(split).name,
        "subset": subset,
        "leaked": copied,
    }
    require_images(cases, predictor)
    with held(out):  # two evaluations at once could mix their files
        metrics = evaluate(predictor, cases, out, about=about)
        metrics = judge_cases(predictor, cases, out, metrics)
    lines = [
        f"{visible(predictor.name)} on {split}/{subset}, {metrics['images']} images",
        "",
        describe(metrics),
    ]
    left_out = unnamed(every, subsets, split)
    lines += describe_split(left_out, data, split, copied, len(cases))
    lines += describe_memory(metrics, getattr(predictor, "record", None))
    if isinstance(predictor, PredictedMasks):
        lines += predictor.describe()
    curves = "the curves roc, reliability and tradeoff as .csv and .png; sizes.png"
    return "\n".join([*lines, "", f"{out}: metrics.json, cases.csv; {curves}"])


def require_images(
    cases: Sequence[Case], predictor: Predictor, size: tuple[int, int] = GRID
) -> None:
    """Refuses an empty subset, images without a prediction, and a pack whose size is not the grid's or predictor's.

    Raises:
        InputError: there are no images, a prediction is missing, or a size differs.
    """
    if not cases:
        hint = "choose another --split or --subset"
        raise InputError("evaluation", "there are no images in this subset", hint)
    if isinstance(predictor, PredictedMasks):
        predictor.check(cases)
    own_size = getattr(predictor, "size", size)
    is_one = own_size[0] == size[0]  # no pack has two sizes
    for case in cases:
        case.check_resizable(size[0], "evaluation", is_one)
        case.check_resizable(own_size[0], predictor.name, is_one)


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    out: Path | str,
    size: tuple[int, int] = GRID,
    progress: bool = True,
    about: Mapping[str, str | int | None] | None = None,
    pictures: bool = True,
) -> dict[str, Any]:
    """Compares predictions with the reference masks on a grid of `size`, as the paper did, and writes the scores.

    The predictor gets every image at its own size. Its probability map and the reference mask are scaled to the grid,
    the mask by nearest neighbour. All files are written at the end, all of them or none:

    - `cases.csv`, one row per image: file, label, group, tp, fp, fn, tn, the metrics under the convention `paper`,
      largest_false_part (pixels of the largest connected false-positive part), the distances between the borders
      (see `surface.Surface`), and the sizes of the largest lesion (see `sizes.Sizes`), empty where undefined;
    - `roc.csv` and `roc.png`, the ROC curve over pixels;
    - `reliability.csv` and `.png`, the calibration (see `sonoseg.core.reliability.Reliability`);
    - `tradeoff.csv` and `.png`, the scores at other thresholds (see `tradeoff.Point`);
    - `sizes.png`, the diameters as outlined against those of the reference masks;
    - `metrics.json`, which is also returned: `about`, with the number of images that the network was `trained_on`, and
      the number that its epoch was `chosen_on`, found by their pixels (None if that is not recorded); `model`: its
      name and rule, and the sha256 of its weights and its temperature (None if they are not recorded); `images`;
      `conventions` (see `metrics.summary`); `lesions` (see `subgroups.subgroups`); `normals` (see
      `metrics.normals_summary`); `auc` (None unless there are both lesion and background pixels);
      `calibration_error` (0..1, over pixels); `surface` (see `surface.surface_summary`); `sizes` (see
      `sizes.sizes_summary`).

    Args:
        predictor: see `load_predictor`.
        cases: at least one; images of a group are resampled together for the intervals.
        out: the folder to write to.
        size: (h, w) of the grid in pixels.
        progress: show progress bars on stderr.
        about: what was evaluated, for metrics.json, such as the names of data and split.
        pictures: draw the curves too.

    Raises:
        InputError: there are no cases, an image or mask cannot be read (both are found before the first prediction),
            `out` cannot be written to, a pack has another size than the grid and the predictor, or the predictor does
            not return probabilities.
    """
    require_images(cases, predictor, size)
    folder = output_folder(out)
    truths = read_truths(cases, size, progress)
    found = _predict_and_compare(predictor, cases, truths, progress)
    counts = stack(found.counts)
    largest_false_parts = np.array(found.largest_false_parts, dtype=np.int64)
    false_shares = largest_false_parts / truths[0].size
    groups = [case.group for case in cases]
    reliable = reliability(found.roc)
    metrics: dict[str, Any] = {
        "about": _about(about, found),
        "model": {
            "name": predictor.name,
            "threshold": predictor.threshold,
            "min_lesion_fraction": predictor.min_lesion_fraction,
            "weights": getattr(predictor, "weights", None),
            "temperature": getattr(predictor, "temperature", None),
        },
        "images": len(cases),
        "conventions": summary(counts, groups),
        "lesions": subgroups(counts, [case.label for case in cases], groups),
        "normals": normals_summary(counts, false_shares, groups),
        "auc": found.roc.auc(),
        "calibration_error": reliable.error,
        "surface": surface_summary(found.surfaces, groups, size),
        "sizes": sizes_summary(found.sizes, groups),
    }
    table = cases_csv(cases, counts, largest_false_parts, found.surfaces, found.sizes)
    with atomic_files():
        write_text(folder / "cases.csv", table)
        write_roc(folder, predictor.name, found.roc, pictures)
        write_reliability(folder, reliable, pictures)
        write_trade_off(folder, predictor.name, found.trade_off.points(), pictures)
        write_sizes(folder, found.sizes, metrics["sizes"], pictures)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _about(
    about: Mapping[str, str | int | None] | None, found: _Found
) -> dict[str, str | int | None]:
    """`about` with the number of images that the network has seen in training or validation."""
    words: dict[str, str | int | None] = dict(about or {})
    for entry, subset in SEEN.items():
        words[entry] = None if found.seen_in is None else found.seen_in.count(subset)
    return words


@dataclass
class _Found:
    """What was found on the images so far.

    Attributes:
        roc: histograms of the ROC curve.
        trade_off: the scores at other thresholds.
        counts, largest_false_parts (in pixels), surfaces, sizes: one entry per image.
        seen_in: one entry per image: the subset of the network's own training that has it, None if no subset has it;
            None for a predictor without a record of its training.
    """

    roc: PixelROC
    trade_off: TradeOff
    seen_in: list[str | None] | None
    counts: list[Counts] = field(default_factory=list)
    largest_false_parts: list[int] = field(default_factory=list)
    surfaces: list[Surface] = field(default_factory=list)
    sizes: list[Sizes] = field(default_factory=list)


def _predict_and_compare(
    predictor: Predictor,
    cases: Sequence[Case],
    truths: Sequence[NDArray[np.bool_]],
    progress: bool,
) -> _Found:
    """Predicts all images, some at once, and compares each prediction with its reference mask."""
    record: Record | None = getattr(predictor, "record", None)
    if record is not None:
        record.warn_of_pack(cases)
    found = _Found(
        PixelROC(), TradeOff(predictor.min_lesion_fraction), [] if record else None
    )
    with Bar(visible(predictor.name), len(cases), "image", progress, leave=True) as bar:
        for start in range(0, len(cases), IMAGES_AT_ONCE):
            batch = cases[start : start + IMAGES_AT_ONCE]
            batch_truths = truths[start : start + IMAGES_AT_ONCE]
            read = [case.read() for case in batch]
            images = [image for image, _ in read]
            maps = predict(predictor, batch, images)
            if record is not None and found.seen_in is not None:
                found.seen_in += [record.subset_of(image) for image in images]
            for case, (image, own_truth), truth, own_map in zip(
                batch, read, batch_truths, maps, strict=True
            ):
                probability = on_grid(predictor.name, case.name, own_map, truth.shape)
                pixel = pixel_size(case, case.full_shape(image.shape), truth.shape)
                _compare(found, predictor, probability, truth, pixel)
                found.sizes.append(case_sizes(predictor, case, own_truth, own_map))
            bar.update(len(batch))
    return found


def _compare(
    found: _Found,
    predictor: Predictor,
    probability: NDArray[np.float32],
    truth: NDArray[np.bool_],
    pixel: tuple[float, float] | None,
) -> None:
    """Adds one image to `found`: its probabilities and reference mask (H, W), and the size of a pixel in mm."""
    prediction = predicted_mask(predictor, probability)
    found.roc.add(probability, truth)
    found.trade_off.add(probability, truth)
    found.counts.append(count(prediction, truth))
    found.largest_false_parts.append(largest_part(prediction & ~truth))
    found.surfaces.append(measure_surface(prediction, truth, pixel))
