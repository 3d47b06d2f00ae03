"""A folder that is being annotated: the images, each reader's masks and findings, and the data set that comes of it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sonoseg.errors import InputError
from sonoseg.files import output_folder
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.acceptance import make_accepted
from sonoseg.serve.album import Album
from sonoseg.serve.calipers import measured, note_on, spacing_text
from sonoseg.serve.collection import Collection
from sonoseg.serve.contents import Contents
from sonoseg.serve.edits import Edit, event_of
from sonoseg.serve.findings import (
    check_label,
    check_words,
    check_words_seen,
    known_findings,
)
from sonoseg.serve.gone import Gone
from sonoseg.serve.history import START, History
from sonoseg.serve.journal import Journal
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask, Patch, difference, whole_patch
from sonoseg.serve.pool import Pool
from sonoseg.serve.records import Event, Finding, Network
from sonoseg.serve.scenes import Scene, Shot, find_shot
from sonoseg.serve.states import all_states, entries_of, state_of
from sonoseg.serve.versions import version_of
from sonoseg.serve.view import View, doubts_of, other_network

_logger = logging.getLogger(__name__)
FOLDER = "annotations"
"""Beside the images: the journal, and a folder with a data set for each reader."""
_KEPT = 8
"""Histories that are kept in memory; others are read from the journal again."""


class Session:
    """The folder; may be used from several threads.

    Args:
        folder: with images; what is written lies in its folder annotations/.
        segmenter: the network.
        pool: where images are segmented.
        limits: on the images.

    Attributes:
        gone: what is accepted of files that are not in the folder any more.

    Raises:
        InputError: the folder cannot be read or written to, or has a labels.csv that cannot be used.
    """

    def __init__(
        self, folder: Path, segmenter: Segmenter, pool: Pool, limits: Limits
    ) -> None:
        self.album = Album(folder, segmenter, pool, limits)
        self.folder = output_folder(folder / FOLDER)
        self.album.refresh()
        self._card, self._network = segmenter.card, Network.of(segmenter)
        self._journal = Journal(self.folder / "session.db")
        self._collection = Collection(self.folder, self._journal, limits)
        self._contents = Contents(self._journal, self._collection)
        self._lock = threading.RLock()
        self.gone = Gone(self.album, self._journal, self._collection, self._lock)
        self._limits = limits
        self._histories: OrderedDict[tuple[str, str, str], History] = OrderedDict()

    def entries(self, reader: str) -> list[dict[str, Any]]:
        """One entry per scene: identifier, name, state for this reader, label, and frames: all and accepted."""
        scenes = self.album.refresh()
        with self._lock:
            self._contents.check(*(scene.path for scene in scenes.values()))
        return entries_of(scenes, all_states(self._journal, reader))

    def frame_states(self, scene: Scene, reader: str) -> dict[int, str]:
        """The state of each frame of a loop that was touched."""
        own = all_states(self._journal, reader).get(scene.key, {})
        return {frame: one.state for frame, one in own.items() if one.state != "open"}

    def view(self, shot: Shot, reader: str) -> View:
        """An image as a reader left it.

        Raises:
            InputError: the image cannot be read.
        """
        result = self.album.result(shot)
        with self._lock:
            self._contents.check(shot.path)
            history = self._history(shot, reader, result)
            mask, revision = history.mask.copy(), history.number
            undo, redo = history.undo_count, history.redo_count
            calipers = history.calipers
            own, finding = known_findings(self._journal, shot, reader, result.spacing)
            accepted = self._journal.accepted(reader, shot.key).get(shot.key)
            notice = self._contents.notice(shot.path, reader)
        lesions, by_hand = measured(mask, result, finding, calipers)
        notes = [notice, other_network(history.network, self._network)]
        notes.append(note_on(calipers, lesions, by_hand))
        state = state_of(own, accepted, revision)
        return View(
            mask,
            revision,
            undo,
            redo,
            lesions,
            by_hand,
            finding,
            state,
            history.network,
            doubts_of(shot, result, mask, finding, self._limits),
            [note for note in notes if note],
        )

    def known_mask(self, shot: Shot, reader: str) -> Mask | None:
        """A frame's mask as the reader left it, or the network's; None if the frame was not segmented yet."""
        with self._lock:
            self._contents.check(shot.path)
            if self._journal.has(shot.key, reader, START):
                return self._history(shot, reader).mask.copy()
        return self.album.loop(shot.scene).mask(shot)

    def edit(self, shot: Shot, reader: str, edit: Edit) -> Patch:
        """Changes a mask or its calipers, and keeps the change in the journal before it returns.

        Returns:
            what has changed of the mask. All of the mask if the edit was known already.

        Raises:
            Refused: status 409, the client has not seen the last change.
            InputError: the edit does not fit the image.
        """
        result = self.album.result(shot)
        with self._lock:
            self._contents.check(shot.path)
            history = self._history(shot, reader, result)
            if self._journal.has(shot.key, reader, edit.key):
                history.check_last(edit.key)
                return whole_patch(history.mask)
            history.check_seen(edit.after)
            before = history.mask.copy()
            event = event_of(edit, history, result, self._card)
            self._append(shot, reader, history, [event])
            after = self._history(shot, reader, result).mask
            return difference(before, after)

    def write_finding(
        self, shot: Shot, reader: str, finding: Finding, words: str | None = None
    ) -> None:
        """Keeps what a reader wrote; what was accepted before stays accepted as it was.

        Args:
            shot: the image.
            reader: who writes.
            finding: replaces what is there.
            words: digits of the finding that the client saw last; None replaces any.

        Raises:
            Refused: status 409, the client has not seen what is there.
            InputError: an unknown label or category, or a spacing that is no pixel size.
        """
        check_words(finding)
        spacing = self.album.result(shot).spacing
        with self._lock:
            self._contents.check(shot.path)
            own, shown = known_findings(self._journal, shot, reader, spacing)
            if finding != own:  # else it is sent again, because its answer was lost
                check_words_seen(words, shown)
            self._contents.note(shot.path)
            self._journal.save_finding(shot.key, reader, finding)

    def accept(
        self, shot: Shot, reader: str, after: int, words: str | None = None
    ) -> None:
        """Puts the mask and the finding of a reader into the reader's data set.

        Args:
            shot: the image.
            reader: who accepts.
            after: number of the change that the client saw last.
            words: digits of the finding that the client saw last; None accepts any.

        Raises:
            Refused: status 409, the client has not seen the last change, or the finding.
            InputError: the label is missing, or does not fit the mask; another file has the name; or the disk fails.
        """
        result = self.album.result(shot)
        with self._lock:
            self._contents.check(shot.path)
            history = self._history(shot, reader, result)
            history.check_seen(after)
            _, finding = known_findings(self._journal, shot, reader, result.spacing)
            check_words_seen(words, finding)
            check_label(finding.label, history.mask)
            self._collection.check_name(shot, reader)
            if not finding.spacing and result.spacing is not None:
                finding = replace(finding, spacing=spacing_text(result.spacing))
            earlier = self._journal.accepted(reader, shot.key).get(shot.key)
            made = make_accepted(shot, history, finding, result, self._network, earlier)
            accepted = replace(
                made,
                patient=self.album.patient(shot),
                doubts=tuple(
                    doubts_of(shot, result, history.mask, finding, self._limits)
                ),
                remark=self._contents.notice(shot.path, reader),
            )
            # What was accepted must not change with the network that is in use.
            self._append(shot, reader, history, [])
            self._journal.save_finding(shot.key, reader, finding)
            self._journal.save_accepted(shot.key, reader, accepted)
            try:
                self._collection.write(shot, reader, result.record, history.mask)
            except InputError:
                if earlier is None:
                    self._journal.forget_accepted(shot.key, reader)
                else:
                    self._journal.save_accepted(shot.key, reader, earlier)
                raise

    def withdraw(self, shot: Shot, reader: str) -> None:
        """Takes what a reader accepted out of the data set; drawings and findings stay.

        Raises:
            InputError: nothing was accepted, or the disk fails.
        """
        with self._lock:
            self._contents.check(shot.path)
            accepted = self._journal.accepted(reader, shot.key).get(shot.key)
            if accepted is None:
                raise InputError("image", "is not accepted", "accept it first")
            self._journal.withdraw(shot.key, reader)
            self._collection.remove(shot.key, reader, accepted.file, shot.path)

    def finish_writing(self) -> None:
        """Does what was accepted or withdrawn before the server was killed, and did not get to the disk.

        To be called before anything is edited: the masks must be those that were accepted.
        """
        scenes = self.album.refresh().values()
        self._contents.check(*(scene.path for scene in scenes))
        for key, reader in self._journal.unwritten():
            shot = find_shot(scenes, key)
            if shot is None:
                continue
            try:
                result = self.album.result(shot)
                mask = self._history(shot, reader, result).mask
                self._collection.write(shot, reader, result.record, mask)
            except InputError as error:
                words = "sonoseg: an accepted image was not written: %s"
                _logger.warning(words, error.problem)
        self._collection.finish_removing(scenes)

    def close(self) -> None:
        """Ends the work in the background and closes the journal."""
        self.album.close()
        self._journal.close()

    def _append(
        self, shot: Shot, reader: str, history: History, events: list[Event]
    ) -> None:
        """Adds events to the journal, and before the first ones the mask that the reader began with."""
        self._contents.note(shot.path)
        begin = [] if history.read else [history.start_event()]
        self._journal.append(shot.key, reader, [*begin, *events])

    def _history(
        self, shot: Shot, reader: str, result: SegmentationResult | None = None
    ) -> History:
        """The history with all events, also those that another process has added.

        Without the result there must be events.
        """
        # Another file under the same name has another history.
        place = (shot.key, reader, version_of(shot.path))
        history = self._histories.pop(place, None)
        after = 0 if history is None else history.read
        events = self._journal.events(shot.key, reader, after)
        if history is None:
            own = np.zeros((0, 0), bool) if result is None else result.mask
            history = History(own, self._network)
        for event in events:
            history.apply(event)
        self._histories[place] = history
        if len(self._histories) > _KEPT:
            self._histories.popitem(last=False)
        return history
