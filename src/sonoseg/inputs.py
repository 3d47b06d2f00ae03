"""Reading what a user gives: only regular files, of a size that fits the memory, and only text that is text."""

from __future__ import annotations

import codecs
import itertools
import json
import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError

TEXT_LIMIT = 32 << 20
"""Bytes that a table or a JSON file may have."""
DEEPEST = 64
"""Levels of a JSON file; ours have six."""
_ENCODINGS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell must begin with for a spreadsheet to take it for a formula."""


def readable_file(path: Path | str) -> Path:
    """`path`, when it is a file with something in it that may be read.

    Raises:
        InputError: nothing is there, it is a folder, a device, empty, or reading it is not permitted.
    """
    path, size = _regular_file(path)
    if size == 0:
        raise InputError(path, "is an empty file", "copy or export it again")
    return path


def read_bytes(path: Path | str, limit: int = TEXT_LIMIT) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        InputError: as `readable_file`, but for an empty one; it is larger, or the disk fails.
    """
    path, size = _regular_file(path)
    content = b""
    if size <= limit:
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InputError(
                path, f"cannot be read ({error.strerror})", "check the disk"
            ) from error
    if size > limit or len(content) > limit:
        raise InputError(
            path,
            f"is larger than {limit / 1e6:.0f} MB",
            "check that it is the right file",
        )
    return content


def read_text(path: Path | str, limit: int = TEXT_LIMIT) -> str:
    """A text file: UTF-8, or UTF-16 or UTF-32 that begins with its mark, as spreadsheets save them.

    Raises:
        InputError: as `read_bytes`, or it is not such text.
    """
    content = read_bytes(path, limit)
    encoding = next(
        (name for mark, name in _ENCODINGS if content.startswith(mark)), "utf-8-sig"
    )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            path, f"is not text in UTF-8 ({error.reason})", "save it again as UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(
            path,
            "is not text in UTF-8 (it has null characters)",
            "save it again as UTF-8",
        )
    return text


def read_json(path: Path | str, limit: int = TEXT_LIMIT) -> Any:
    """The value in a JSON file; every number in it is finite, and it can be walked through by recursion.

    Raises:
        InputError: as `read_text`, or it is not JSON, or holds NaN or a number too large for a float, or lists and
            objects lie in each other over `DEEPEST` levels deep.
    """
    text = read_text(path, limit)
    hint = "check that it is the right file, or make it again"
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not JSON ({error})", hint) from error
    if text.count("[") + text.count("{") > DEEPEST and not _is_shallow(value):
        raise InputError(path, f"is nested over {DEEPEST} levels deep", hint)
    return value


def _is_shallow(value: Any) -> bool:
    """Whether lists and objects in a JSON value lie in each other at most `DEEPEST` levels deep."""
    level = _parts([value])
    for _ in range(DEEPEST):
        inside = [each.values() if isinstance(each, dict) else each for each in level]
        level = _parts(itertools.chain.from_iterable(inside))
    return not level


def _parts(values: Iterable[Any]) -> list[Any]:
    """Those of `values` that hold others."""
    return [value for value in values if isinstance(value, (dict, list))]


def guard_cell(text: str) -> str:
    """`text` for a CSV file, so that no spreadsheet takes it for a formula: an apostrophe before =, +, -, @ and others.

    Numbers stay as they are. `unguard_cell` takes the apostrophe away again.
    """
    return f"'{text}" if _is_formula(text) and not _is_number(text) else text


def unguard_cell(text: str) -> str:
    """What `guard_cell` made `text` of."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA)


def _is_number(text: str) -> bool:
    if text != text.strip():
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _regular_file(path: Path | str) -> tuple[Path, int]:
    """`path` and its size in bytes; opens nothing but a regular file, so that no pipe is waited for."""
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except PermissionError as error:
        raise InputError(
            path, "no permission to read it", "change its permissions"
        ) from error
    except (OSError, ValueError) as error:
        if _is_link(path):
            raise InputError(
                path,
                "is a link to a file that is not there",
                "fetch or restore that file",
            ) from error
        raise InputError(path, "no such file", "check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(path, "is a folder, not a file", "give a file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, "is not a regular file", "give a file on disk")
    return path, status.st_size


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is too large a number")
    return value
