"""What libtiff writes to stderr while Pillow decodes a TIFF file: its only report of damage."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator

from sonoseg.core.source import PROCESS_LOCK

_LIBTIFF = re.compile(rb"[\w.]*: .*\.$")
"""A line of libtiff's error handler: "Fax4Decode: Bad code word at line 57 of strip 0 (x 59)."."""


@contextlib.contextmanager
def caught() -> Iterator[list[str]]:
    """Yields a list that, when the block has ended, holds libtiff's lines; other lines go where they should.

    Where stderr is closed, or no temporary file can be made, nothing is caught.
    """
    lines: list[str] = []
    with contextlib.ExitStack() as opened:
        opened.enter_context(PROCESS_LOCK)
        try:
            file = opened.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:
            yield lines
            return
        opened.callback(os.close, stderr)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            file.seek(0)
            written = file.read().splitlines(keepends=True)
            lines += [
                line.decode("utf-8", "replace").strip(" \n.:")
                for line in written
                if _LIBTIFF.match(line)
            ]
            if others := b"".join(line for line in written if not _LIBTIFF.match(line)):
                with contextlib.suppress(OSError):
                    os.write(stderr, others)
