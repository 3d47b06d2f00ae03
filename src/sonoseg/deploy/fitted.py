"""What is fitted to a run after its training is two files: a report, and tensors."""

from __future__ import annotations

from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.train.run_folder import file_hash, weights_hash


def check_fitted(
    report: Path, made_for: str, tensors: str, digest: str, hint: str
) -> None:
    """Checks that what was fitted to a run, a report and its tensors, belongs together and to the run's weights.

    Args:
        report: its file, in the run folder.
        made_for: sha256 of the weights, as the report has it.
        tensors: name of their file.
        digest: its sha256, as the report has it.
        hint: what to do otherwise.

    Raises:
        InputError: it does not.
    """
    folder = report.parent
    if made_for != weights_hash(folder):
        raise InputError(report, "was made for other weights than the run's", hint)
    if digest != file_hash(folder / tensors):
        raise InputError(report, f"was not made together with {tensors}", hint)
