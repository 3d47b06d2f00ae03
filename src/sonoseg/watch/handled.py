"""Which instances of a server were handled, in a small file: one line for the server, then one for each instance."""

from __future__ import annotations

import os
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.files import is_there, output_file, write_error, write_text
from sonoseg.inputs import read_text

_ANEW = "remove it to begin anew: what is stored already is not stored twice"
_HEAD = "sonoseg watch of "
_MOST_BYTES = 10**9


class Handled:
    """The SOP Instance UIDs that were handled.

    A line is on the disk before `add` returns. A line that was cut by a kill is dropped at the next start.

    Args:
        path: of the file; made with the first instance.
        server: address of the server, without password.

    Raises:
        InputError: the file is damaged, of another server, or cannot be written to.
    """

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        output_file(path)
        self._head = f"{_HEAD}{server}"
        self._uids: set[str] = set()
        if not is_there(path):
            return
        text = read_text(path, _MOST_BYTES)
        first, *lines = text.split("\n")
        if not first.startswith(_HEAD) or not lines:
            raise InputError(path, "is not the state of sonoseg watch", _ANEW)
        if first != self._head:
            hint = "give another --state for each server"
            raise InputError(path, "is the state of another server", hint)
        self._uids.update(lines[:-1])
        if lines[-1]:
            write_text(path, text.removesuffix(lines[-1]))

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def add(self, uid: str) -> None:
        """Notes an instance.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._uids:
            write_text(self.path, f"{self._head}\n")
        try:
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{uid}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error
        self._uids.add(uid)
