"""Small tables as text for the terminal, Markdown and CSV. Words are aligned to the left, numbers to the right."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from typing import Any

from sonoseg.errors import visible
from sonoseg.inputs import guard_cell

Cell = str | int | float | None


def text_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Returns a table for the terminal, without a newline at its end.

    Args:
        header: the names of the columns.
        rows: one cell per column, see `cell_text`.

    Raises:
        ValueError: a row has another number of cells.
    """
    lines = ["  ".join(cells).rstrip() for cells in _aligned(header, rows, rule="─")]
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Returns the same table in Markdown, columns of numbers aligned to the right."""
    escaped = []
    for row in rows:
        escaped.append([_markdown_cell(cell) for cell in row])
    lines = [
        f"| {' | '.join(cells)} |" for cells in _aligned(header, escaped, rule="-")
    ]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """Returns `text` for Markdown. HTML in it is shown as text."""
    return html.escape(visible(text, keep="\n"), quote=False)


def _markdown_cell(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    return markdown_text(visible(cell)).replace("|", "\\|")


def _aligned(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], rule: str
) -> list[list[str]]:
    """Header, rule and rows as text. The texts of a column have the same width."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(
            f"a row has another number of cells than the header's {len(header)}"
        )
    columns = []
    for number, name in enumerate(header):
        cells = [row[number] for row in rows]
        columns.append(_aligned_column(name, cells, rule))
    return [list(line) for line in zip(*columns, strict=True)]


def _aligned_column(name: str, cells: Sequence[Cell], rule: str) -> list[str]:
    """Name, rule and cells of one column, padded to one width."""
    texts = [visible(cell_text(cell)) for cell in cells]
    is_numeric = bool(cells) and all(not isinstance(cell, str) for cell in cells)
    width = max(3, len(name), max(map(len, texts), default=0))
    line = rule * width
    if is_numeric and rule == "-":  # Markdown's sign for alignment to the right
        line = rule * (width - 1) + ":"
    pad = str.rjust if is_numeric else str.ljust
    padded = [pad(text, width) for text in texts]
    return [pad(name, width), line] + padded  # noqa: RUF005 - one list after another


def cell_text(cell: Cell) -> str:
    """Returns the text of a cell for people.

    Whole numbers get thousands separators, other numbers three decimals. None is "–". Words stay the same. A number
    above 0 that would be rounded to 0 is "< 0.001".
    """
    if cell is None:
        return "–"
    if isinstance(cell, float):
        if 0 < cell < 0.0005:
            return "< 0.001"
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def interval_text(interval: Sequence[float] | None, form: str = ".3f") -> str:
    """Returns an interval for people, such as "0.641 to 0.712"; "–" for None.

    Args:
        interval: lower and upper end.
        form: of both numbers, as in `format`.
    """
    if interval is None:
        return "–"
    low, high = interval
    return f"{low:{form}} to {high:{form}}"


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns the same table as CSV. Text that a spreadsheet would take for a formula is guarded.

    `sonoseg.data.scan.read_table` removes the guard when it reads the text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        guarded = [guard_cell(cell) if isinstance(cell, str) else cell for cell in row]
        writer.writerow(guarded)
    return text.getvalue()


def csv_number(value: float | None) -> str:
    """Returns a number for CSV with six significant digits; "" for None."""
    return "" if value is None else f"{value:.6g}"
