"""What is fitted to a run after its training is two files: a report, and tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.train.run_folder import file_hash, weights_hash


def check_fitted(
    folder: Path, name: str, report: dict[str, Any], tensors: str, hint: str
) -> None:
    """Checks that what was fitted to a run, a report and its tensors, belongs together and to the run's weights.

    Args:
        folder: the run.
        name: of the report's file.
        report: its content, with the sha256 of the weights and that of the tensors.
        tensors: name of their file.
        hint: what to do otherwise.

    Raises:
        InputError: it does not.
    """
    file = folder / name
    if report.get("weights") != weights_hash(folder):
        raise InputError(file, "was made for other weights than the run's", hint)
    found = file_hash(folder / tensors)
    if report.get(tensors, found) != found:  # older reports do not name it
        raise InputError(file, f"was not made together with {tensors}", hint)
