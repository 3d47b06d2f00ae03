"""The storage that the processes of a search share: a database, or a journal file on a common disk."""

from __future__ import annotations

import contextlib
import random
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sonoseg.errors import InputError, MachineError
from sonoseg.files import is_file, is_there


def open_storage(
    storage: str, attempts: Sequence[float] = (0.1, 0.5, 1.0, 2.0)
) -> BaseStorage:
    """Opens a storage, or makes it.

    Several processes may make it at once, and then one can fail. It tries again after each of `attempts` (seconds).

    Raises:
        InputError: it cannot be opened.
    """
    hint = "give --storage sqlite:///FILE, journal:FILE or the URL of a database"
    try:
        if storage.startswith("journal:"):
            file = Path(storage.removeprefix("journal:"))
            if is_there(file) and not is_file(file):
                raise InputError(shown(storage), "is not a regular file", hint)
            return JournalStorage(JournalFileBackend(storage.removeprefix("journal:")))
        options = (
            {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else {}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return RDBStorage(storage, engine_kwargs=options)
    except DBAPIError as error:  # tables that another process is making at this moment
        if attempts:
            time.sleep(attempts[0] * random.uniform(0.5, 1))
            return open_storage(storage, attempts[1:])
        raise InputError(
            shown(storage), f"cannot be opened ({str(error.orig).strip()})", hint
        ) from error
    except (OSError, ImportError, ValueError, SQLAlchemyError, OptunaError) as error:
        raise InputError(
            shown(storage), f"cannot be opened ({str(error).splitlines()[0]})", hint
        ) from error


@contextlib.contextmanager
def in_reach(storage: str) -> Iterator[None]:
    """Turns a failure of the storage inside the block, such as a full disk, into an error of one line.

    Raises:
        MachineError: the storage failed.
    """
    try:
        yield
    except (SQLAlchemyError, OptunaError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        hint = "free some space or wait until it can be reached, then run the same command again"
        raise MachineError(
            shown(storage), f"cannot be used ({reason})", hint
        ) from error


def shown(storage: str) -> str:
    """A storage's URL without the password that may be in it."""
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:***@", storage)
