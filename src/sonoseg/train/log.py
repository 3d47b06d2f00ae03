"""log.csv of a run folder: one row per epoch."""

from __future__ import annotations

from pathlib import Path

from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.files import write_text
from sonoseg.report.tables import csv_number, csv_text
from sonoseg.train.run_folder import LOG

History = list[dict[str, float]]
"""The log: one row per epoch."""


def as_logged(row: dict[str, float]) -> dict[str, float]:
    """The row as `read_log` returns it: the best epoch is chosen by the numbers that everybody can read."""
    return {name: float(csv_number(value)) for name, value in row.items()}


def write_log(folder: Path, history: History) -> None:
    """Writes log.csv, one row per epoch."""
    header = list(history[0])
    rows = []
    for row in history:
        rows.append([csv_number(row[name]) for name in header])
    write_text(folder / LOG, csv_text(header, rows))


def read_log(folder: Path) -> History:
    """Reads log.csv, in which numbers have six digits; returns no row if there is no log that can be read."""
    try:
        rows = read_table(folder / LOG, ("epoch", "validation_dice", "validation_loss"))
        return [_numbers(row) for row in rows]
    except (InputError, ValueError):
        return []


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}
