"""`sonoseg calibrate`: fits a run's temperature, its limit for unfamiliar images and its operating points.

Fitting needs the network's predictions, and the predictor needs what was fitted before. So this module, which fits, is
apart from `calibration`, which stores and loads.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonoseg.core.metrics import GRID
from sonoseg.core.reliability import negative_log_likelihood, reliability
from sonoseg.core.resize import resize_mask, resize_probability
from sonoseg.core.roc import PixelROC
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.splits import parse_source, split_cases
from sonoseg.deploy.calibration import Calibration, save_calibration
from sonoseg.deploy.familiarity import Familiarity
from sonoseg.deploy.operating_points import (
    Point,
    choose,
    describe_choice,
    measure_points,
    read_points,
    write_points,
)
from sonoseg.deploy.run_predictor import BATCH, RunPredictor
from sonoseg.errors import InputError
from sonoseg.files import atomic_files
from sonoseg.lock import held
from sonoseg.progress import track
from sonoseg.train.gather import check_apart, gather
from sonoseg.train.run_folder import SENSITIVITY, SHIPPED, file_hash, weights_hash

COLDEST, HOTTEST = 0.05, 20.0
"""The range of temperatures that are tried."""


def calibrate_command(
    folder: Path,
    data: Path,
    split: str,
    also: Sequence[str] = (),
    abroad: Sequence[Path] = (),
    points: Path | None = None,
) -> str:
    """`sonoseg calibrate`: checks the input, writes the files and reports what they change.

    Args:
        folder: a run folder.
        data: the data set that the run was trained on.
        split: the split that it was trained on.
        also: more data sets that it was trained on, FOLDER or FOLDER@SPLIT.
        abroad: data sets of other hospitals, which it was not trained on. They only help to choose operating points.
        points: sensitivity.csv of another run. The operating points are then chosen there.

    Returns:
        The text to print.

    Raises:
        InputError: `folder` is the bundled model or no run, the data cannot be read, the network has no presence head
            for `abroad` or `points`, or see `calibrate`, `check_names`, `check_held_out` and
            `operating_points.read_points`.
    """
    if str(folder) in SHIPPED:
        problem = "the bundled model cannot be calibrated again"
        raise InputError(folder, problem, "give a folder that sonoseg train made")
    predictor = RunPredictor(folder, calibrated=False)
    if (abroad or points is not None) and not has_points(predictor):
        problem = "has no presence head, so there are no operating points to choose"
        raise InputError(folder, problem, "leave out --abroad and --points")
    chosen_by = None
    if points is not None:
        table = read_points(points)
        chosen_by = f"{points.name} {file_hash(points)}", table
    held_out = _held_out_of(also)
    check_names([data, *(source for source, _ in held_out), *abroad])
    known, validation = gather(data, split, tuple(also))
    own = [(data, validation), *held_out]
    others = [(other, load_cases(other)) for other in abroad]
    check_apart(data, split, known, predictor.size[0])
    checked = [cases for _, cases in own + others]
    check_held_out(predictor, folder, list(itertools.chain(*checked)))
    with held(folder):
        report = calibrate(
            predictor,
            folder,
            known,
            validation,
            _by_name(own),
            _by_name(others),
            chosen_by,
        )
    ece = report["ece"]
    lines = [
        f"{folder}: temperature {report['temperature']:.3f} from {report['images']} validation images;",
        f"calibration error {ece['before']:.4f} before and {ece['after']:.4f} after, over their pixels",
        f"{report['unfamiliar']:.1%} of {report['held_out']} held-out images would be called unfamiliar",
    ]
    is_abroad = bool(abroad) or points is not None
    return "\n".join(lines + describe_choice(report["sensitivity"], is_abroad))


def has_points(predictor: RunPredictor) -> bool:
    """Whether the network has a presence head, whose limit the operating points are."""
    return getattr(predictor.model, "presence", None) is not None


def _held_out_of(sources: Sequence[str]) -> list[tuple[Path, list[Case]]]:
    """Each further data set that has a split, and its validation images.

    A data set without a split has none: all its images were trained on.
    """
    found = []
    for folder, split in map(parse_source, sources):
        if split:
            subsets = split_cases(load_cases(folder), split)
            found.append((folder, subsets["validation"]))
    return found


def check_names(folders: Sequence[Path]) -> None:
    """Refuses different data sets of one name: their measurements could not be told apart.

    Raises:
        InputError: two of them have one name.
    """
    hint = "rename the folder of one of them (a pack keeps the name of its folder)"
    known: dict[str, Path] = {}
    for folder in folders:
        name = data_name(folder)
        first = known.setdefault(name, folder)
        if os.path.realpath(first) != os.path.realpath(folder):
            raise InputError(folder, f"is named {name}, as {first} is", hint)


def _by_name(sources: Sequence[tuple[Path, Sequence[Case]]]) -> dict[str, list[Case]]:
    """Name of a data set → its images, frames of a loop too, each once even if the data set was given twice."""
    images: dict[str, dict[tuple[Path, str], Case]] = {}
    for folder, cases in sources:
        own = images.setdefault(data_name(folder), {})
        own |= {(case.image, case.name): case for case in cases}
    return {name: list(own.values()) for name, own in images.items()}


def check_held_out(
    predictor: RunPredictor, folder: Path, cases: Sequence[Case]
) -> None:
    """Refuses images that the run was trained on: a network is more certain on those than on others.

    Raises:
        InputError: there are such images, or one cannot be read.
    """
    record = predictor.record
    if record is None:
        return
    record.warn_of_pack(cases)
    trained = [case.name for case in cases if not record.is_held_out(case.read_image())]
    if trained:
        problem = f"was trained on {len(trained)} of these {len(cases)} held-out images, first {trained[0]}"
        hint = "give --data, --split and --also as they were in its training"
        raise InputError(folder, problem, hint)


def calibrate(
    predictor: RunPredictor,
    folder: Path,
    known: Sequence[Case],
    validation: Sequence[Case],
    held_out: Mapping[str, Sequence[Case]],
    abroad: Mapping[str, Sequence[Case]],
    chosen_by: tuple[str, Sequence[Point]] | None = None,
) -> dict[str, Any]:
    """Writes calibration.json and familiarity.safetensors into a run folder; `sonoseg export` uses them.

    If the network has a presence head, it also writes sensitivity.csv (see `operating_points.write_points`).

    Args:
        predictor: of the run in `folder`, not calibrated.
        folder: the run.
        known: at least two training images, for `Familiarity`.
        validation: images whose pixels the temperature is fitted to.
        held_out: name of a data set → images of it that were not trained on, for the limit of `Familiarity` and for
            the operating points.
        abroad: name of a data set of which nothing was trained on → its images, for the operating points alone.
        chosen_by: name of another run's table, and its points: the operating points are chosen there instead.

    Returns:
        The content of calibration.json: `temperature`; `ece` and `nll`, each `before` and `after`; numbers of `images`,
        `known` and `held_out`; `unfamiliar`, the share of held_out over the limit; `sensitivity`, the operating points
        (see `operating_points.choose`), and `points`, the name of the table if they were chosen in that of another run;
        `weights`, their sha256; and that of familiarity.safetensors.

    Raises:
        InputError: too few images, one that cannot be read, or no lesion in `validation`.
    """
    if len(known) < 2 or not validation:
        problem = "the split leaves no training or no validation images"
        raise InputError(folder, problem, "choose another --split")
    others = list(itertools.chain(*held_out.values()))
    for case in itertools.chain(known, validation, others, *abroad.values()):
        case.check_resizable(predictor.size[0], predictor.name)
    pixels = count_pixels(predictor, validation)
    if pixels.auc() is None:
        problem = "the validation images have no lesion, or only lesion, so no temperature can be fitted"
        raise InputError(folder, problem, "choose another --split")
    temperature = fit_temperature(pixels)
    held_out_summaries = summarise(predictor, others)
    familiarity = Familiarity.fit(summarise(predictor, known), held_out_summaries)
    over_limit = familiarity.distance(held_out_summaries) > familiarity.limit
    points: list[Point] = []
    if has_points(predictor):
        points = measure_points(predictor, temperature, {**held_out, **abroad})

    def error(temperature: float) -> float:
        return reliability(pixels, temperature).error

    def likelihood(temperature: float) -> float:
        return negative_log_likelihood(pixels, temperature)

    report: dict[str, Any] = {
        "temperature": temperature,
        "ece": _before_and_after(error, temperature),
        "nll": _before_and_after(likelihood, temperature),
        "images": len(validation),
        "known": len(known),
        "held_out": len(others),
        "unfamiliar": float(over_limit.float().mean()),
        "sensitivity": choose(chosen_by[1] if chosen_by else points) if points else {},
        **({"points": chosen_by[0]} if chosen_by else {}),
        "weights": weights_hash(folder),
    }
    with atomic_files():
        if points:
            write_points(folder / SENSITIVITY, points)
        return save_calibration(folder, Calibration(temperature, familiarity, report))


def fit_temperature(pixels: PixelROC) -> float:
    """The temperature with the lowest negative log-likelihood (Guo et al. 2017, section 4.2).

    Args:
        pixels: how many pixels of lesion and background there are at each probability.

    Returns:
        A number from `COLDEST` to `HOTTEST`.
    """
    from scipy.optimize import minimize_scalar

    # On a logarithmic scale, since halving and doubling a temperature change the probabilities alike.
    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(pixels, float(np.exp(log_temperature)))

    bounds = np.log(COLDEST), np.log(HOTTEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _before_and_after(
    measure: Callable[[float], float], temperature: float
) -> dict[str, float]:
    return {"before": measure(1.0), "after": measure(temperature)}


def count_pixels(predictor: RunPredictor, cases: Sequence[Case]) -> PixelROC:
    """The predicted probability and the truth of every pixel, at the size that metrics are computed at."""
    pixels = PixelROC()
    for batch in _batches(cases, "validation images"):
        images = [case.read_image() for case in batch]
        maps = predictor.probability(images)
        for case, probability in zip(batch, maps, strict=True):
            truth = resize_mask(case.read_mask(), GRID)
            pixels.add(resize_probability(probability, GRID), truth)
    return pixels


def summarise(predictor: RunPredictor, cases: Sequence[Case]) -> Tensor:
    """`Familiarity.summary` of the images: (N, D), on the CPU."""
    found = []
    with torch.inference_mode():
        for batch in _batches(cases, "looking at images"):
            images = [case.read_image() for case in batch]
            _, maps = predictor.model.encode(predictor.tensor(images))
            found.append(Familiarity.summary(maps).cpu())
    return torch.cat(found)


def _batches(cases: Sequence[Case], title: str) -> Iterator[Sequence[Case]]:
    batches = [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]
    yield from track(batches, title, len(batches), "batch")
