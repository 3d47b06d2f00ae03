"""What of a server was handled, in a small file: one line for the server, then one for each thing."""

from __future__ import annotations

import os
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.files import is_there, output_file, write_error, write_text
from sonoseg.inputs import read_text

_ANEW = "remove it to begin anew: what is stored already is not stored twice"
_HEAD = "handled of "
_MOST_BYTES = 10**9


class Handled:
    """The names of what was handled, such as SOP Instance UIDs; in ASCII, without line ends.

    A line is on the disk before `add` returns. A line that was cut by a kill is dropped at the next start.

    Args:
        path: of the file; made with the first name.
        server: address of the server, without password.
        hint: what to do if the file is of another server.

    Raises:
        InputError: the file is damaged, of another server, or cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        server: str,
        hint: str = "give another --state for each server",
    ) -> None:
        self.path = path
        output_file(path)
        self._head = f"{_HEAD}{server}"
        self._names: set[str] = set()
        if not is_there(path):
            return
        text = read_text(path, _MOST_BYTES)
        first, *lines = text.split("\n")
        if not first.startswith(_HEAD) or not lines:
            raise InputError(path, "is no list of what was handled", _ANEW)
        if first != self._head:
            raise InputError(path, "is the state of another server", hint)
        self._names.update(lines[:-1])
        if lines[-1]:
            write_text(path, text.removesuffix(lines[-1]))

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Notes a name.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._names:
            write_text(self.path, f"{self._head}\n")
        try:
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{name}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error
        self._names.add(name)
