"""Whether a file is still the one that readers worked on. If another took its name, their work is set aside."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there
from sonoseg.serve.collection import Collection
from sonoseg.serve.journal import Journal
from sonoseg.serve.records import Content
from sonoseg.serve.scenes import name_of, plain_stem
from sonoseg.serve.versions import stamp_of

_logger = logging.getLogger(__name__)
REPLACED = "the file was replaced by another one after you worked on it; the earlier work is in"

_LONGEST = 50
"""Characters of a file's name in the name of a folder."""


class Contents:
    """The contents of the files of a folder. The caller holds a lock.

    Args:
        journal: knows the content that each file had.
        collection: the data sets of the readers.
    """

    def __init__(self, journal: Journal, collection: Collection) -> None:
        self._journal, self._collection = journal, collection

    def note(self, path: Path) -> None:
        """Keeps which content a file has, before the first work on it is kept.

        Raises:
            InputError: it cannot be read.
        """
        if not self._journal.contents(name_of(path)):
            self._journal.save_content(name_of(path), _content_of(path))

    def check(self, *paths: Path) -> None:
        """Sets the work on those files aside that have another content than when it was done.

        Raises:
            InputError: the work cannot be moved.
        """
        known = self._journal.contents(name_of(paths[0]) if len(paths) == 1 else "")
        # The images of a split screen are of one file.
        for path in dict.fromkeys(paths):
            earlier = known.get(name_of(path))
            if earlier is None or not is_there(path):
                continue
            if earlier == Content(earlier.sha256, *stamp_of(path)):
                continue
            try:
                content = _content_of(path)
            except InputError:  # opening the image says why; others must not suffer
                continue
            if content.sha256 == earlier.sha256:
                self._journal.save_content(name_of(path), content)
            else:
                self._set_aside(path)
        self._move()

    def notice(self, path: Path, reader: str) -> str:
        """A line that says where a reader's work on an earlier content of a file is; "" if there is none."""
        name = self._journal.set_aside_as(name_of(path), reader)
        if not name:
            return ""
        folder = self._collection.aside(reader, name)
        # What was not accepted is in the journal alone.
        place = f"annotations/{folder.parent.parent.name}/replaced/{name}"
        return f"{REPLACED} {place if is_folder(folder) else 'session.db'}"

    def _set_aside(self, path: Path) -> None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        stem = plain_stem(path)
        # With the time, a long name would be too long for a folder.
        self._journal.set_aside(name_of(path), f"{stem[:_LONGEST]}-{now}", stem)
        words = "sonoseg: an image was replaced by another file; the work on it is in replaced/ of each reader"
        _logger.warning(words)

    def _move(self) -> None:
        """Moves the files of all work that was set aside, also when a server was killed meanwhile."""
        for reader, name, stem in self._journal.unmoved():
            former = self._journal.former(name, reader)
            self._collection.set_aside(reader, name, stem, former)
            self._journal.note_moved(name, reader)


def _content_of(path: Path) -> Content:
    stamp = stamp_of(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError("image", problem, "check the disk") from error
    return Content(digest, *stamp)
