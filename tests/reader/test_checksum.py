"""Only a file with a right checksum is read whole; what is none costs no memory, whatever its size."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sonoseg.errors import InputError
from sonoseg.reader import checksum
from sonoseg.reader.checksum import CHECKSUM_MARK, add_checksum, read_checked

MARK = (CHECKSUM_MARK + "0" * 64).encode()


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("chunk", [100, 101, 163, 4096])
@pytest.mark.parametrize("before", [1, 20, 35, 99, 100, 163, 200])
def test_content_and_checksum_come_back_wherever_the_mark_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, before: int
) -> None:
    monkeypatch.setattr(checksum, "_CHUNK", chunk)
    content = add_checksum(b"\x08" * before + MARK + b"more" * 60)
    read, digits = read_checked(_write(tmp_path, content))
    assert read == content
    assert (CHECKSUM_MARK + digits).encode() in content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x08" + MARK * 2, "is not a sonoseg bundle"),
        (b"\x08" + MARK + b"x" * 500 + MARK, "is not a sonoseg bundle"),
        (b"\x08" + MARK[:-1], "is not a sonoseg bundle"),
        (add_checksum(b"\x0a" + MARK), "is not a sonoseg bundle"),
        (add_checksum(b"\x08" + MARK) + b"\0", "has been altered"),
        (b"\x08" + MARK, "has been altered"),
    ],
)
def test_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str
) -> None:
    monkeypatch.setattr(checksum, "_CHUNK", 100)
    with pytest.raises(InputError, match=problem):
        read_checked(_write(tmp_path, content))


def _huge(path: Path, size: int, start: bytes) -> None:
    path.write_bytes(start)
    os.truncate(path, size)  # takes no room on the disk


@pytest.mark.parametrize("start", [b"", b"\x08", b"\x08" + MARK])
def test_a_large_file_that_is_no_bundle_takes_little_memory(
    tmp_path: Path, start: bytes
) -> None:
    path = tmp_path / "model.onnx"
    _huge(path, 200 << 20, start)
    tracemalloc.start()
    try:
        with pytest.raises(
            InputError, match=r"model\.onnx: (is not a sonoseg bundle|has been altered)"
        ):
            read_checked(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_file_larger_than_any_onnx_is_refused_without_reading_it(
    tmp_path: Path,
) -> None:
    _huge(tmp_path / "model.onnx", 1 << 40, b"\x08" + MARK)
    with pytest.raises(InputError, match="is not a sonoseg bundle"):
        read_checked(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "kind", ["pipe", "folder", "device", "gone", "empty", "long", "null"]
)
def test_a_model_that_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    from sonoseg.reader.bundle import Bundle

    path = tmp_path / "model.onnx"
    makers: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "empty": path.touch,
    }
    makers.get(kind, lambda: None)()
    named = {
        "device": Path("/dev/zero"),
        "long": tmp_path / ("x" * 5000),
        "null": tmp_path / "a\0b",
    }.get(kind, path)
    with pytest.raises(
        InputError,
        match=r"no such file|is a folder|is not a regular file|is an empty file",
    ):
        Bundle.read(named)
