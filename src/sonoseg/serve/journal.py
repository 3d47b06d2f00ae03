"""What readers drew and wrote, in one SQLite file: each stroke is on the disk before it is answered."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from sonoseg.serve.database import Database
from sonoseg.serve.patch import Patch
from sonoseg.serve.records import (
    Accepted,
    Content,
    Event,
    Finding,
    details_text,
    split_details,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    image TEXT NOT NULL, reader TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    tool TEXT NOT NULL, x INTEGER, y INTEGER, width INTEGER, height INTEGER,
    before BLOB, after BLOB, calipers TEXT NOT NULL, time REAL NOT NULL,
    UNIQUE (image, reader, key)
);
CREATE TABLE IF NOT EXISTS findings (
    image TEXT NOT NULL, reader TEXT NOT NULL,
    label TEXT NOT NULL, birads TEXT NOT NULL, note TEXT NOT NULL, spacing TEXT NOT NULL,
    descriptors TEXT NOT NULL,
    PRIMARY KEY (image, reader)
);
CREATE TABLE IF NOT EXISTS accepted (
    image TEXT NOT NULL, reader TEXT NOT NULL,
    label TEXT NOT NULL, birads TEXT NOT NULL, note TEXT NOT NULL, spacing TEXT NOT NULL,
    descriptors TEXT NOT NULL,
    number INTEGER NOT NULL, file TEXT NOT NULL, patient TEXT NOT NULL, diameters TEXT NOT NULL,
    time REAL NOT NULL, details TEXT NOT NULL, stage INTEGER NOT NULL,
    PRIMARY KEY (image, reader)
);
CREATE TABLE IF NOT EXISTS contents (
    file TEXT PRIMARY KEY, sha256 TEXT NOT NULL,
    modified INTEGER NOT NULL, changed INTEGER NOT NULL, size INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS replaced (
    file TEXT NOT NULL, reader TEXT NOT NULL, name TEXT NOT NULL, stem TEXT NOT NULL,
    is_moved INTEGER NOT NULL,
    PRIMARY KEY (file, reader, name)
);
CREATE TABLE IF NOT EXISTS replaced_events AS SELECT '' AS name, * FROM events WHERE 0;
CREATE TABLE IF NOT EXISTS replaced_findings AS SELECT '' AS name, * FROM findings WHERE 0;
CREATE TABLE IF NOT EXISTS replaced_accepted AS SELECT '' AS name, * FROM accepted WHERE 0;
"""
_VERSION = 3
_OF_IMAGES = ("events", "findings", "accepted")
"""The tables with the work of readers; for each there is one with what was set aside."""
_WORDS = "label, birads, note, spacing, descriptors"
_ACCEPTED = f"image, number, file, patient, diameters, time, details, stage, {_WORDS}"
_PENDING, _WRITTEN, _LEAVING = 0, 1, 2
"""Of what was accepted: not yet in the data set, in it, and to be removed from it."""
_EVENT = "key, kind, tool, x, y, width, height, before, after, calipers, number"
_OF_FILE = "(image = ? OR substr(image, 1, ?) = ?)"
"""A condition: of an image, a region or a frame of one file."""


class Journal:
    """The file; may be used from several threads.

    Raises:
        InputError: it is no journal, another version of sonoseg has written it, or the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA, _VERSION)
        self._run = self._database.run

    def append(self, image: str, reader: str, events: Iterable[Event]) -> None:
        """Adds events to the history of one image and reader, all of them or none."""
        names = (
            "image, reader, key, kind, tool, x, y, width, height, before, after, "
            "calipers, time"
        )
        marks = ", ".join("?" * 13)
        query = f"INSERT INTO events ({names}) VALUES ({marks})"
        with self._database.transaction():
            for event in events:
                place = event.patch or Patch(0, 0, 0, 0, b"", b"")
                box = (place.x, place.y, place.width, place.height)
                head = (image, reader, event.key, event.kind, event.tool)
                content = (place.before, place.after, event.calipers, time.time())
                self._run(query, *head, *box, *content)

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
        """The number of the last change of each image that a reader has changed; or of one image."""
        where, values = _where(reader, image)
        where += " AND kind != 'start'"
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
        query = "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._run(query, image, reader, *astuple(finding))

    def accepted(self, reader: str, image: str = "") -> dict[str, Accepted]:
        """What a reader accepted, for each image or for one; not what is being withdrawn."""
        where, values = _where(reader, image)
        where += f" AND stage != {_LEAVING}"
        rows = self._run(f"SELECT {_ACCEPTED} FROM accepted WHERE {where}", *values)
        return dict(map(_accepted, rows))

    def save_accepted(self, image: str, reader: str, accepted: Accepted) -> None:
        """Replaces what a reader accepted of an image."""
        values = [*astuple(accepted.finding), accepted.number, accepted.file]
        values += [accepted.patient, accepted.diameters, accepted.time]
        values.append(details_text(accepted))
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

    def contents(self, file: str = "") -> dict[str, Content]:
        """By its name, the content that each file had when a reader worked on it; or that of one file."""
        where, values = ("WHERE file = ?", (file,)) if file else ("", ())
        rows = self._run(f"SELECT * FROM contents {where}", *values)
        return {name: Content(*values) for name, *values in rows}

    def save_content(self, file: str, content: Content) -> None:
        """Keeps which content the work on a file is about."""
        query = "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)"
        self._run(query, file, *astuple(content))

    def set_aside(self, file: str, name: str, stem: str) -> None:
        """Moves all readers' work on a file into tables of its own, because the file is another one now.

        Args:
            file: its name.
            name: under which the work is kept.
            stem: of its results in the data sets.
        """
        values = (file, len(file) + 1, f"{file}/")
        with self._database.transaction():
            readers = set()
            for table in _OF_IMAGES:
                rows = f"FROM {table} WHERE {_OF_FILE}"
                readers.update(self._run(f"SELECT reader {rows}", *values))
                copy = f"INSERT INTO replaced_{table} SELECT ?, * {rows}"
                self._run(copy, name, *values)
                self._run(f"DELETE {rows}", *values)
            for (reader,) in readers:
                query = "INSERT INTO replaced VALUES (?, ?, ?, ?, 0)"
                self._run(query, file, reader, name, stem)
            self._run("DELETE FROM contents WHERE file = ?", file)

    def unmoved(self) -> list[tuple[str, str, str]]:
        """Reader, name and stem of work that was set aside, but whose files may still be in the data set."""
        return self._run("SELECT reader, name, stem FROM replaced WHERE is_moved = 0")

    def former(self, name: str, reader: str) -> list[Accepted]:
        """What a reader had accepted of the file whose work was set aside under a name."""
        where = "name = ? AND reader = ?"
        query = f"SELECT {_ACCEPTED} FROM replaced_accepted WHERE {where}"
        return [_accepted(row)[1] for row in self._run(query, name, reader)]

    def note_moved(self, name: str, reader: str) -> None:
        """The files of work that was set aside are out of the data set."""
        where = "name = ? AND reader = ?"
        self._run(f"UPDATE replaced SET is_moved = 1 WHERE {where}", name, reader)

    def set_aside_as(self, file: str, reader: str) -> str:
        """The name under which a reader's work on the last content of a file was set aside; "" if there is none."""
        query = "SELECT MAX(name) FROM replaced WHERE file = ? AND reader = ?"
        ((name,),) = self._run(query, file, reader)
        return name or ""

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _in_stage(self, columns: str, stage: int) -> list[Any]:
        return self._run(f"SELECT {columns} FROM accepted WHERE stage = {stage}")


def _where(reader: str, image: str) -> tuple[str, tuple[str, ...]]:
    """A condition of SQL and its values: the rows of a reader, of one image if it is named."""
    if image:
        return "image = ? AND reader = ?", (image, reader)
    return "reader = ?", (reader,)


def _accepted(row: tuple[Any, ...]) -> tuple[str, Accepted]:
    """Of a row with the columns `_ACCEPTED`: the image, and what was accepted."""
    name, number, file, patient, diameters, when, details, stage, *words = row
    state = (number, file, patient, diameters, when)
    made = split_details(details)
    return name, Accepted(Finding(*words), *state, **made, is_written=stage == _WRITTEN)


def _event(row: tuple[Any, ...]) -> Event:
    key, kind, tool, x, y, width, height, before, after, calipers, number = row
    patch = None
    if kind in ("start", "patch"):
        patch = Patch(x, y, width, height, before, after)
    return Event(key, kind, tool, patch, calipers, number)
