"""`sonoseg calibrate`: how sure a run's network may be, and on which images, learned from its own data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sonoseg.core.metrics import GRID
from sonoseg.core.reliability import negative_log_likelihood, reliability
from sonoseg.core.resize import resize_mask, resize_probability
from sonoseg.core.roc import PixelROC
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import parse_source, split_cases
from sonoseg.deploy.familiarity import Familiarity
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, write_json
from sonoseg.progress import track
from sonoseg.train.dataset import gather
from sonoseg.train.lock import held
from sonoseg.train.run_folder import CALIBRATION, FAMILIARITY, SHIPPED, fingerprint, write_tensors

if TYPE_CHECKING:
    from sonoseg.cli import Calibrate

BATCH = 16


def calibrate_command(options: Calibrate) -> None:
    """`sonoseg calibrate`: checks the input, writes the two files, says what they change."""
    if str(options.folder) in SHIPPED:
        raise InputError(
            options.folder,
            "the network inside stays as it is",
            "give a folder that sonoseg train made",
        )
    predictor = RunPredictor(options.folder, calibrated=False)
    known, validation = gather(options.data, options.split, options.also)
    held_out = [*validation]
    for source in options.also:
        folder, split = parse_source(source)
        if split:  # all images of a folder without a split are trained on
            held_out += split_cases(load_cases(folder), split)["validation"]
    check_held_out(predictor, options.folder, held_out)
    with held(options.folder):
        report = calibrate(predictor, options.folder, known, validation, held_out)
    ece = report["ece"]
    print(
        f"{options.folder}: temperature {report['temperature']:.3f} from {report['images']} validation images;"
    )
    print(
        f"calibration error {ece['before']:.4f} before and {ece['after']:.4f} after, over their pixels"
    )
    print(
        f"{report['unfamiliar']:.1%} of {report['held_out']} held-out images would be called unfamiliar"
    )


def check_held_out(predictor: RunPredictor, folder: Path, cases: Sequence[Case]) -> None:
    """Refuses images that the run was trained on: on those, a network is surer than on others.

    Raises:
        InputError: there are such images, or one cannot be read.
    """
    record = predictor.record
    if record is None:
        return
    trained = [case.name for case in cases if not record.is_held_out(case.read_image())]
    if trained:
        problem = f"was trained on {len(trained)} of these {len(cases)} held-out images, first {trained[0]}"
        raise InputError(
            folder, problem, "give --data, --split and --also as they were in its training"
        )


def calibrate(
    predictor: RunPredictor,
    folder: Path,
    known: Sequence[Case],
    validation: Sequence[Case],
    held_out: Sequence[Case],
) -> dict[str, Any]:
    """Writes calibration.json and familiarity.safetensors into a run folder; `sonoseg export` takes them up.

    Args:
        predictor: of the run in `folder`, not calibrated.
        folder: the run.
        known: at least two training images, for `Familiarity`.
        validation: images whose pixels the temperature is fitted to.
        held_out: images of the same kind that were not trained on, for the limit of `Familiarity`.

    Returns:
        what calibration.json holds: `temperature`; `ece` and `nll`, each `before` and `after`; numbers of `images`,
        `known` and `held_out`; `unfamiliar`, the share of held_out over the limit; `weights`, their sha256; and that of
        familiarity.safetensors.

    Raises:
        InputError: too few images, one that cannot be read, or no lesion in `validation`.
    """
    if len(known) < 2 or not validation:
        raise InputError(
            folder, "the split leaves no training or no validation images", "choose another --split"
        )
    for case in (*known, *validation, *held_out):
        case.check_size(predictor.size[0], predictor.name)
    pixels = _count_pixels(predictor, validation)
    if pixels.auc() is None:
        problem = (
            "the validation images hold no lesion, or nothing else, so that no temperature fits"
        )
        raise InputError(folder, problem, "choose another --split")
    temperature = fit_temperature(pixels)
    summaries = _summaries(predictor, held_out)
    familiarity = Familiarity.fit(_summaries(predictor, known), summaries)
    report: dict[str, Any] = {
        "temperature": temperature,
        "ece": _before_and_after(lambda t: reliability(pixels, t).error, temperature),
        "nll": _before_and_after(lambda t: negative_log_likelihood(pixels, t), temperature),
        "images": len(validation),
        "known": len(known),
        "held_out": len(held_out),
        "unfamiliar": float((familiarity.distance(summaries) > familiarity.limit).float().mean()),
        "weights": fingerprint(folder).rpartition(" ")[2],
    }
    with atomic_files():
        report[FAMILIARITY] = write_tensors(folder / FAMILIARITY, familiarity.state_dict())
        write_json(folder / CALIBRATION, report)
    return report


def fit_temperature(pixels: PixelROC) -> float:
    """The temperature, 0.05 to 20, with the lowest negative log-likelihood (Guo et al. 2017, section 4.2)."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(pixels, float(np.exp(log_temperature)))

    return float(
        np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)
    )


def _before_and_after(measure: Callable[[float], float], temperature: float) -> dict[str, float]:
    return {"before": measure(1.0), "after": measure(temperature)}


def _count_pixels(predictor: RunPredictor, cases: Sequence[Case]) -> PixelROC:
    pixels = PixelROC()
    for batch in _batches(cases, "validation images"):
        maps = predictor.probability([case.read_image() for case in batch])
        for case, probability in zip(batch, maps, strict=True):
            pixels.add(resize_probability(probability, GRID), resize_mask(case.read_mask(), GRID))
    return pixels


def _summaries(predictor: RunPredictor, cases: Sequence[Case]) -> Tensor:
    found = []
    with torch.inference_mode():
        for batch in _batches(cases, "looking at images"):
            _, maps = predictor.model.encode(
                predictor.tensor([case.read_image() for case in batch])
            )
            found.append(Familiarity.summary(maps).cpu())
    return torch.cat(found)


def _batches(cases: Sequence[Case], title: str) -> Iterator[Sequence[Case]]:
    batches = [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]
    yield from track(batches, title, len(batches), "batch")
