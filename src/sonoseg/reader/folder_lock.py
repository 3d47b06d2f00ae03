"""One call at a time writes its results into a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sonoseg.errors import MachineError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other calls from writing into `folder`, which must be there, while the block lasts.

    The lock is the operating system's, and leaves no file: it is gone when the process is, however that ends. Disks
    and systems that have no such lock, as Windows, go without.

    Raises:
        InputError: another call is writing there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            problem = "another sonoseg command is writing into this folder"
            hint = "wait until it has ended, or choose another output folder"
            raise MachineError(folder, problem, hint) from error
        except OSError:
            pass
        yield
