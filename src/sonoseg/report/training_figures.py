"""Figures of trainings: learning curves, and the scores of a grid search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonoseg.report.style import DASHES, FAINT, INK, LINES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Grid = Mapping[str, Sequence[str]]
"""Axis of a grid search → its values."""
Score = float | str
"""A score in 0..1, or a word such as "failed"."""
_PANELS = {
    "loss": {"training": "train_loss", "validation": "validation_loss"},
    "Dice": {"training": "train_dice", "validation": "validation_dice"},
    "learning rate": {"": "learning_rate"},
}
"""Title of a panel → label of a line → column of the log."""


def learning_curves(
    rows: Sequence[Mapping[str, float]], kept: float, path: Path | str
) -> None:
    """Draws loss, Dice and learning rate over the epochs, and marks the epoch whose weights were kept.

    Args:
        rows: one per epoch, with `epoch`, `train_loss`, `validation_loss`, `validation_dice`, `learning_rate` and
            perhaps `train_dice`. Values that are not finite leave a gap.
        kept: the epoch whose weights were kept.
        path: the PNG to write.
    """
    epochs = [row["epoch"] for row in rows]
    with new_figure(10.5, 3.1, path) as figure:
        panels = figure.subplots(1, len(_PANELS))
        for axes, (title, lines) in zip(panels, _PANELS.items(), strict=True):
            for (label, column), colour in zip(lines.items(), LINES, strict=False):
                if column in rows[0]:
                    values = [row[column] for row in rows]
                    axes.plot(
                        epochs,
                        values,
                        color=colour,
                        label=label,
                        marker=".",
                        markersize=4,
                    )
            axes.set(title=title, xlabel="epoch", xlim=(0, max(epochs) + 1))
            axes.xaxis.get_major_locator().set_params(integer=True)
            if title == "learning rate":
                axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
                axes.set_ylim(bottom=0)
                continue
            label = f"kept: epoch {kept:g}"
            axes.axvline(kept, color=FAINT, linewidth=1, linestyle=DASHES, label=label)
            if title == "Dice":
                axes.set_ylim(0, 1)
            axes.legend()


def grid_figure(
    grid: Grid, cells: Mapping[tuple[str, ...], Score], path: Path | str
) -> None:
    """Draws the scores of a grid search. The best one has a frame.

    The first two axes with more than one value are rows and columns of heat maps. There is one heat map for each
    combination of the other axes. If only one axis has more than one value, its scores are drawn as bars.

    Args:
        grid: axis → its values.
        cells: one value per axis → score in 0..1, or a word such as "failed".
        path: the PNG to write.
    """
    scores = [cell for cell in cells.values() if not isinstance(cell, str)]
    long_axes = [axis for axis, values in grid.items() if len(values) > 1]
    if len(long_axes) >= 2:
        _grid_heat_maps(grid, long_axes, cells, scores, path)
        return
    axis = (long_axes or list(grid))[0]
    width = 1.2 + len(cells) * max(0.8, 0.1 * _longest(grid[axis]))
    with new_figure(max(3.6, width), 3.2, path) as figure:
        bars = dict(zip(grid[axis], cells.values(), strict=True))
        _grid_bars(figure.subplots(), axis, bars, scores)


def _longest(words: Sequence[str]) -> int:
    return max(len(word) for word in words)


def _grid_heat_maps(
    grid: Grid,
    long_axes: Sequence[str],
    cells: Mapping[tuple[str, ...], Score],
    scores: Sequence[float],
    path: Path | str,
) -> None:
    down, across = long_axes[:2]
    others = long_axes[2:]
    panels = list(itertools.product(*(grid[axis] for axis in others)))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)  # rounded up
    width = max(0.62, 0.085 * _longest(grid[across])) * len(grid[across]) + 0.3
    height = 0.45 * len(grid[down]) + 0.4
    with new_figure(columns * width + 1.6, rows * height + 0.6, path) as figure:
        places = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in places.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(places.flat, panels, strict=False):
            fixed = {axis: values[0] for axis, values in grid.items()}
            fixed.update(zip(others, panel, strict=True))
            table = _grid_table(grid, down, across, fixed, cells)
            colours = _grid_panel(axes, table, scores)
            axes.set_title(
                ", ".join(f"{_spoken(axis)} {fixed[axis]}" for axis in others)
            )
            axes.set_xticks(range(len(grid[across])), grid[across])
            axes.set_yticks(range(len(grid[down])), grid[down])
        figure.supxlabel(_spoken(across), fontsize=9)
        figure.supylabel(_spoken(down), fontsize=9)
        bar = figure.colorbar(colours, ax=places, label="Dice on validation", aspect=25)
        bar.outline.set_visible(False)


def _grid_table(
    grid: Grid,
    down: str,
    across: str,
    fixed: Mapping[str, str],
    cells: Mapping[tuple[str, ...], Score],
) -> list[list[Score]]:
    """The cells of one heat map, row by row. `fixed` has the values of the other axes, in the order of the grid."""
    table = []
    for y in grid[down]:
        row = []
        for x in grid[across]:
            place = {**fixed, down: y, across: x}
            row.append(cells[tuple(place.values())])
        table.append(row)
    return table


def _grid_panel(
    axes: Axes, table: Sequence[Sequence[Score]], scores: Sequence[float]
) -> Any:
    """Draws one heat map with colours on the scale of `scores`, and returns what a colour bar is made of."""
    low = min(scores, default=0)
    high = max(scores, default=1)
    values = np.array([_heights(row, np.nan) for row in table])
    colours = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_facecolor("#eeeeee")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (y, x), value in np.ndenumerate(values):
        cell = table[y][x]
        size = 7.0 if isinstance(cell, str) else 8.5
        ink = "white" if value < 0.4 * low + 0.6 * high else INK
        axes.text(x, y, _word(cell), ha="center", va="center", fontsize=size, color=ink)
        if value == high:
            _frame(axes, x, y)
    return colours


def _heights(row: Sequence[Score], missing: float) -> list[float]:
    """The scores of a row; `missing` in the place of words."""
    return [missing if isinstance(cell, str) else cell for cell in row]


def _word(cell: Score) -> str:
    return cell if isinstance(cell, str) else f"{cell:.3f}"


def _frame(axes: Axes, x: int, y: int) -> None:
    """Draws a frame around a cell."""
    from matplotlib.patches import Rectangle

    corner = (x - 0.46, y - 0.46)
    frame = Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=LINES[1], linewidth=2.4)
    axes.add_patch(frame)


def _grid_bars(
    axes: Axes, axis: str, cells: Mapping[str, Score], scores: Sequence[float]
) -> None:
    """Draws one bar per value of the only axis with several values. The best bar has another colour."""
    highest = max(scores, default=1)
    shown = list(cells.values())
    colours = [LINES[1] if cell == highest else LINES[0] for cell in shown]
    bars = axes.bar(list(cells), _heights(shown, 0.0), width=0.6, color=colours)
    axes.bar_label(bars, [_word(cell) for cell in shown], padding=2, fontsize=8)
    axes.grid(False, axis="x")
    axes.set_xlim(-0.7, len(cells) - 0.3)
    axes.set_ylim(0, 1.15 * highest or 1)
    axes.set(xlabel=_spoken(axis), ylabel="Dice on validation")


def _spoken(axis: str) -> str:
    return axis.replace("_", " ")
