"""The common style of all figures: colours, fonts, and one function that makes and saves a figure.

Figures are saved as PNG to the path given. A caller that must not leave half a file gives a temporary path
(`sonoseg.files.atomic_path`). Matplotlib is imported when the first figure is drawn. Its `pyplot` is never used: it
opens windows and shares state between threads.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoseg.errors import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 160
"""Most characters of a text in a picture. The middle of a longer one is left out."""
INK = "#333333"
"""Colour of texts and axes."""
FAINT = "#909090"
"""Colour of lines that are not data."""
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d31", "#56b4e9")
"""Colours of lines, which colour-blind people can tell apart (Okabe and Ito)."""
DASHES: Any = (0, (4, 3))
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so it is the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "text.parse_math": False,  # a $ in the name of a file does not start a formula
}


@contextmanager
def new_figure(width: float, height: float, path: Path | str) -> Iterator[Figure]:
    """Makes a figure of `width` × `height` inches, and saves it to `path` if the block ends without an error."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Matplotlib warns if the font lacks the script of a name, or if a name is too long.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_text(_drawable(text.get_text()))
        figure.savefig(path, format="png", facecolor="white")


def colours() -> Iterator[str]:
    """The colours of `LINES`, again and again."""
    return itertools.cycle(LINES)


def draw_diagonal(axes: Axes, label: str) -> None:
    """Draws a dashed line from (0, 0) to (1, 1)."""
    axes.plot(
        [0, 1], [0, 1], color="#b0b0b0", linewidth=1, linestyle=DASHES, label=label
    )


def write_in_middle(axes: Axes, text: str, **style: Any) -> None:
    """Writes a text into the middle of the axes, for example instead of missing data."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **style
    )


def _drawable(text: str) -> str:
    """The text without characters that Matplotlib refuses, such as names that are not UTF-8, and not too long."""
    text = visible(text, keep="\n")
    if len(text) <= LONGEST:
        return text
    start = text[: LONGEST // 2]
    end = text[-LONGEST // 2 :]
    return f"{start}…{end}"
