"""Draws every figure of the lab, in one restrained style: ROC, learning curves, four-panel explanations.

Figures are saved as PNG to the path given; callers that must not leave half a file give a temporary path
(`sonoseg.files.atomic_path`). Matplotlib is imported when the first figure is drawn, and never its `pyplot`:
no window, no state shared between threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.reader.overlay import NOTICE, PREDICTION, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#333333"
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d31", "#56b4e9")
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # Matplotlib's own, the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def roc_figure(curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path | str) -> None:
    """Draws pixel-wise ROC curves.

    Args:
        curves: label → (false-positive rate, true-positive rate), each (K,) in 0..1.
        path: the PNG to write.
    """
    with _figure(4.6, 4.4, path) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=1, linestyle=(0, (4, 3)), label="chance")
        for (label, (false, true)), colour in zip(curves.items(), _cycle(), strict=False):
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
    """Draws how often pixels of a probability are lesion, and how many pixels have it.

    Args:
        probability, frequency, share: (K,) each in 0..1, see `evaluation.calibration.Reliability`.
        error: the expected calibration error.
        path: the PNG to write.
    """
    with _figure(4.6, 5.2, path) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=1, linestyle=(0, (4, 3)), label="perfect")
        upper.plot(probability, frequency, color=_LINES[0], marker="o", markersize=4, label=f"error {error:.4f}")
        upper.set(xlim=(0, 1), ylim=(0, 1), title="Reliability over pixels", ylabel="share that is lesion")
        upper.legend(loc="upper left")
        lower.bar(probability, share, width=0.04, color=_LINES[0])
        lower.set(yscale="log", xlabel="probability of lesion", ylabel="share of pixels")


def trade_off_figure(curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path | str) -> None:
    """Draws lesion Dice against false lesions on normal images, a point a threshold; some thresholds are written in.

    Args:
        curves: label → (threshold, share of normal images with a false lesion, mean lesion Dice) in 0..1, thresholds
            ascending; empty where there are no normal images or none with a lesion, which the picture then says.
        path: the PNG to write.
    """
    with _figure(5.6, 4.4, path) as figure:
        axes = figure.subplots()
        for (label, points), colour in zip(curves.items(), _cycle(), strict=False):
            axes.plot([p[1] for p in points], [p[2] for p in points], color=colour, marker=".", label=label)
            for threshold, false, dice in points[1::4]:
                axes.annotate(f"{threshold:g}", (false, dice), (4, 4), textcoords="offset points", fontsize=7)
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1), title="Lesions against normal images, by threshold")
        axes.set(xlabel="normal images with a false lesion", ylabel="mean Dice on images with a lesion")
        if any(curves.values()):
            axes.legend(loc="lower right")
        else:
            words = "needs images with and without a lesion"
            axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center")


def learning_curves(rows: Sequence[Mapping[str, float]], path: Path | str) -> None:
    """Draws loss, Dice and learning rate over the epochs, and marks the epoch whose weights were kept.

    Args:
        rows: one an epoch, with `epoch`, `train_loss`, `validation_loss`, `validation_dice`, `learning_rate`
            and, if it was measured, `train_dice`. Values that are not finite leave a gap.
        path: the PNG to write.
    """
    epochs = [row["epoch"] for row in rows]
    best = min(rows, key=lambda row: np.nan_to_num(row["validation_loss"], nan=np.inf))["epoch"]
    panels = (
        ("loss", {"training": "train_loss", "validation": "validation_loss"}),
        ("Dice", {"training": "train_dice", "validation": "validation_dice"}),
        ("learning rate", {"": "learning_rate"}),
    )
    with _figure(10.5, 3.1, path) as figure:
        for axes, (title, lines) in zip(figure.subplots(1, 3), panels, strict=True):
            for (label, key), colour in zip(lines.items(), _LINES, strict=False):
                if key in rows[0]:
                    values = [row[key] for row in rows]
                    axes.plot(epochs, values, color=colour, label=label, marker=".", markersize=4)
            axes.set(title=title, xlabel="epoch", xlim=(0, max(epochs) + 1))
            axes.xaxis.get_major_locator().set_params(integer=True)
            if title == "learning rate":
                axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
                axes.set_ylim(bottom=0)
                continue
            axes.axvline(best, color="#909090", linewidth=1, linestyle=(0, (4, 3)), label=f"kept: epoch {best:g}")
            if title == "Dice":
                axes.set_ylim(0, 1)
            axes.legend()


def explanation_panels(
    path: Path | str,
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_] | None,
    prediction: NDArray[np.bool_],
    heat: NDArray[np.float32],
    *,
    layer: str,
    title: str,
    note: str = "",
) -> None:
    """Draws original, ground truth, prediction and heat map over the image, side by side.

    Args:
        path: the PNG to write.
        image: (H, W) gray.
        truth: (H, W); None if it is not known, which its panel then says.
        prediction: (H, W).
        heat: (H, W) in 0..1.
        layer: the layer that the heat map looks at, named in the picture.
        title: above the panels (image and model).
        note: added to the prediction's caption, such as its Dice.
    """
    aspect = min(max(image.shape[0] / image.shape[1], 0.4), 2.0)
    with _figure(12.6, 3.0 * aspect + 0.75, path) as figure:
        panels = figure.subplots(1, 4)
        for axes in panels:
            axes.set_axis_off()
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        panels[0].set_title("original")
        if truth is None:
            _say_instead(panels[1], "no ground truth")
        else:
            _outline(panels[1], truth, TRUTH)
        panels[1].set_title("ground truth" + ("" if truth is None or truth.any() else ": no lesion"))
        _outline(panels[2], prediction, PREDICTION)
        panels[2].set_title("prediction" + ("" if prediction.any() else ": no lesion") + (f", {note}" if note else ""))
        colours = panels[3].imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.45 * np.clip(heat, 0, 1))
        panels[3].set_title(f"Grad-CAM, layer: {layer}" + ("" if heat.any() else " (zero everywhere)"))
        _colour_bar(figure, panels[3], colours)
        figure.suptitle(f"{title} · {NOTICE}", fontsize=9)


def _cycle() -> Iterator[str]:
    while True:
        yield from _LINES


@contextmanager
def _figure(width: float, height: float, path: Path | str) -> Iterator[Figure]:
    """A new figure of `width` × `height` inches; saved to `path` when the block ends well."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, format="png", facecolor="white")


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    ink = tuple(value / 255 for value in colour)  # the colours of the reader's overlays
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[ink], linewidths=1.6)
    axes.contourf(mask, levels=[0.5, 1.5], colors=[ink], alpha=0.25)


def _say_instead(axes: Axes, words: str) -> None:
    axes.images[0].set_alpha(0.15)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=11)


def _colour_bar(figure: Figure, axes: Axes, colours: Any) -> None:
    bar = figure.colorbar(colours, cax=axes.inset_axes((1.02, 0, 0.04, 1)))  # as high as the picture
    assert bar.solids is not None
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label("relative weight", fontsize=8)
