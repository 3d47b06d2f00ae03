"""A session on a folder, without a server."""

from __future__ import annotations

from pathlib import Path

from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.session import Session


def open_session(folder: Path, segmenter: Segmenter) -> Session:
    """The session that `sonoseg serve FOLDER` has."""
    limits = Limits()
    return Session(folder, segmenter, Pool(limits), limits)
