"""What `sonoseg calibrate` left in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoseg.deploy.familiarity import Familiarity
from sonoseg.errors import InputError
from sonoseg.files import is_there
from sonoseg.inputs import read_json
from sonoseg.models.encoders import load_tensors
from sonoseg.train.run_folder import CALIBRATION, FAMILIARITY, file_hash, find_run, fingerprint
from sonoseg.train.validate import number_in

TEMPERATURE = number_in(0.04, 25)
"""The rule for a temperature; `sonoseg calibrate` finds one from 0.05 to 20."""


@dataclass(frozen=True)
class Calibration:
    """What `sonoseg calibrate` learned of a run's network.

    Attributes:
        temperature: the logits are divided by it.
        familiarity: tells images that are unlike the training images.
        report: how it was come by, as in calibration.json.
    """

    temperature: float
    familiarity: Familiarity
    report: dict[str, Any]


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of the run in `folder`; None if it has none.

    Raises:
        InputError: it cannot be read, or was made for other weights than those in the folder.
    """
    folder = find_run(folder)
    if not is_there(folder / CALIBRATION):
        return None
    mend = "run sonoseg calibrate again"
    try:
        report = read_json(folder / CALIBRATION)
    except InputError as error:
        fault = f"not a calibration that can be read ({error.fault})"
        raise InputError(folder / CALIBRATION, fault, mend) from error
    try:
        temperature, made_for = report["temperature"], report["weights"]
        if not TEMPERATURE[0](temperature):
            raise ValueError(f"its temperature is not {TEMPERATURE[1]}")
        tensors = load_tensors(folder / FAMILIARITY)
        if (
            not all(tensor.isfinite().all() for tensor in tensors.values())
            or not tensors["limit"] > 0
        ):
            raise ValueError(f"{FAMILIARITY} holds numbers that are not finite, or no limit")
        familiarity = Familiarity(*tensors["basis"].shape)
        familiarity.load_state_dict(tensors)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        raise InputError(
            folder / CALIBRATION, f"not a calibration that can be read{reason}", mend
        ) from error
    if made_for != fingerprint(folder).rpartition(" ")[2]:
        raise InputError(folder / CALIBRATION, "was made for other weights than the run's", mend)
    if report.get(FAMILIARITY, file_hash(folder / FAMILIARITY)) != file_hash(folder / FAMILIARITY):
        raise InputError(folder / CALIBRATION, f"was not made together with {FAMILIARITY}", mend)
    return Calibration(float(temperature), familiarity.eval(), report)
