"""Only regular files of a sound size are read, and only text that is text; cells never begin a formula."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonoseg.errors import InputError
from sonoseg.inputs import (
    guard_cell,
    read_bytes,
    read_json,
    read_text,
    readable_file,
    unguard_cell,
)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "gone").symlink_to("nothing")
    for read in (readable_file, read_bytes, read_text, read_json):
        for name, problem in [
            ("", "is a folder"),
            ("pipe", "is not a regular file"),
            ("zero", "is not a regular file"),
            ("gone", "is a link to a file that is not there"),
            ("none", "no such file"),
            ("long" * 99, "no such file"),
            ("null\0byte", "no such file"),
        ]:
            with pytest.raises(InputError, match=problem):
                read(tmp_path / name)


def test_an_empty_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="is an empty file"):
        readable_file(tmp_path / "empty")


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    for read in (read_bytes, read_text, read_json):
        with pytest.raises(
            InputError,
            match=r"large: is larger than 34 MB; check that it is the right file",
        ):
            read(tmp_path / "large")
    (tmp_path / "large").write_bytes(b"12345")
    assert read_bytes(tmp_path / "large", limit=5) == b"12345"
    with pytest.raises(InputError, match="is larger than"):
        read_bytes(tmp_path / "large", limit=4)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_of_every_mark_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "text").write_bytes("é, 漢\r\n".encode(encoding))
    assert read_text(tmp_path / "text") == "é, 漢\r\n"


@pytest.mark.parametrize(
    "content",
    [b"caf\xe9", "a,b".encode("utf-16-le"), b"\xff\xfea", b"\x89PNG\r\n\x1a\n\0"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(
        InputError, match=r"is not text in UTF-8 \(.*\); save it again as UTF-8"
    ):
        read_text(tmp_path / "text")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "[-Infinity]",
        "1e999",
        "[" * 200_000,
        "9" * 5000,
        "{'a': 1}",
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x\.json: is not JSON \(.*\); check"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("levels", "good"), [(64, True), (65, False), (600, False), (900, False)]
)
def test_json_that_is_nested_too_deep_is_refused(
    tmp_path: Path, levels: int, good: bool
) -> None:
    file = tmp_path / "deep.json"
    for text in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels):
        file.write_text(text)
        if good:
            assert json.dumps(read_json(file), separators=(",", ":")) == text
            continue
        with pytest.raises(
            InputError,
            match="is nested over 64 levels deep; check that it is the right file",
        ):
            read_json(file)


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        '\ufeff{"a": [1, 2.5, null, "\\udce9"]}', encoding="utf-8"
    )
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None, "\udce9"]}


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-a.png", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1"]
)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert guard_cell(text) == f"'{text}"
    assert unguard_cell(guard_cell(text)) == text


@pytest.mark.parametrize(
    "text", ["", "a.png", "'a.png", "-0.5", "+1e-3", "-inf", "1-1", "a=b"]
)
def test_numbers_and_other_words_stay(text: str) -> None:
    assert guard_cell(text) == unguard_cell(text) == text


@given(st.text(alphabet="'=+-@\t1a"))
def test_what_was_guarded_is_read_back(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text
    assert not guard_cell(text).startswith(("=", "@", "\t"))
