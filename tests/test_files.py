"""What is there, and files that are written whole or not at all, whatever is in their place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonoseg import temporary
from sonoseg.errors import InputError
from sonoseg.files import (
    atomic_path,
    check_target,
    file_size,
    is_file,
    is_folder,
    is_there,
    output_file,
    output_folder,
    write_text,
)

LONG = "a" * 300


@pytest.mark.parametrize(
    "name",
    ["gone", LONG, f"{'d/' * 3000}x", "null\0byte", "file/inside", "dangling", "loop"],
)
def test_what_is_not_there_is_not_there_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    assert (is_there(path), is_file(path), is_folder(path), file_size(path)) == (
        False,
        False,
        False,
        0,
    )


def test_files_folders_and_pipes_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("four")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    kinds = {
        name: (is_there(tmp_path / name), is_file(tmp_path / name))
        for name in ("file", "link", "pipe", "")
    }
    assert kinds == {
        "file": (True, True),
        "link": (True, True),
        "pipe": (True, False),
        "": (True, False),
    }
    assert (is_folder(tmp_path), file_size(tmp_path / "file")) == (True, 4)


def test_a_folder_that_may_not_be_entered_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sonoseg.files.os.stat", refuse)
    for ask in (is_there, is_file, is_folder, file_size, check_target):
        with pytest.raises(
            InputError,
            match="locked/a: no permission to look there; change the permissions",
        ):
            ask("locked/a")


def _device_to_null(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, _device_to_null])
def test_only_files_are_replaced(tmp_path: Path, make) -> None:
    target = tmp_path / "target.csv"
    make(target)
    before = target.lstat()
    for write in (lambda: write_text(target, "x"), lambda: output_file(target)):
        with pytest.raises(
            InputError,
            match=r"target\.csv: is a (folder|device or a pipe), not a file; ",
        ):
            write()
    assert (target.lstat().st_ino, target.lstat().st_mode) == (
        before.st_ino,
        before.st_mode,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["target.csv"]


@pytest.mark.parametrize("name", [".", "", "..", "/", "inside/.."])
def test_a_path_that_names_a_folder_is_no_output_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path)
    for write in (lambda: write_text(name, "x"), lambda: output_file(name)):
        with pytest.raises(
            InputError, match="is a folder, not a file; give the name of a file"
        ):
            write()


def test_an_output_file_gets_its_folder(tmp_path: Path) -> None:
    write_text(output_file(tmp_path / "new" / "deep" / "x.json"), "1")
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["x.json"]


def test_a_name_that_is_too_long_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    for name in (f"{LONG}.csv", f"a.{LONG}"):
        with pytest.raises(
            InputError,
            match="the file name is too long for this disk; choose a shorter name",
        ):
            write_text(tmp_path / name, "x")
    with pytest.raises(InputError, match="the file name is too long"):
        output_folder(tmp_path / LONG)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_not_utf8_are_written_as_escapes(tmp_path: Path) -> None:
    write_text(tmp_path / os.fsdecode(b"caf\xe9.csv"), os.fsdecode(b"caf\xe9,\xc3\xa9"))
    (file,) = tmp_path.iterdir()
    assert os.fsencode(file.name) == b"caf\xe9.csv"
    assert file.read_text(encoding="utf-8") == "caf\\udce9,é"


KILLED = """
import os, signal, sys
from sonoseg.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_command_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.png")])
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".sonoseg-")
    assert left.suffix == ".png"
    write_text(tmp_path / "b.csv", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]


def test_temporary_files_at_work_and_files_of_others_are_left(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as own:
        machine = own.name.split("-")[1]
    kept = {
        f".sonoseg-{machine}-{os.getppid()}-00000000.png",  # its process is at work
        ".sonoseg-ffffffff-1-00000000.png",  # another machine's
        ".sonoseg-notes.txt",
        ".sonoseg-ffffffff-1-00000002.png",  # made a folder below
    }
    gone = {
        ".sonoseg-ffffffff-1-00000001.png",  # another machine's, abandoned
        f".sonoseg-{machine}-{os.getpid()}-00000000",  # of a process before this, of the same number
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in kept | gone:
        (folder / name).touch() if not name.endswith("2.png") else (
            folder / name
        ).mkdir()
        if name.endswith(("1.png", "2.png")):
            os.utime(folder / name, (time.time() - 1e6,) * 2)
    output_folder(folder)
    assert {path.name for path in folder.iterdir()} == kept


def test_a_file_that_this_process_is_writing_is_left(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as own:
        own.write_text("x")
        temporary.remove_abandoned.cache_clear()
        output_folder(tmp_path)
        assert own.read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
