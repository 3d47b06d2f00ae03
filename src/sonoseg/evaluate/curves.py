"""Writes the curves of an evaluation as tables and pictures: ROC, reliability, trade-off; and the picture of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from sonoseg.core.reliability import Reliability
from sonoseg.core.roc import PixelROC, thin
from sonoseg.core.sizes import Sizes
from sonoseg.evaluate.sizes import size_panels
from sonoseg.evaluate.tradeoff import Point
from sonoseg.files import atomic_path, write_text
from sonoseg.report.evaluation_figures import (
    reliability_figure,
    roc_figure,
    sizes_figure,
    trade_off_figure,
)
from sonoseg.report.tables import csv_number, csv_text


def write_roc(folder: Path, name: str, roc: PixelROC, picture: bool) -> None:
    """Writes roc.csv and, with `picture`, roc.png. `name` is the label of the curve."""
    rows = []
    lines = {}
    curve = roc.curve()
    if curve is not None:
        few = thin(curve)
        false, true = few.false_positive_rate, few.true_positive_rate
        points = zip(few.threshold, false, true, strict=True)
        rows = [_rounded(point) for point in points]
        lines = {f"{name} (AUC {roc.auc():.3f})": (false, true)}
    header = ["threshold", "false_positive_rate", "true_positive_rate"]
    write_text(folder / "roc.csv", csv_text(header, rows))
    if picture:
        with atomic_path(folder / "roc.png") as temporary:
            roc_figure(lines, temporary)


def write_reliability(folder: Path, reliable: Reliability, picture: bool) -> None:
    """Writes reliability.csv and, with `picture`, reliability.png."""
    groups = zip(reliable.probability, reliable.frequency, reliable.share, strict=True)
    header = ["mean_probability", "lesion_frequency", "share_of_pixels"]
    write_text(
        folder / "reliability.csv",
        csv_text(header, [_rounded(group) for group in groups]),
    )
    if picture:
        with atomic_path(folder / "reliability.png") as temporary:
            reliability_figure(
                reliable.probability,
                reliable.frequency,
                reliable.share,
                reliable.error,
                temporary,
            )


def write_trade_off(
    folder: Path, name: str, points: Sequence[Point], picture: bool
) -> None:
    """Writes tradeoff.csv and, with `picture`, tradeoff.png. `name` is the label of the curve."""
    header = [field.name for field in fields(Point)]
    rows = []
    curve = []
    for point in points:
        values = astuple(point)
        rows.append([csv_number(value) for value in values])
        if point.false_lesions is not None and point.lesion_dice is not None:
            curve.append((point.threshold, point.false_lesions, point.lesion_dice))
    write_text(folder / "tradeoff.csv", csv_text(header, rows))
    if picture:
        with atomic_path(folder / "tradeoff.png") as temporary:
            trade_off_figure({name: curve}, temporary)


def write_sizes(
    folder: Path, sizes: Sequence[Sizes], table: dict[str, Any], picture: bool
) -> None:
    """Writes sizes.png with `picture`: the sizes of N images, and their summary. What it shows is in cases.csv."""
    if picture:
        with atomic_path(folder / "sizes.png") as temporary:
            sizes_figure(size_panels(sizes, table), temporary)


def _rounded(values: Sequence[float]) -> list[str]:
    """The numbers with nine significant digits."""
    return [f"{value:.9g}" for value in values]
