"""Names of temporary files, and the removal of those that killed commands have left."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import time
import uuid
from pathlib import Path

_NAME = re.compile(
    r"\.sonoseg-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,10})-[0-9a-f]{8}(\..*)?",
    re.DOTALL,
)
_ABANDONED = 2 * 24 * 3600.0
"""Seconds after which nobody writes to a temporary file of another machine any more."""
_own: set[str] = set()
"""Names of the temporary files that this process is writing."""


def temporary_name(suffix: str) -> str:
    """A new name, with the machine and the process that write the file in it."""
    name = f".sonoseg-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{suffix}"
    _own.add(name)
    return name


def forget(path: Path) -> None:
    """Notes that this process no longer writes to a temporary file."""
    _own.discard(path.name)


@functools.cache
def _machine() -> str:
    """8 hex digits for this machine, or this container: within it a process number means one process."""
    names = platform.node()
    with contextlib.suppress(OSError):
        names += os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # not a path
    return hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()[:8]


@functools.lru_cache(maxsize=4096)
def remove_abandoned(folder: Path) -> None:
    """Removes the temporary files in `folder` whose process has ended; looks once for each folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            match = _NAME.fullmatch(entry.name)
            if (
                match
                and entry.is_file(follow_symlinks=False)
                and _is_abandoned(entry, match)
            ):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _is_abandoned(entry: os.DirEntry[str], match: re.Match[str]) -> bool:
    if match["machine"] == _machine() and os.name == "posix":
        process = int(match["process"])
        if process == os.getpid():
            return entry.name not in _own
        return not _is_alive(process)
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except (
        OSError,
        OverflowError,
    ):  # it belongs to another user, or there is no such number
        return True
    return True
