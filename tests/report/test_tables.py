"""Tables for the terminal and for Markdown."""

from __future__ import annotations

import pytest

from sonoseg.report.tables import markdown_table, text_table

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
