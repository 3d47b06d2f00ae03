"""How far the changes of a server were handled, in a small file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.files import is_there, output_file, write_json
from sonoseg.inputs import read_json

_ANEW = "remove it to begin anew: what is stored already is not stored twice"


@dataclass
class Position:
    """The last change that was handled.

    Attributes:
        path: of the file.
        server: address of the server, without password.
        number: of the change; 0 if none was handled.
        mark: what tells the change from those of another storage with the same number; "" if it is not known.
    """

    path: Path
    server: str
    number: int = 0
    mark: str = ""

    @staticmethod
    def read(path: Path, server: str) -> Position:
        """That in the file, or the begin if there is none.

        Raises:
            InputError: the file is damaged, of another server, or cannot be written to.
        """
        output_file(path)
        if not is_there(path):
            return Position(path, server)
        content = read_json(path)
        if not isinstance(content, dict):
            raise InputError(path, "is not the state of sonoseg watch", _ANEW)
        number = content.get("last_change")
        mark = content.get("mark", "")
        if not isinstance(number, int) or number < 0 or not isinstance(mark, str):
            raise InputError(path, "is not the state of sonoseg watch", _ANEW)
        if content.get("server") != server:
            hint = "give another --state for each server"
            raise InputError(path, "is the state of another server", hint)
        return Position(path, server, number, mark)

    def move(self, number: int, mark: str = "") -> None:
        """Writes a new number and mark; the file is replaced at once.

        Raises:
            InputError: the file cannot be written.
        """
        if (number, mark) != (self.number, self.mark):
            content = {"server": self.server, "last_change": number, "mark": mark}
            write_json(self.path, content)
            self.number, self.mark = number, mark
