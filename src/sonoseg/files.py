"""Writing files so that nothing is ever half-written: to a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError

_MENDS = {
    errno.ENOSPC: ("the disk is full", "free some space or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or write to another disk"),
    errno.EACCES: ("no permission to write here", "choose another folder or change its permissions"),
    errno.EPERM: ("no permission to write here", "choose another folder or change its permissions"),
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "choose another folder"),
    errno.EEXIST: ("this is a file, not a folder", "choose another folder"),
    errno.ENAMETOOLONG: ("the file name is too long for this disk", "choose a shorter name"),
}


def write_error(path: Path | str, error: OSError) -> InputError:
    """The one-line error for a failed write to `path`."""
    fault, mend = _MENDS.get(error.errno or 0, (f"cannot be written ({error.strerror})", "choose another folder"))
    return InputError(path, fault, mend)


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renamed to it when the block ends well, removed when it does not.

    The temporary name keeps the suffix, so that writers that choose a format by it still work.

    Raises:
        InputError: the disk is full, read-only, or writing is not permitted.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        with contextlib.suppress(OSError):  # there are disks on which only the owner may do that, and all may write
            temporary.chmod(mode)  # some writers leave files that only their user may read
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` as UTF-8, atomically (see `atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
        probe = path / f".{uuid.uuid4().hex[:12]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise write_error(path, error) from error
    return path
