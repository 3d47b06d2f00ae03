"""Several files appear together or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.files import atomic_files, atomic_path, write_error, write_text


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_files_appear_at_the_end_of_the_block(tmp_path: Path) -> None:
    with atomic_files():
        write_text(tmp_path / "a", "1")
        with atomic_files():  # belongs to the outer one
            write_text(tmp_path / "b", "2")
        assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    assert contents(tmp_path) == {"a": "1", "b": "2"}
    write_text(tmp_path / "c", "3")  # at once
    assert contents(tmp_path)["c"] == "3"


def test_an_error_in_the_block_leaves_all_old_files_and_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_files():
        write_text(tmp_path / "a", "new")
        write_text(tmp_path / "b", "new")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"a": "old"}


def test_an_error_in_an_inner_block_takes_only_its_own_files_away(
    tmp_path: Path,
) -> None:
    with atomic_files():
        write_text(tmp_path / "a", "1")
        with pytest.raises(InputError, match="name is too long"), atomic_files():
            write_text(tmp_path / "b", "2")
            write_text(tmp_path / ("c" * 300), "3")  # refused at once
        write_text(tmp_path / "d", "4")
    assert contents(tmp_path) == {"a": "1", "d": "4"}


def test_a_file_that_cannot_be_renamed_leaves_the_others_as_they_were(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="c: "), atomic_files():
        for name in "abc":
            write_text(tmp_path / name, "new")
    assert contents(tmp_path) == {"a": "old"}


@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_on_the_way_brings_the_old_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """As on Windows, where a table that is open in another program cannot be replaced."""
    for name in "ac":
        (tmp_path / name).write_text("old")
    replace = Path.replace

    def busy(self: Path, target: Path) -> Path:
        if Path(target).name == "c" and self.suffix != ".old":
            raise PermissionError(errno.EACCES, "in use")
        return replace(self, target)

    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(Path, "replace", busy)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(InputError, match="no permission to write here"), atomic_files():
        for name in "abc":
            write_text(tmp_path / name, "new")
    assert contents(tmp_path) == {"a": "old", "c": "old"}


def test_a_full_disk_is_the_machines_problem(tmp_path: Path) -> None:
    assert isinstance(write_error(tmp_path, OSError(errno.ENOSPC, "")), MachineError)
    with (
        pytest.raises(MachineError, match="the disk is full; free some space"),
        atomic_path(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"
            ),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shape '[4, 16]' is invalid"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_too_little_memory_is_told_from_other_errors(
    error: Exception, memory: bool
) -> None:
    assert is_out_of_memory(error) is memory
