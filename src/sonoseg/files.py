"""Files and folders: what is there, and writing so that nothing is ever half-written.

A file is written to a temporary name beside it, then renamed. What a killed command leaves is removed by the next.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError, MachineError
from sonoseg.temporary import forget, remove_abandoned, temporary_name

_HINTS = {
    errno.ENOSPC: ("the disk is full", "free some space or write to another disk"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "free some space or write to another disk",
    ),
    errno.EACCES: (
        "no permission to write here",
        "choose another folder or change its permissions",
    ),
    errno.EPERM: (
        "no permission to write here",
        "choose another folder or change its permissions",
    ),
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.ENOTDIR: (
        "a part of this path is a file, not a folder",
        "choose another folder",
    ),
    errno.EEXIST: ("this is a file, not a folder", "choose another folder"),
    errno.EISDIR: ("this is a folder, not a file", "choose another name"),
    errno.ENAMETOOLONG: (
        "the file name is too long for this disk",
        "choose a shorter name",
    ),
}
_ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EBADF,
    errno.ENAMETOOLONG,
    errno.EINVAL,
}


def is_there(path: Path | str) -> bool:
    """Whether `path` leads to something; a link to nothing does not.

    Unlike `Path.exists` it is False for a name that is too long for the disk.

    Raises:
        InputError: that cannot be found out, as in a folder that the user may not enter.
    """
    return _status(path) is not None


def is_file(path: Path | str) -> bool:
    """Whether `path` leads to a regular file; see `is_there`."""
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_folder(path: Path | str) -> bool:
    """Whether `path` leads to a folder; see `is_there`."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def file_size(path: Path | str) -> int:
    """Bytes of the file at `path`, 0 if there is none; see `is_there`."""
    status = _status(path)
    return 0 if status is None else status.st_size


def _status(path: Path | str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  # takes what Path does not, and is what Path calls
    except PermissionError as error:
        raise InputError(
            path, "no permission to look there", "change the permissions of its folder"
        ) from error
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise InputError(
            path, f"cannot be accessed ({error.strerror})", "check the disk"
        ) from error
    except ValueError:  # a null character, or one that no file name can have
        return None


def write_error(path: Path | str, error: OSError) -> InputError:
    """The one-line error for a failed write to `path`."""
    problem, hint = _HINTS.get(
        error.errno or 0,
        (f"cannot be written ({error.strerror})", "choose another folder"),
    )
    return MachineError(path, problem, hint)


_together: ContextVar[list[tuple[Path, Path]] | None] = ContextVar(
    "_together", default=None
)
"""The files (temporary, final) that wait for the end of `atomic_files`; None outside of it."""


@contextlib.contextmanager
def atomic_files() -> Iterator[None]:
    """All files that are written inside the block with `atomic_path` appear together at its end, or none of them.

    They are renamed in the order in which they were written. If one cannot be renamed, those before it get their old
    content back. The files of a block inside another appear with those of the outer one; an error that leaves the inner
    block takes only its own files away.

    Raises:
        InputError: one of the files cannot be renamed.
    """
    outer = _together.get()
    if outer is not None:
        before = len(outer)
        try:
            yield
        except BaseException:
            for temporary, _ in outer[before:]:
                _remove(temporary)
            del outer[before:]
            raise
        return
    waiting: list[tuple[Path, Path]] = []
    token = _together.set(waiting)
    try:
        yield
        _together.reset(token)
        _rename_all(waiting)
    finally:
        if _together.get() is waiting:
            _together.reset(token)
        for temporary, _ in waiting:
            _remove(temporary)


def _rename_all(waiting: list[tuple[Path, Path]]) -> None:
    """Renames each temporary file; when one fails, the files before it are as they were."""
    done: list[tuple[Path, Path | None]] = []
    try:
        for temporary, path in waiting:
            try:
                done.append((path, _second_name(path)))
                temporary.replace(path)
            except OSError as error:
                raise write_error(path, error) from error
    except BaseException:
        for path, old in reversed(done):
            with contextlib.suppress(OSError):
                if old is None:
                    path.unlink(missing_ok=True)
                else:
                    old.replace(path)
        raise
    finally:
        for _, old in done:
            if old is not None:
                _remove(old)


def _second_name(path: Path) -> Path | None:
    """Another file with the content of `path`; None if nothing is there."""
    if not is_there(path):
        return None
    second = path.parent / temporary_name(".old")
    try:
        second.hardlink_to(path)
    except OSError:  # a folder, or a disk that has no hard links
        shutil.copy2(path, second)
    return second


def _remove(temporary: Path) -> None:
    """Removes a temporary file, if it is still there."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
    forget(temporary)


def check_target(path: Path | str) -> None:
    """Checks that a file written to `path` would not replace a folder, a device, a pipe, or a link to one of these.

    Raises:
        InputError: it would.
    """
    status = _status(path)
    if status is None or stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise InputError(
            path, "is a folder, not a file", "give the name of a file to write"
        )
    raise InputError(path, "is a device or a pipe, not a file", "choose another name")


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renamed to it when the block ends well, removed when it does not.

    Inside `atomic_files` it is renamed at the end of that block.

    The temporary name keeps the suffix, so that writers that choose a format by it still work.

    Raises:
        InputError: the disk is full, read-only, or writing is not permitted; `path` is a folder, device or pipe.
    """
    path = Path(path)
    check_target(path)
    remove_abandoned(path.parent)
    temporary = path.parent / temporary_name(path.suffix)
    waiting = _together.get()
    kept = False
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long is refused now, not when the file is renamed
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        with contextlib.suppress(
            OSError
        ):  # there are disks on which only the owner may do that, and all may write
            temporary.chmod(
                mode
            )  # some writers leave files that only their user may read
        if waiting is None:
            temporary.replace(path)
        else:
            waiting.append((temporary, path))
            kept = True
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if not kept:
            _remove(temporary)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` as UTF-8, atomically (see `atomic_path`); what UTF-8 cannot hold as escapes.

    File names hold such characters where their bytes are not UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, atomically (see `atomic_path`)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def output_folder(path: Path | str) -> Path:
    """Makes sure, before work starts, that `path` is a folder that can be written to.

    Raises:
        InputError: it is a file, or cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / temporary_name("")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise write_error(path, error) from error
    forget(probe)
    remove_abandoned(path)
    return path


def output_file(path: Path | str) -> Path:
    """Makes sure, before work starts, that a file can be written at `path`; makes its folder if need be.

    Raises:
        InputError: it names a folder, a device or a pipe, or its folder cannot be written to.
    """
    path = Path(path)
    check_target(path)
    output_folder(path.parent)
    return path
