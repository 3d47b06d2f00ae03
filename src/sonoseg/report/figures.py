"""Draws every figure of the lab, in one restrained style: ROC, learning curves, four-panel explanations.

Figures are saved as PNG to the path given; callers that must not leave half a file give a temporary path
(`sonoseg.files.atomic_path`). Matplotlib is imported when the first figure is drawn, and never its `pyplot`:
no window, no state shared between threads.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import visible
from sonoseg.reader.overlay import NOTICE, PREDICTION, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 160
"""Characters of a text in a picture; of a longer one the middle is left out."""
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
    "text.parse_math": False,  # a $ in a file's name begins no formula
}


def roc_figure(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path | str
) -> None:
    """Draws pixel-wise ROC curves.

    Args:
        curves: label → (false-positive rate, true-positive rate), each (K,) in 0..1.
        path: the PNG to write.
    """
    with _figure(4.6, 4.4, path) as figure:
        axes = figure.subplots()
        axes.plot(
            [0, 1], [0, 1], color="#b0b0b0", linewidth=1, linestyle=(0, (4, 3)), label="chance"
        )
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
        upper.plot(
            [0, 1], [0, 1], color="#b0b0b0", linewidth=1, linestyle=(0, (4, 3)), label="perfect"
        )
        upper.plot(
            probability,
            frequency,
            color=_LINES[0],
            marker="o",
            markersize=4,
            label=f"error {error:.4f}",
        )
        upper.set(
            xlim=(0, 1), ylim=(0, 1), title="Reliability over pixels", ylabel="share that is lesion"
        )
        upper.legend(loc="upper left")
        lower.bar(probability, share, width=0.04, color=_LINES[0])
        lower.set(yscale="log", xlabel="probability of lesion", ylabel="share of pixels")


def trade_off_figure(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path | str
) -> None:
    """Draws lesion Dice against false lesions on normal images, a point a threshold; some thresholds are written in.

    Args:
        curves: label → (threshold, share of normal images with a false lesion, mean lesion Dice) in 0..1, thresholds
            ascending; empty where there are no normal images or none with a lesion, which the picture then says.
        path: the PNG to write.
    """
    with _figure(5.6, 4.4, path) as figure:
        axes = figure.subplots()
        for (label, points), colour in zip(curves.items(), _cycle(), strict=False):
            axes.plot(
                [p[1] for p in points],
                [p[2] for p in points],
                color=colour,
                marker=".",
                label=label,
            )
            written: list[tuple[float, float]] = []
            for threshold, false, dice in points[1::4]:
                if all(
                    math.dist((false, dice), other) > 0.03 for other in written
                ):  # else one lies on another
                    axes.annotate(
                        f"{threshold:g}",
                        (false, dice),
                        (4, 4),
                        textcoords="offset points",
                        fontsize=7,
                    )
                    written.append((false, dice))
        axes.set(
            xlim=(-0.03, 1.03), ylim=(0, 1), title="Lesions against normal images, by threshold"
        )
        axes.set(
            xlabel="normal images with a false lesion", ylabel="mean Dice on images with a lesion"
        )
        if any(curves.values()):
            axes.legend(loc="lower right")
        else:
            words = "needs images with and without a lesion"
            axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center")


def grid_figure(
    grid: Mapping[str, Sequence[str]],
    cells: Mapping[tuple[str, ...], float | str],
    path: Path | str,
) -> None:
    """Draws the scores of a grid search, the best one framed.

    The first two axes of more than one value span heat maps, the others give a panel to each of their combinations; a
    lone axis becomes bars.

    Args:
        grid: axis → its values.
        cells: a value an axis → score in 0..1, or a word such as "failed".
        path: the PNG to write.
    """
    scores = [cell for cell in cells.values() if not isinstance(cell, str)]
    long = [axis for axis, values in grid.items() if len(values) > 1]
    longest = max(len(word) for word in grid[(long or list(grid))[:2][-1]])
    if len(long) < 2:
        with _figure(max(3.6, 1.2 + len(cells) * max(0.8, 0.1 * longest)), 3.2, path) as figure:
            axis = (long or list(grid))[0]
            _grid_bars(
                figure.subplots(), axis, dict(zip(grid[axis], cells.values(), strict=True)), scores
            )
        return
    down, across, *others = long
    panels = list(itertools.product(*(grid[axis] for axis in others)))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    width, height = (
        max(0.62, 0.085 * longest) * len(grid[across]) + 0.3,
        0.45 * len(grid[down]) + 0.4,
    )
    with _figure(columns * width + 1.6, rows * height + 0.6, path) as figure:
        places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in places.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(places.flat, panels, strict=False):
            fixed = {axis: values[0] for axis, values in grid.items()} | dict(
                zip(others, panel, strict=True)
            )
            keys = [
                [tuple((fixed | {down: y, across: x}).values()) for x in grid[across]]
                for y in grid[down]
            ]
            colours = _grid_panel(axes, [[cells[key] for key in row] for row in keys], scores)
            axes.set_title(", ".join(f"{_spoken(axis)} {fixed[axis]}" for axis in others))
            axes.set_xticks(range(len(grid[across])), grid[across])
            axes.set_yticks(range(len(grid[down])), grid[down])
        figure.supxlabel(_spoken(across), fontsize=9)
        figure.supylabel(_spoken(down), fontsize=9)
        bar = figure.colorbar(colours, ax=places, label="Dice on validation", aspect=25)
        bar.outline.set_visible(False)


def learning_curves(rows: Sequence[Mapping[str, float]], kept: float, path: Path | str) -> None:
    """Draws loss, Dice and learning rate over the epochs, and marks the epoch whose weights were kept.

    Args:
        rows: one an epoch, with `epoch`, `train_loss`, `validation_loss`, `validation_dice`, `learning_rate`
            and, if it was measured, `train_dice`. Values that are not finite leave a gap.
        kept: that epoch.
        path: the PNG to write.
    """
    epochs = [row["epoch"] for row in rows]
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
            axes.axvline(
                kept,
                color="#909090",
                linewidth=1,
                linestyle=(0, (4, 3)),
                label=f"kept: epoch {kept:g}",
            )
            if title == "Dice":
                axes.set_ylim(0, 1)
            axes.legend()


def faithfulness_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    chance: Mapping[str, Sequence[float]],
    path: Path | str,
    *,
    title: str,
) -> None:
    """Draws deletion and insertion curves beside those of a random order, a panel a layer.

    Args:
        curves: layer → `deletion` and `insertion` → the answer, in 0..1, at equal steps of the share of pixels; empty
            where no lesion is predicted, which the panel then says.
        chance: the same of a random order.
        path: the PNG to write.
        title: above the panels.
    """
    across = min(len(curves), 3)
    down = -(-len(curves) // across)
    with _figure(max(3.1 * across + 0.6, 4.8), 2.5 * down + 1.0, path) as figure:
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (layer, lines) in zip(panels, curves.items(), strict=False):
            axes.set(xlim=(0, 1), ylim=(0, 1), title=layer)
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            _curves_with_chance(axes, lines, chance)
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        for axes in panels[
            max(0, len(curves) - across) : len(curves)
        ]:  # those with nothing below them
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("pixels exchanged, %")
        for axes in panels[::across]:
            axes.set_ylabel("mean lesion probability")
        _line_legend(figure, list(chance))
        figure.suptitle(f"{title} · {NOTICE}", fontsize=9)


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
        panels[1].set_title(
            "ground truth" + ("" if truth is None or truth.any() else ": no lesion")
        )
        _outline(panels[2], prediction, PREDICTION)
        panels[2].set_title(
            "prediction"
            + ("" if prediction.any() else ": no lesion")
            + (f", {note}" if note else "")
        )
        colours = panels[3].imshow(
            heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.45 * np.clip(heat, 0, 1)
        )
        panels[3].set_title(
            f"Grad-CAM, layer: {layer}" + ("" if heat.any() else " (zero everywhere)")
        )
        _colour_bar(figure, panels[3], colours)
        figure.suptitle(f"{title} · {NOTICE}", fontsize=9)


def _grid_panel(axes: Axes, table: Sequence[Sequence[float | str]], scores: Sequence[float]) -> Any:
    """One heat map, its colours on the scale of `scores`; returns what a colour bar is made of."""
    from matplotlib.patches import Rectangle

    low, high = min(scores, default=0), max(scores, default=1)
    values = [[np.nan if isinstance(cell, str) else cell for cell in row] for row in table]
    colours = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_facecolor("#eeeeee")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (y, x), value in np.ndenumerate(values):
        cell = table[y][x]
        words, size = (cell, 7.0) if isinstance(cell, str) else (f"{cell:.3f}", 8.5)
        ink = "white" if value < 0.4 * low + 0.6 * high else _INK
        axes.text(x, y, words, ha="center", va="center", fontsize=size, color=ink)
        if value == high:
            axes.add_patch(
                Rectangle(
                    (x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=_LINES[1], linewidth=2.4
                )
            )
    return colours


def _grid_bars(
    axes: Axes, axis: str, cells: Mapping[str, float | str], scores: Sequence[float]
) -> None:
    """A bar for each value of the only axis that has several, the best in another colour."""
    heights = [0.0 if isinstance(cell, str) else cell for cell in cells.values()]
    words = [cell if isinstance(cell, str) else f"{cell:.3f}" for cell in cells.values()]
    best = [not isinstance(cell, str) and cell == max(scores) for cell in cells.values()]
    bars = axes.bar(
        list(cells), heights, width=0.6, color=[_LINES[1] if first else _LINES[0] for first in best]
    )
    axes.bar_label(bars, words, padding=2, fontsize=8)
    axes.grid(False, axis="x")
    axes.set_xlim(-0.7, len(cells) - 0.3)
    axes.set(
        ylim=(0, 1.15 * max(scores, default=1) or 1),
        xlabel=_spoken(axis),
        ylabel="Dice on validation",
    )


def _spoken(axis: str) -> str:
    return axis.replace("_", " ")


def _cycle() -> Iterator[str]:
    while True:
        yield from _LINES


@contextmanager
def _figure(width: float, height: float, path: Path | str) -> Iterator[Figure]:
    """A new figure of `width` × `height` inches; saved to `path` when the block ends well."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # a name in a script that the font lacks, or too long a name
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for words in figure.findobj(Text):
            assert isinstance(words, Text)
            words.set_text(_drawable(words.get_text()))
        figure.savefig(path, format="png", facecolor="white")


def _drawable(words: str) -> str:
    """`words` without what Matplotlib refuses, such as names that are not UTF-8, and not too long for a picture."""
    words = visible(words, keep="\n")
    return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]}…{words[-LONGEST // 2 :]}"


def _curves_with_chance(
    axes: Axes, lines: Mapping[str, Sequence[float]], chance: Mapping[str, Sequence[float]]
) -> None:
    dashes: Any = (0, (4, 3))
    for (name, values), colour in zip(lines.items(), _LINES, strict=False):
        at = np.linspace(0, 1, len(values))
        axes.plot(at, chance[name], color=colour, alpha=0.6, linewidth=1.2, linestyle=dashes)
        axes.plot(at, values, color=colour, clip_on=False)
    if not any(lines.values()):
        axes.text(
            0.5, 0.5, "no lesion predicted", transform=axes.transAxes, ha="center", va="center"
        )


def _line_legend(figure: Figure, names: Sequence[str]) -> None:
    """One legend for all panels: a colour a name, dashed for a random order."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colour, label=name)
        for name, colour in zip(names, _LINES, strict=False)
    ]
    lines.append(Line2D([], [], color="#909090", linestyle=(0, (4, 3)), label="in a random order"))
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    ink = tuple(value / 255 for value in colour)  # the colours of the reader's overlays
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[ink], linewidths=1.6)
    axes.contourf(mask, levels=[0.5, 1.5], colors=[ink], alpha=0.25)


def _say_instead(axes: Axes, words: str) -> None:
    axes.images[0].set_alpha(0.15)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=11)


def _colour_bar(figure: Figure, axes: Axes, colours: Any) -> None:
    bar = figure.colorbar(
        colours, cax=axes.inset_axes((1.02, 0, 0.04, 1))
    )  # as high as the picture
    assert bar.solids is not None
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label("relative weight", fontsize=8)
