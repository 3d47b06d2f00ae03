"""Small tables for the terminal and for Markdown, aligned: words to the left, numbers to the right."""

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
    """A table for the terminal, without a newline at its end.

    Args:
        header: the names of the columns.
        rows: as many cells each; whole numbers get thousands separators, others three decimals, None "–".
    """
    return "\n".join("  ".join(line).rstrip() for line in _aligned(header, rows, rule="─"))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The same table in Markdown, columns of numbers aligned to the right."""
    escaped = [[_markdown_cell(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in _aligned(header, escaped, rule="-"))


def markdown_text(text: str) -> str:
    """`text` for Markdown, so that what looks like HTML in it is shown and not obeyed."""
    return html.escape(visible(text, keep="\n"), quote=False)


def _markdown_cell(cell: Cell) -> Cell:
    return markdown_text(visible(cell)).replace("|", "\\|") if isinstance(cell, str) else cell


def _aligned(header: Sequence[str], rows: Sequence[Sequence[Cell]], rule: str) -> list[list[str]]:
    """Header, rule and rows as text, every column padded to one width."""
    lines = [list(header)]
    lines += [[visible(cell_text(cell)) for cell in row] for row in rows]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"a row has another number of cells than the header's {len(header)}")
    columns: list[list[str]] = []
    for name, *cells in zip(*lines, strict=True):
        column = len(columns)
        numbers = bool(rows) and all(not isinstance(row[column], str) for row in rows)
        width = max(3, *(len(cell) for cell in (name, *cells)))
        line = rule * (width - 1) + ":" if numbers and rule == "-" else rule * width
        pad = str.rjust if numbers else str.ljust
        columns.append([pad(name, width), line, *(pad(cell, width) for cell in cells)])
    return [list(line) for line in zip(*columns, strict=True)]


def cell_text(cell: Cell) -> str:
    """Whole numbers with thousands separators, others with three decimals, None as "–", words as they are.

    What is greater than 0 but would be rounded to it is "< 0.001".
    """
    if cell is None:
        return "–"
    if isinstance(cell, float):
        if 0 < cell < 0.0005:
            return "< 0.001"
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same table as CSV, its cells as they are, but for text that a spreadsheet would take for a formula.

    `data.listing.read_table` reads that text back as it was.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([guard_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def csv_number(value: float | None) -> str:
    """A number for CSV, of six digits; nothing where there is no value."""
    return "" if value is None else f"{value:.6g}"
