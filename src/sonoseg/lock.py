"""One command at a time writes into a run folder, the folder of a sweep, or the folder of an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sonoseg.errors import InputError, MachineError
from sonoseg.files import output_folder

LOCK = ".lock"


class Busy(MachineError):
    """Another process is writing into a folder."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Path]:
    """Makes the folder and keeps other processes from writing into it while the block lasts.

    The lock is the operating system's: it is gone when the process is, however that ends.

    Raises:
        Busy: another process holds it.
        InputError: `folder` cannot be made or written to.
    """
    lock = FileLock(output_folder(folder) / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        problem = "another sonoseg command is writing into this folder"
        hint = "wait until it has ended, or choose another --out"
        raise Busy(folder, problem, hint) from error
    except OSError as error:
        raise InputError(
            folder / LOCK,
            f"cannot be locked ({error.strerror})",
            "choose another --out",
        ) from error
    try:
        yield folder
    finally:
        lock.release()
