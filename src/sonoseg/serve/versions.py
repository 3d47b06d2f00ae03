"""What tells a file apart from an earlier one of the same name, without reading it."""

from __future__ import annotations

from pathlib import Path

from sonoseg.serve.refusal import Refused

Stamp = tuple[int, int, int]
"""Times of modification and of the last change of its status in ns, and how many bytes a file has."""


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file.

    Raises:
        Refused: status 404, it is gone.
    """
    try:
        status = path.stat()
    except OSError:
        problem = "is not in the folder any more"
        raise Refused(404, "image", problem, "reload the page") from None
    # A copy may keep the time of modification; on Linux and macOS nobody can set that of the last change.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def version_of(path: Path) -> str:
    """The stamp of a file as text.

    Raises:
        Refused: status 404, it is gone.
    """
    return "-".join(f"{number:x}" for number in stamp_of(path))


def check_version(path: Path, seen: str) -> None:
    """Refuses work on a file that a client has not seen.

    Raises:
        Refused: status 409, another file has taken its name, or 404, it is gone.
    """
    if seen and seen != version_of(path):
        problem = "was replaced by another file"
        raise Refused(409, "image", problem, "look at it again")
