"""What `sonoseg calibrate` fitted to a run, in its folder: a temperature and a limit for unfamiliar images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoseg.deploy.familiarity import Familiarity
from sonoseg.deploy.fitted import check_fitted
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, is_there, write_json
from sonoseg.inputs import read_json
from sonoseg.models.encoders import load_tensors
from sonoseg.train.run_folder import (
    CALIBRATION,
    FAMILIARITY,
    file_hash,
    find_run,
    write_tensors,
)
from sonoseg.train.validate import number_in

TEMPERATURE = number_in(0.04, 25)
"""The rule for a stored temperature. It is wider than the range that one is fitted in, so that rounding is no error."""
HINT = "run sonoseg calibrate again"


@dataclass(frozen=True)
class Calibration:
    """What `sonoseg calibrate` fitted to a run's network.

    Attributes:
        temperature: the logits are divided by it.
        familiarity: recognises images that are unlike the training images.
        report: how both were fitted, as in calibration.json.
    """

    temperature: float
    familiarity: Familiarity
    report: dict[str, Any]


def save_calibration(folder: Path, calibration: Calibration) -> dict[str, Any]:
    """Writes calibration.json and familiarity.safetensors: both, or none if one cannot be written.

    Returns:
        The content of calibration.json: the report and the sha256 of familiarity.safetensors.
    """
    tensors = calibration.familiarity.state_dict()
    with atomic_files():
        report = calibration.report | {
            FAMILIARITY: write_tensors(folder / FAMILIARITY, tensors)
        }
        write_json(folder / CALIBRATION, report)
    return report


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of the run in `folder`; None if it has none.

    Raises:
        InputError: it cannot be read, or was made for other weights than those in the folder.
    """
    folder = find_run(folder)
    file = folder / CALIBRATION
    if not is_there(file):
        return None
    try:
        report = read_json(file)
    except InputError as error:
        problem = f"not a calibration that can be read ({error.problem})"
        raise InputError(file, problem, HINT) from error
    try:
        calibration = _parse(report, folder)
        made_for = report["weights"]
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RuntimeError,
        RecursionError,
    ) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        problem = f"not a calibration that can be read{reason}"
        raise InputError(file, problem, HINT) from error
    # Older reports do not name the tensors.
    digest = report.get(FAMILIARITY, file_hash(folder / FAMILIARITY))
    check_fitted(file, made_for, FAMILIARITY, digest, HINT)
    return calibration


def _parse(report: dict[str, Any], folder: Path) -> Calibration:
    """The calibration of a report, which may hold anything.

    Raises:
        ValueError: a number is out of its range; says which.
        OSError, TypeError, KeyError, RuntimeError, RecursionError: it is no report, or the tensors do not fit.
    """
    temperature = report["temperature"]
    is_good, wanted = TEMPERATURE
    if not is_good(temperature):
        raise ValueError(f"its temperature is not {wanted}")
    familiarity = Familiarity.from_tensors(load_tensors(folder / FAMILIARITY))
    return Calibration(float(temperature), familiarity.eval(), report)
