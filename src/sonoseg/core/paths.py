"""A file that must be there and may be read."""

from __future__ import annotations

import stat
from pathlib import Path

from sonoseg.errors import InputError


def readable_file(path: Path | str) -> Path:
    """`path`, when it is a file with something in it that may be read.

    Raises:
        InputError: nothing is there, it is a folder, a device, empty, or reading it is not permitted.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except PermissionError as error:
        raise InputError(path, "no permission to read it", "change its permissions") from error
    except (OSError, ValueError) as error:
        raise InputError(path, "no such file", "check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(path, "is a folder, not a file", "give a file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(path, "is not a regular file", "give a file on disk")
    if status.st_size == 0:
        raise InputError(path, "is an empty file", "copy or export it again")
    return path
