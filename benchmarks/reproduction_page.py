"""Copies the tables of a reproduction's report into docs/reproduction.md.

    python benchmarks/reproduction_page.py

Each block of the page begins with `<!-- report: TITLE -->` and ends with `<!-- /report -->`. Between them stands the
table of that title from results/reproduction/report.md, which `sonoseg reproduce --report-only` writes: the page
says how.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
REPORT = ROOT / "results" / "reproduction" / "report.md"
BLOCK = re.compile(r"<!-- report: (?P<title>.+?) -->\n.*?<!-- /report -->", re.DOTALL)


def table_of(report: str, title: str) -> str:
    """The table under the heading `title` of the report.

    Raises:
        SystemExit: there is no such table.
    """
    pattern = rf"^## {re.escape(title)}\n\n.+?\n\n(?P<table>\|.+?)\n\n"
    found = re.search(pattern, report + "\n", re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"{REPORT}: has no table {title}")
    return found["table"]


def filled(page: str, report: str) -> str:
    """The page with every block as in the report."""

    def block(match: re.Match[str]) -> str:
        title = match["title"]
        return (
            f"<!-- report: {title} -->\n\n{table_of(report, title)}\n\n<!-- /report -->"
        )

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(
        filled(PAGE.read_text(encoding="utf-8"), REPORT.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
