"""What readers drew and wrote, in one SQLite file: each stroke is on the disk before it is answered."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError, MachineError
from sonoseg.serve.patch import Patch

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    image TEXT NOT NULL, reader TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    tool TEXT NOT NULL, x INTEGER, y INTEGER, width INTEGER, height INTEGER,
    before BLOB, after BLOB, time REAL NOT NULL,
    UNIQUE (image, reader, key)
);
CREATE TABLE IF NOT EXISTS findings (
    image TEXT NOT NULL, reader TEXT NOT NULL,
    label TEXT NOT NULL, birads TEXT NOT NULL, note TEXT NOT NULL, spacing TEXT NOT NULL,
    descriptors TEXT NOT NULL, calipers TEXT NOT NULL,
    PRIMARY KEY (image, reader)
);
CREATE TABLE IF NOT EXISTS accepted (
    image TEXT NOT NULL, reader TEXT NOT NULL,
    label TEXT NOT NULL, birads TEXT NOT NULL, note TEXT NOT NULL, spacing TEXT NOT NULL,
    descriptors TEXT NOT NULL, calipers TEXT NOT NULL,
    number INTEGER NOT NULL, file TEXT NOT NULL, patient TEXT NOT NULL, diameters TEXT NOT NULL,
    time REAL NOT NULL, stage INTEGER NOT NULL,
    PRIMARY KEY (image, reader)
);
"""
_WORDS = "label, birads, note, spacing, descriptors, calipers"
_PENDING, _WRITTEN, _LEAVING = 0, 1, 2
"""Of what was accepted: not yet in the data set, in it, and to be removed from it."""
_EVENT = "key, kind, tool, x, y, width, height, before, after, number"


@dataclass(frozen=True)
class Event:
    """One entry of the journal.

    Attributes:
        key: made by the client, so that an event that is sent twice is kept once.
        kind: start (the mask to begin with), patch, undo or redo.
        tool: what the reader used, such as brush.
        patch: of a start and of a patch; None for the others.
        number: its place in the journal; 0 before it is appended.
    """

    key: str
    kind: str
    tool: str
    patch: Patch | None = None
    number: int = 0


@dataclass(frozen=True)
class Finding:
    """What a reader wrote about an image.

    Attributes:
        label: benign, malignant, normal, uncertain, or "" if not chosen yet.
        birads: category, such as 4A, or "".
        note: free text.
        spacing: mm per pixel as the reader typed it, or "".
        descriptors: see `lexicon.join_descriptors`.
        calipers: lines that the reader put down, see `calipers.join_calipers`, or "".
    """

    label: str = ""
    birads: str = ""
    note: str = ""
    spacing: str = ""
    descriptors: str = ""
    calipers: str = ""


@dataclass(frozen=True)
class Accepted:
    """What a reader accepted.

    Attributes:
        finding: as it was then.
        number: of the last event of the mask; 0 for the network's own mask.
        file: name of the image in the data set.
        patient: a code that images of one patient share, or "".
        diameters: of the lesions, for labels.csv.
        time: in seconds since 1970.
        is_written: whether it is in the data set on the disk.
    """

    finding: Finding
    number: int
    file: str
    patient: str
    diameters: str
    time: float
    is_written: bool = False


class Journal:
    """The file; may be used from several threads.

    Raises:
        InputError: it is no journal, or the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None
            )
            # Readers need not wait for writers, and each commit is on the disk when it returns.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def append(self, image: str, reader: str, events: Iterable[Event]) -> None:
        """Adds events to the history of one image and reader, all of them or none."""
        rows = []
        for event in events:
            place = event.patch or Patch(0, 0, 0, 0, b"", b"")
            box = (place.x, place.y, place.width, place.height)
            head = (image, reader, event.key, event.kind, event.tool)
            content = (place.before, place.after, time.time())
            rows.append(head + box + content)
        names = (
            "image, reader, key, kind, tool, x, y, width, height, before, after, time"
        )
        marks = ", ".join("?" * 12)
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    f"INSERT INTO events ({names}) VALUES ({marks})", rows
                )
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise self._failure(error) from error

    def events(self, image: str, reader: str, after: int = 0) -> list[Event]:
        """The events of one image and reader whose number is above `after`, in order."""
        condition = "image = ? AND reader = ? AND number > ? ORDER BY number"
        rows = self._run(
            f"SELECT {_EVENT} FROM events WHERE {condition}", image, reader, after
        )
        return [_event(row) for row in rows]

    def has(self, image: str, reader: str, key: str) -> bool:
        """Whether an event with this key is there."""
        condition = "image = ? AND reader = ? AND key = ?"
        return bool(
            self._run(f"SELECT 1 FROM events WHERE {condition}", image, reader, key)
        )

    def last_numbers(self, reader: str, image: str = "") -> dict[str, int]:
        """The number of the last event of each image that a reader has changed; or of one image."""
        where, values = _where(reader, image)
        query = f"SELECT image, MAX(number) FROM events WHERE {where} GROUP BY image"
        return {name: int(number) for name, number in self._run(query, *values)}

    def findings(self, reader: str, image: str = "") -> dict[str, Finding]:
        """What a reader wrote about each image, or about one; the last one that was written at the end."""
        where, values = _where(reader, image)
        query = f"SELECT image, {_WORDS} FROM findings WHERE {where} ORDER BY rowid"
        rows = self._run(query, *values)
        return {name: Finding(*words) for name, *words in rows}

    def save_finding(self, image: str, reader: str, finding: Finding) -> None:
        """Replaces what a reader wrote about an image."""
        query = "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        self._run(query, image, reader, *astuple(finding))

    def accepted(self, reader: str, image: str = "") -> dict[str, Accepted]:
        """What a reader accepted, for each image or for one; not what is being withdrawn."""
        columns = f"image, number, file, patient, diameters, time, stage, {_WORDS}"
        where, values = _where(reader, image)
        query = f"SELECT {columns} FROM accepted WHERE {where} AND stage != {_LEAVING}"
        accepted = {}
        for row in self._run(query, *values):
            name, number, file, patient, diameters, when, stage, *words = row
            state = (number, file, patient, diameters, when, stage == _WRITTEN)
            accepted[name] = Accepted(Finding(*words), *state)
        return accepted

    def save_accepted(self, image: str, reader: str, accepted: Accepted) -> None:
        """Replaces what a reader accepted of an image."""
        values = [*astuple(accepted.finding), accepted.number, accepted.file]
        values += [accepted.patient, accepted.diameters, accepted.time]
        values.append(_WRITTEN if accepted.is_written else _PENDING)
        marks = ", ".join("?" * (2 + len(values)))
        query = f"INSERT OR REPLACE INTO accepted VALUES ({marks})"
        self._run(query, image, reader, *values)

    def withdraw(self, image: str, reader: str) -> None:
        """Marks what was accepted as withdrawn; `forget_accepted` is called when its files are gone."""
        query = f"UPDATE accepted SET stage = {_LEAVING} WHERE image = ? AND reader = ?"
        self._run(query, image, reader)

    def forget_accepted(self, image: str, reader: str) -> None:
        """Nothing of an image is accepted."""
        self._run("DELETE FROM accepted WHERE image = ? AND reader = ?", image, reader)

    def unwritten(self) -> list[tuple[str, str]]:
        """Image and reader of what was accepted, but is not in the data set on the disk."""
        return self._in_stage("image, reader", _PENDING)

    def leaving(self) -> list[tuple[str, str, str]]:
        """Image, reader and file of what was withdrawn, but may still be in the data set on the disk."""
        return self._in_stage("image, reader, file", _LEAVING)

    def _in_stage(self, columns: str, stage: int) -> list[Any]:
        return self._run(f"SELECT {columns} FROM accepted WHERE stage = {stage}")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def _run(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> InputError:
        hint = "check the disk, or move the file away to begin anew"
        return MachineError(self._path.name, f"cannot be used ({error})", hint)


def _where(reader: str, image: str) -> tuple[str, tuple[str, ...]]:
    """A condition of SQL and its values: the rows of a reader, of one image if it is named."""
    if image:
        return "image = ? AND reader = ?", (image, reader)
    return "reader = ?", (reader,)


def _event(row: tuple[Any, ...]) -> Event:
    key, kind, tool, x, y, width, height, before, after, number = row
    patch = None
    if kind in ("start", "patch"):
        patch = Patch(x, y, width, height, before, after)
    return Event(key, kind, tool, patch, number)
