"""Figures of an evaluation: ROC curves, reliability, lesions against false lesions, and sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import counted
from sonoseg.report.style import (
    DASHES,
    FAINT,
    INK,
    LINES,
    colours,
    draw_diagonal,
    new_figure,
    write_in_middle,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The x and y values of a curve, each (K,)."""
CLOSEST = 0.03
"""Thresholds that lie closer to each other in the picture are not both written."""


def roc_figure(curves: Mapping[str, Line], path: Path | str) -> None:
    """Draws ROC curves over pixels.

    Args:
        curves: label → (false-positive rate, true-positive rate), each (K,) in 0..1.
        path: the PNG to write.
    """
    with new_figure(4.6, 4.4, path) as figure:
        axes = figure.subplots()
        draw_diagonal(axes, "chance")
        for (label, (false, true)), colour in zip(
            curves.items(), colours(), strict=False
        ):
            axes.plot(false, true, color=colour, label=label, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title="ROC over pixels")
        axes.set(xlabel="background pixels called lesion", ylabel="lesion pixels found")
        axes.legend(loc="lower right")


def reliability_figure(
    probability: NDArray[np.float64],
    frequency: NDArray[np.float64],
    share: NDArray[np.float64],
    error: float,
    path: Path | str,
) -> None:
    """Draws how often pixels of a probability are lesion, and how many pixels have that probability.

    Args:
        probability, frequency, share: (K,) each in 0..1, see `sonoseg.core.reliability.Reliability`.
        error: the expected calibration error, 0..1.
        path: the PNG to write.
    """
    with new_figure(4.6, 5.2, path) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        draw_diagonal(upper, "perfect")
        upper.plot(
            probability,
            frequency,
            color=LINES[0],
            marker="o",
            markersize=4,
            label=f"error {error:.4f}",
        )
        upper.set(xlim=(0, 1), ylim=(0, 1))
        upper.set(title="Reliability over pixels", ylabel="share that is lesion")
        upper.legend(loc="best")
        lower.bar(probability, share, width=0.04, color=LINES[0])
        lower.set(
            yscale="log", xlabel="probability of lesion", ylabel="share of pixels"
        )
        # The usual labels of a logarithmic axis are formulas, which `new_figure` does not read.
        lower.yaxis.set_major_formatter("{x:g}")
        lower.yaxis.set_minor_formatter("")


def trade_off_figure(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path | str
) -> None:
    """Draws lesion Dice against false lesions on normal images, one point per threshold. Some thresholds are written.

    Args:
        curves: label → (threshold, share of normal images with a false lesion, mean lesion Dice) in 0..1, thresholds
            ascending. A curve is empty if there are no normal images or no images with a lesion; the picture says so.
        path: the PNG to write.
    """
    with new_figure(5.6, 4.4, path) as figure:
        axes = figure.subplots()
        for (label, points), colour in zip(curves.items(), colours(), strict=False):
            false_lesions = [false for _, false, _ in points]
            lesion_dice = [dice for _, _, dice in points]
            axes.plot(false_lesions, lesion_dice, color=colour, marker=".", label=label)
            _write_thresholds(axes, points[1::4])
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1))
        axes.set(title="Lesions against normal images, by threshold")
        axes.set(xlabel="normal images with a false lesion")
        axes.set(ylabel="mean Dice on images with a lesion")
        if any(curves.values()):
            axes.legend(loc="lower right")
        else:
            write_in_middle(axes, "needs images with and without a lesion")


def _write_thresholds(axes: Axes, points: Sequence[tuple[float, float, float]]) -> None:
    """Writes the thresholds beside their points, but not one over another."""
    written: list[tuple[float, float]] = []
    for threshold, false, dice in points:
        place = (false, dice)
        distances = [math.dist(place, other) for other in written]
        if min(distances, default=1.0) > CLOSEST:
            axes.annotate(
                f"{threshold:g}", place, (4, 4), textcoords="offset points", fontsize=7
            )
            written.append(place)


@dataclass(frozen=True)
class SizePanel:
    """One measure of N lesions, by an outline and by the reference mask.

    Attributes:
        title: name of the measure.
        mean: (N,), mean of both, in `unit`.
        difference: (N,), outline minus reference, in `difference_unit`.
        limits: `bias` and `limits` of the differences (see `sizes.sizes_summary`); None for no lesions.
        left_out: lesions whose size is not known in `unit`.
    """

    title: str
    mean: NDArray[np.float64]
    difference: NDArray[np.float64]
    unit: str
    difference_unit: str
    limits: dict[str, Any] | None
    left_out: int = 0


def sizes_figure(panels: Sequence[SizePanel], path: Path | str) -> None:
    """Draws differences against means (Bland and Altman 1986), with bias and limits of agreement, panels side by side.

    Args:
        panels: at least one; without lesions the picture says so.
        path: the PNG to write.
    """
    with new_figure(4.2 * len(panels), 3.8, path) as figure:
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            lesions = counted(len(panel.mean), "lesion")
            if panel.left_out:
                all_lesions = len(panel.mean) + panel.left_out
                lesions = f"{len(panel.mean)} of {all_lesions} lesions, those in mm"
            axes.set(title=f"{panel.title}, {lesions}")
            axes.set(xlabel=f"mean of outline and reference in {panel.unit}")
            axes.set(ylabel=f"outline − reference in {panel.difference_unit}")
            if panel.limits is None:
                write_in_middle(axes, "no lesion is outlined")
                continue
            axes.axhline(0, color=FAINT, linewidth=0.8)
            axes.scatter(panel.mean, panel.difference, s=12, color=LINES[0], alpha=0.6)
            axes.margins(y=0.1)
            axes.set_xlim(left=0)
            levels = {"bias": panel.limits["bias"]}
            if panel.limits["limits"] is not None:
                levels["lower limit"], levels["upper limit"] = panel.limits["limits"]
            _write_levels(axes, levels, ".2f" if panel.unit == "mm" else ".1f")


def _write_levels(axes: Axes, levels: dict[str, float], digits: str) -> None:
    """Horizontal lines with their names and heights at the right; equal ones are one line with all the names."""
    named: dict[float, list[str]] = {}
    for name, level in levels.items():
        named.setdefault(level, []).append(name)
    for level, names in named.items():
        dashes = "-" if "bias" in names else DASHES
        axes.axhline(level, color=INK, linewidth=1.1, linestyle=dashes)
        text = f"{' = '.join(names)} {level:+{digits}}".replace("-", "−")
        axes.annotate(
            text,
            (1, level),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8},
        )
