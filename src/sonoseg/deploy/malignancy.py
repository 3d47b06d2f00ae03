"""`sonoseg malignancy`: fits the malignancy head of a run, and keeps it in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonoseg.core.auc import auc, auc_interval
from sonoseg.data.case import Case
from sonoseg.data.load import data_name
from sonoseg.data.splits import parse_source
from sonoseg.deploy.calibration import load_calibration
from sonoseg.deploy.fit_malignancy import Fitted, Lesions, fit_malignancy
from sonoseg.deploy.fitted import check_fitted
from sonoseg.deploy.malignancy_data import looker, read_lesions
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.describe.malignancy_head import MalignancyHead, Rules
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_there, write_json
from sonoseg.inputs import read_json
from sonoseg.lock import held
from sonoseg.models.encoders import load_tensors
from sonoseg.progress import track
from sonoseg.report.tables import interval_text
from sonoseg.train.gather import check_apart, gather
from sonoseg.train.run_folder import (
    MALIGNANCY,
    MALIGNANCY_HEAD,
    SHIPPED,
    find_run,
    weights_hash,
    write_tensors,
)

HINT = "run sonoseg malignancy again"
FEWEST = 20
"""Lesions of each kind that a head needs."""
FEWEST_PATIENTS = 5
"""Patients of each kind that a head needs: it is validated on those that its resample leaves out."""


@dataclass(frozen=True)
class StoredHead:
    """The head of a run.

    Attributes:
        head: with its rules.
        report: how it was fitted, as in malignancy.json.
    """

    head: MalignancyHead
    report: dict[str, Any]


def malignancy_command(
    folder: Path, data: Path, split: str, also: Sequence[str] = (), seed: int = 0
) -> str:
    """`sonoseg malignancy`: fits the head to the training lesions of the data sets and writes it into the run folder.

    Args:
        folder: a run folder.
        data: a data set; the training images of `split` are used.
        split: of `data`.
        also: more data sets, FOLDER for all images or FOLDER@SPLIT for the split's training images.
        seed: of resamples and training.

    Returns:
        The text to print.

    Raises:
        InputError: `folder` is the bundled model or no run, the data cannot be read, `also` has test images of
            `split`, fewer than `FEWEST` benign or malignant lesions are there or are outlined, or they are of fewer
            than `FEWEST_PATIENTS`.
    """
    if str(folder) in SHIPPED:
        problem = "the head of the bundled model cannot be replaced"
        raise InputError(folder, problem, "give a folder that sonoseg train made")
    predictor = RunPredictor(folder)
    training, _ = gather(data, split, tuple(also))
    check_apart(data, split, training, predictor.size[0])
    lesions = lesions_of(predictor, _unique(training))
    if lesions is None or _fewest(lesions, False) < FEWEST:
        problem = f"has fewer than {FEWEST} benign or malignant lesions to learn from"
        raise InputError(data, problem, "choose another --split, or add data sets")
    if _fewest(lesions, True) < FEWEST:
        problem = f"outlines fewer than {FEWEST} of the benign or of the malignant lesions of {data}"
        raise InputError(folder, problem, "train it longer, or add data sets")
    if _fewest_patients(lesions) < FEWEST_PATIENTS:
        problem = f"has benign or malignant lesions of fewer than {FEWEST_PATIENTS} patients to learn from"
        hint = "add data sets, or name the patients in the column group of labels.csv"
        raise InputError(data, problem, hint)
    with held(folder):
        fitted = fit_malignancy(lesions, seed)
        sources = [f"{data_name(data)}@{split}", *map(_source_name, also)]
        report = make_report(fitted, lesions, sources, predictor, folder)
        save_head(folder, fitted.head, report)
    return "\n".join(
        [
            f"{folder}: malignancy head from {report['images']} images of {report['patients']} patients;",
            f"AUC {report['auc']:.3f} ({interval_text(report['interval'])}) on patients that a head has not seen",
        ]
    )


def lesions_of(predictor: RunPredictor, cases: Sequence[Case]) -> Lesions | None:
    """The labelled lesions of the cases, as the run's network sees them; see `read_lesions`."""
    look = looker(predictor.model, predictor.size, predictor.temperature)
    bar = track(cases, "looking at lesions", len(cases), "image")
    return read_lesions(look, bar)


def _unique(cases: Sequence[Case]) -> list[Case]:
    """Each image once: a training may have repeated a data set."""
    # A file may hold several images, such as the frames of a loop.
    return list({(case.image, case.name): case for case in cases}.values())


def _source_name(source: str) -> str:
    folder, split = parse_source(source)
    name = data_name(folder)
    return f"{name}@{Path(split).name}" if split else name


def _fewest(lesions: Lesions, is_own: bool) -> int:
    """Lesions of the rarer kind: those that the network outlines, or those with a reference outline."""
    malignant = lesions.malignant[lesions.is_own == is_own]
    return int(min(malignant.sum(), (~malignant).sum()))


def _fewest_patients(lesions: Lesions) -> int:
    own = lesions.pick(lesions.is_own)
    kinds = own.groups[own.malignant], own.groups[~own.malignant]
    return min(len(set(kind)) for kind in kinds)


def make_report(
    fitted: Fitted,
    lesions: Lesions,
    sources: Sequence[str],
    predictor: RunPredictor,
    folder: Path,
) -> dict[str, Any]:
    """The content of malignancy.json: the data, the rules, and the AUC on patients that a head has not seen."""
    rows = lesions.is_own & np.isfinite(fitted.logits)
    tested, logits = lesions.pick(rows), fitted.logits[rows]
    return {
        "data": list(sources),
        "images": int(lesions.is_own.sum()),
        "patients": len(np.unique(lesions.groups)),
        "malignant": int(lesions.malignant[lesions.is_own].sum()),
        "auc": auc(tested.malignant, logits),
        "interval": auc_interval(tested.malignant, logits, list(tested.groups)),
        "rules": asdict(fitted.head.rules),
        # The outlines' mean probability, which the rules look at, depends on it.
        "temperature": predictor.temperature,
        "weights": weights_hash(folder),
    }


def save_head(folder: Path, head: MalignancyHead, report: dict[str, Any]) -> None:
    """Writes malignancy.json and malignancy.safetensors: both, or none if one cannot be written."""
    # 16 bits change a probability by less than 0.001, and halve the file.
    tensors = {
        name: torch.from_numpy(values).half()
        for name, values in head.to_tensors().items()
    }
    with atomic_files():
        digest = write_tensors(folder / MALIGNANCY_HEAD, tensors)
        write_json(folder / MALIGNANCY, report | {MALIGNANCY_HEAD: digest})


def load_head(folder: Path) -> StoredHead | None:
    """The malignancy head of the run in `folder`; None if it has none.

    Raises:
        InputError: it cannot be read, or was made for other weights or another temperature than those in the folder.
    """
    folder = find_run(folder)
    file = folder / MALIGNANCY
    if not is_there(file):
        return None
    try:
        report = read_json(file)
        rules = Rules.from_dict(report["rules"])
        tensors = load_tensors(folder / MALIGNANCY_HEAD)
        arrays = {name: value.float().numpy() for name, value in tensors.items()}
        head = MalignancyHead.from_tensors(arrays, rules)
        made_for, digest = report["weights"], report[MALIGNANCY_HEAD]
    except (InputError, OSError, ValueError, TypeError, KeyError) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        problem = f"not a malignancy head that can be read{reason}"
        raise InputError(file, problem, HINT) from error
    check_fitted(file, made_for, MALIGNANCY_HEAD, digest, HINT)
    calibration = load_calibration(folder)
    temperature = calibration.temperature if calibration else 1.0
    if report.get("temperature", temperature) != temperature:  # older reports have none
        raise InputError(file, "was fitted before the run was calibrated", HINT)
    return StoredHead(head, report)
