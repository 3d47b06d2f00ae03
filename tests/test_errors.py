"""The one line of an error, whatever the name of the file."""

from __future__ import annotations

import pytest

from sonoseg.errors import InputError, counted, visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain (1).png", "plain (1).png"),
        ("two  blanks ", "two  blanks "),
        ("é 漢 हि.png", "é 漢 हि.png"),
        ("a\x1b[2J\x07", r"a\x1b[2J\x07"),
        ("a\nsonoseg: b", r"a\nsonoseg: b"),
        ("a\r\t\x9b1m\x7f", r"a\r\t\x9b1m\x7f"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("a\u2028b", r"a\u2028b"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_an_error_is_one_line_of_plain_characters(name: str, shown: str) -> None:
    error = InputError(name, f"is like\n  {name.split()[0]}", f"remove {name}")
    assert error.subject == name
    assert str(error) == f"{shown}: is like {visible(name.split()[0])}; remove {shown}"


def test_line_ends_of_a_text_can_be_kept() -> None:
    assert visible("a\n\x1bb\tc", keep="\n") == "a\n\\x1bb\\tc"


def test_one_of_a_thing_has_no_s() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2)] == [
        "0 frames",
        "1 frame",
        "2 frames",
    ]
