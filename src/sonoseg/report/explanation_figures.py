"""Figures of explanations: four panels for an image, and the deletion and insertion curves of heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.reader.overlay import NOTICE, PREDICTION, TRUTH
from sonoseg.report.style import DASHES, FAINT, LINES, new_figure, write_in_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[float]]
"""deletion and insertion → mean probability of lesion, in 0..1, at equal steps of the share of pixels."""


def faithfulness_figure(
    curves: Mapping[str, Curves], chance: Curves, path: Path | str, *, title: str
) -> None:
    """Draws deletion and insertion curves beside those of a random order, one panel per layer.

    Args:
        curves: layer → its curves; empty ones if no lesion is predicted, the panel then says so.
        chance: the curves of a random order.
        path: the PNG to write.
        title: above the panels.
    """
    across = min(len(curves), 3)
    down = -(-len(curves) // across)  # rounded up
    with new_figure(max(3.1 * across + 0.6, 4.8), 2.5 * down + 1.0, path) as figure:
        panels = figure.subplots(
            down, across, sharex=True, sharey=True, squeeze=False
        ).ravel()
        for axes, (layer, lines) in zip(panels, curves.items(), strict=False):
            axes.set(xlim=(0, 1), ylim=(0, 1), title=layer)
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            _curves_with_chance(axes, lines, chance)
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        first_without_panel_below = max(0, len(curves) - across)
        for axes in panels[first_without_panel_below : len(curves)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("pixels exchanged, %")
        for axes in panels[::across]:
            axes.set_ylabel("mean lesion probability")
        _line_legend(figure, list(chance))
        figure.suptitle(f"{title} · {NOTICE}", fontsize=9)


def _curves_with_chance(axes: Axes, lines: Curves, chance: Curves) -> None:
    for (name, values), colour in zip(lines.items(), LINES, strict=False):
        shares = np.linspace(0, 1, len(values))
        axes.plot(
            shares,
            chance[name],
            color=colour,
            alpha=0.6,
            linewidth=1.2,
            linestyle=DASHES,
        )
        axes.plot(shares, values, color=colour, clip_on=False)
    if not any(lines.values()):
        write_in_middle(axes, "no lesion predicted")


def _line_legend(figure: Figure, names: Sequence[str]) -> None:
    """One legend for all panels: one colour per name, dashes for a random order."""
    from matplotlib.lines import Line2D

    lines = []
    for name, colour in zip(names, LINES, strict=False):
        lines.append(Line2D([], [], color=colour, label=name))
    lines.append(
        Line2D([], [], color=FAINT, linestyle=DASHES, label="in a random order")
    )
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))


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
    """Draws original, ground truth, prediction and heat map side by side, each over the image.

    Args:
        path: the PNG to write.
        image: (H, W) gray.
        truth: (H, W); None if it is not known, the panel then says so.
        prediction: (H, W).
        heat: (H, W) in 0..1.
        layer: the layer of the heat map, named in the picture.
        title: above the panels (image and model).
        note: added to the caption of the prediction, such as its Dice.
    """
    aspect = min(max(image.shape[0] / image.shape[1], 0.4), 2.0)
    with new_figure(12.6, 3.0 * aspect + 0.75, path) as figure:
        original, known, predicted, explained = figure.subplots(1, 4)
        for axes in (original, known, predicted, explained):
            axes.set_axis_off()
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        original.set_title("original")
        _draw_truth(known, truth)
        _outline(predicted, prediction, PREDICTION)
        words = "prediction" if prediction.any() else "prediction: no lesion"
        predicted.set_title(f"{words}, {note}" if note else words)
        opacity = 0.25 + 0.45 * np.clip(heat, 0, 1)
        colours = explained.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=opacity)
        words = f"Grad-CAM, layer: {layer}"
        explained.set_title(words if heat.any() else f"{words} (zero everywhere)")
        _colour_bar(figure, explained, colours)
        figure.suptitle(f"{title} · {NOTICE}", fontsize=9)


def _draw_truth(axes: Axes, truth: NDArray[np.bool_] | None) -> None:
    axes.set_title("ground truth")
    if truth is None:
        axes.images[0].set_alpha(0.15)
        write_in_middle(axes, "no ground truth", fontsize=11)
        return
    _outline(axes, truth, TRUTH)
    if not truth.any():
        axes.set_title("ground truth: no lesion")


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """Draws border and area of a mask in a colour of the reader's overlays."""
    ink = tuple(value / 255 for value in colour)
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[ink], linewidths=1.6)
    axes.contourf(mask, levels=[0.5, 1.5], colors=[ink], alpha=0.25)


def _colour_bar(figure: Figure, axes: Axes, colours: Any) -> None:
    place = axes.inset_axes((1.02, 0, 0.04, 1))  # as high as the picture
    bar = figure.colorbar(colours, cax=place)
    assert bar.solids is not None
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.set_label("relative weight", fontsize=8)
