"""One table of the report, with its cells as numbers for CSV and, if they differ, as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sonoseg.report.tables import Cell, csv_number, csv_text


@dataclass(frozen=True)
class ReportTable:
    """One table of the report.

    Attributes:
        name: of its CSV file.
        title: its heading.
        caption: what it shows.
        header: names of the columns of the CSV.
        rows: its cells as numbers.
        shown_header, shown_rows: the same in fewer columns, for people; empty: as in the CSV.
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: list[list[Cell]]
    shown_header: tuple[str, ...] = ()
    shown_rows: tuple[list[Cell], ...] = ()

    def shown(self) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
        """Returns header and rows for people."""
        if self.shown_header:
            return self.shown_header, self.shown_rows
        return self.header, self.rows

    def to_csv(self) -> str:
        """Returns the table as CSV, numbers with six significant digits."""
        rows = []
        for row in self.rows:
            rows.append(
                [csv_number(cell) if isinstance(cell, float) else cell for cell in row]
            )
        return csv_text(self.header, rows)
