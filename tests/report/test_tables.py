"""Tables for the terminal and for Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoseg.data.scan import read_table
from sonoseg.report.tables import (
    csv_number,
    csv_text,
    markdown_table,
    markdown_text,
    text_table,
)

HEADER = ["model", "Dice", "parameters"]
ROWS = [["model-1", 0.614, 23881989], ["swin-unet", None, 27168132]]


def test_a_text_table_is_aligned_words_left_numbers_right() -> None:
    assert text_table(HEADER, ROWS).splitlines() == [
        "model       Dice  parameters",
        "─────────  ─────  ──────────",
        "model-1    0.614  23,881,989",
        "swin-unet      –  27,168,132",
    ]


def test_a_markdown_table_says_which_columns_are_numbers() -> None:
    assert markdown_table(HEADER, ROWS).splitlines() == [
        "| model     |  Dice | parameters |",
        "| --------- | ----: | ---------: |",
        "| model-1   | 0.614 | 23,881,989 |",
        "| swin-unet |     – | 27,168,132 |",
    ]


def test_a_pipe_in_a_markdown_cell_does_not_split_it() -> None:
    assert markdown_table(["name"], [["a|b"]]).splitlines()[-1] == "| a\\|b |"


def test_what_is_not_nothing_is_not_rounded_to_it() -> None:
    cells = [0.0, 1e-9, 0.0006, -1e-9]
    assert markdown_table(["p"], [[cell] for cell in cells]).splitlines()[2:] == [
        "|   0.000 |", "| < 0.001 |", "|   0.001 |", "|  -0.000 |",
    ]  # fmt: skip


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(["model"], []) == "model\n─────"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="header's 3"):
        text_table(HEADER, [["model-1", 0.5]])


def test_names_are_no_formulas_in_csv_and_are_read_back_as_they_were(
    tmp_path: Path,
) -> None:
    names = ["=HYPERLINK(0).png", "+1+1", "-2+3", "@SUM(A1)", "'=1", "a.png", "a, b"]
    header = ["file", "group", "value"]
    text = csv_text(header, [[name, name, csv_number(-0.5)] for name in names])
    assert text.splitlines()[1:3] == [
        "'=HYPERLINK(0).png,'=HYPERLINK(0).png,-0.5",
        "'+1+1,'+1+1,-0.5",
    ]
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    rows = [
        [row[name] for name in header] for row in read_table(tmp_path / "x.csv", header)
    ]
    assert rows == [[name, name, "-0.5"] for name in names]


def test_markup_in_markdown_is_shown_and_not_obeyed() -> None:
    name = "<img src=x onerror=alert(1)>|\n\x1b.png"
    assert markdown_text(name) == "&lt;img src=x onerror=alert(1)&gt;|\n\\x1b.png"
    assert markdown_table(["name"], [[name]]).splitlines()[2:] == [
        "| &lt;img src=x onerror=alert(1)&gt;\\|\\n\\x1b.png |"
    ]


def test_control_characters_of_a_cell_are_shown() -> None:
    assert text_table(["model"], [["a\x1b[2J\nb"]]).splitlines()[-1] == r"a\x1b[2J\nb"
