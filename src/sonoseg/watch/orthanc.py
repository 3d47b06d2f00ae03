"""Orthanc's REST interface: its list of changes, files of instances, and storing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import visible
from sonoseg.watch.position import Position
from sonoseg.watch.transport import (
    Refusal,
    Transport,
    Unreachable,
    as_it_is,
    parse_json,
)

_CHANGES = 100
"""Changes that are asked for at once."""
_IDENTIFIER = re.compile("[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_STORED = ("Success", "AlreadyStored")


@dataclass(frozen=True)
class Change:
    """One entry of Orthanc's list of changes.

    Attributes:
        number: its place in the list; later ones are higher.
        instance: the identifier of a new instance, "" for other changes.
        mark: what it is about, and its date: another storage has other ones.
    """

    number: int
    instance: str
    mark: str


class Orthanc:
    """The new instances of an Orthanc server; see `sonoseg.watch.feed.Feed`.

    Every method raises `Unreachable` or `Refusal`.

    Args:
        transport: to the server.
        position: how far its changes were handled.
    """

    HINT = "give the address of Orthanc's REST interface"
    POLL_SECONDS = 2.0

    def __init__(self, transport: Transport, position: Position) -> None:
        self._transport = transport
        self._position = position
        self._instances: dict[str, Change] = {}
        self._last: Change | None = None

    @property
    def url(self) -> str:
        """The server's address, without password."""
        return self._transport.address.url

    @property
    def folder(self) -> Path:
        """Where files may lie for a moment."""
        return self._position.path.parent

    def begin(self) -> str:
        """Begins anew where the server has fewer or other changes than were handled: its storage was replaced."""
        self._last = None
        last = _number(self._json("/changes?last"), "Last")
        if last >= self._position.number and not self._has_other_change():
            return ""
        self._position.move(0)
        return (
            "it has fewer or other changes than before; all of its images are looked at"
        )

    def next(self) -> list[str] | None:
        """The instances among the next 100 changes, by Orthanc's identifiers; None if there are no more changes."""
        # All of the page before were handled, also the changes that are no instances.
        if self._last is not None:
            self._position.move(self._last.number, self._last.mark)
        changes = self.changes(self._position.number)
        if not changes:
            return None
        self._last = changes[-1]
        self._instances.clear()
        for change in changes:
            if change.instance:
                self._instances[change.instance] = change
        return list(self._instances)

    def finish(self, instance: str) -> None:
        """Notes that an instance was handled."""
        change = self._instances[instance]
        self._position.move(change.number, change.mark)

    def _has_other_change(self) -> bool:
        """Whether the number of the last handled change is that of another change.

        If no change has the number, nothing is known: Orthanc removes the changes of what is deleted.
        """
        number, mark = self._position.number, self._position.mark
        if not mark:
            return False
        for change in self.changes(number - 1, 1):
            if change.number == number:
                return change.mark != mark
        return False

    def changes(self, since: int, most: int = _CHANGES) -> list[Change]:
        """The changes after number `since`, in their order; none if there are no more."""
        answer = self._json(f"/changes?since={since}&limit={most}")
        entries = answer.get("Changes")
        if not isinstance(entries, list):
            raise _strange()
        changes = []
        for entry in entries:
            change = _change(entry)
            if change.number > since:
                changes.append(change)
        return sorted(changes, key=lambda change: change.number)

    def kind(self, instance: str) -> str:
        """The SOP Class UID of an instance."""
        path = f"/instances/{instance}/content/0008-0016"
        content = self._transport.read(path, {})
        return content.decode("ascii", "replace").strip("\0 ")

    def download(self, instance: str, path: Path) -> None:
        """Writes the DICOM file of an instance to `path`.

        Raises:
            InputError: the disk is full or cannot be written to.
        """
        self._transport.save(f"/instances/{instance}/file", {}, path, as_it_is)

    def store(self, content: bytes) -> None:
        """Stores a DICOM file. One that is there already is left as it is."""
        answer = self._json("/instances", content)
        status = str(answer.get("Status", ""))
        if status not in _STORED:
            raise Refusal(0, f"it answers {visible(status[:40])}")

    def _json(self, path: str, content: bytes | None = None) -> dict[str, Any]:
        headers = {} if content is None else {"Content-Type": "application/dicom"}
        answer = parse_json(self._transport.read(path, headers, content))
        if not isinstance(answer, dict):
            raise _strange()
        return answer


def _strange() -> Unreachable:
    return Unreachable("its answer is not that of Orthanc")


def _change(entry: object) -> Change:
    if not isinstance(entry, dict):
        raise _strange()
    number = _number(entry, "Seq")
    instance = entry.get("ID")
    mark = f"{instance} {entry.get('Date')}"
    if entry.get("ChangeType") != "NewInstance":
        return Change(number, "", mark)
    # It becomes part of an address.
    if not isinstance(instance, str) or not _IDENTIFIER.fullmatch(instance):
        raise _strange()
    return Change(number, instance, mark)


def _number(answer: dict[str, Any], name: str) -> int:
    number = answer.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _strange()
    return number
