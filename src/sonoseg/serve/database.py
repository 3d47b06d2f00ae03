"""The SQLite file behind the journal: it may be used from several threads, and each commit is on the disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError, MachineError

_PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
)
"""Errors that say nothing against the file: what is in it must not be given up."""


class Database:
    """A file with tables.

    Args:
        path: of the file; made if it is not there.
        schema: SQL that makes the tables that are missing.
        version: of the tables; SQLite keeps it as `user_version`.

    Raises:
        InputError: it is no such file, another version of sonoseg has written it, or the disk fails.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None
            )
            # Readers need not wait for writers, and each commit is on the disk when it returns.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._check_version(version)
            self._database.executescript(schema)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def run(self, query: str, *values: object) -> list[Any]:
        """The rows that a statement returns."""
        with self._lock:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside of it are kept, or none of them."""
        with self._lock:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self.run("ROLLBACK")
                raise

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def _check_version(self, wanted: int) -> None:
        (tables,) = self._database.execute(
            "SELECT COUNT(*) FROM sqlite_master"
        ).fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if not tables:
            self._database.execute(f"PRAGMA user_version = {wanted}")
        elif version != wanted:
            problem = "was written by another version of sonoseg"
            hint = "use that version, or move the file away to begin anew"
            raise InputError(self._path.name, problem, hint)

    def _failure(self, error: sqlite3.Error) -> InputError:
        name = self._path.name
        hint = f"check the disk, or move {name} away to begin anew"
        # The lowest eight bits are the code; those above them say more of it.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            hint = f"look for free space, for other programs that use {name}, and whether it may be written"
        return MachineError(name, f"cannot be used ({error})", hint)
