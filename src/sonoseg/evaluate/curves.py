"""The curves of an evaluation as tables and pictures: ROC, reliability, and lesions against false lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from sonoseg.core.reliability import Reliability
from sonoseg.core.roc import PixelROC, thin
from sonoseg.evaluate.tradeoff import Point
from sonoseg.files import atomic_path, write_text
from sonoseg.report.figures import reliability_figure, roc_figure, trade_off_figure
from sonoseg.report.tables import csv_number, csv_text


def write_roc(folder: Path, name: str, roc: PixelROC, picture: bool) -> None:
    """Writes roc.csv and, with `picture`, roc.png."""
    curve, auc = roc.curve(), roc.auc()
    few = None if curve is None else thin(curve)
    columns = (
        () if few is None else (few.threshold, few.false_positive_rate, few.true_positive_rate)
    )
    rows = [[f"{value:.9g}" for value in row] for row in zip(*columns, strict=True)]
    header = ["threshold", "false_positive_rate", "true_positive_rate"]
    write_text(folder / "roc.csv", csv_text(header, rows))
    if picture:
        with atomic_path(folder / "roc.png") as temporary:
            roc_figure({f"{name} (AUC {auc:.3f})": columns[1:]} if columns else {}, temporary)


def write_reliability(folder: Path, reliable: Reliability, picture: bool) -> None:
    """Writes reliability.csv and, with `picture`, reliability.png."""
    columns = (reliable.probability, reliable.frequency, reliable.share)
    rows = [[f"{value:.9g}" for value in row] for row in zip(*columns, strict=True)]
    header = ["mean_probability", "lesion_frequency", "share_of_pixels"]
    write_text(folder / "reliability.csv", csv_text(header, rows))
    if picture:
        with atomic_path(folder / "reliability.png") as temporary:
            reliability_figure(*columns, reliable.error, temporary)


def write_trade_off(folder: Path, name: str, points: Sequence[Point], picture: bool) -> None:
    """Writes tradeoff.csv and, with `picture`, tradeoff.png."""
    rows = [[csv_number(value) for value in astuple(point)] for point in points]
    write_text(folder / "tradeoff.csv", csv_text([field.name for field in fields(Point)], rows))
    curve = [
        (point.threshold, point.false_lesions, point.lesion_dice)
        for point in points
        if point.false_lesions is not None and point.lesion_dice is not None
    ]
    if picture:
        with atomic_path(folder / "tradeoff.png") as temporary:
            trade_off_figure({name: curve}, temporary)
