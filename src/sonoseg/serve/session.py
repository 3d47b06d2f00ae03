"""A folder that is being annotated: the images, each reader's masks and findings, and the data set that comes of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonoseg.core.measure import Lesion
from sonoseg.errors import InputError
from sonoseg.files import output_folder
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve import collect
from sonoseg.serve.album import Album
from sonoseg.serve.calipers import diameters_text, measured, spacing_text
from sonoseg.serve.collection import Collection
from sonoseg.serve.edits import Edit, edited
from sonoseg.serve.findings import check_label, check_words
from sonoseg.serve.history import History, begin_history
from sonoseg.serve.journal import Accepted, Event, Finding, Journal
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask, Patch, difference, whole_patch
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scenes import Scene, Shot, find_shot
from sonoseg.serve.states import all_states, joined_state, state_of

_logger = logging.getLogger(__name__)
FOLDER = "annotations"
"""Beside the images: the journal, and a folder with a data set for each reader."""
_KEPT = 8
"""Histories that are kept in memory; others are read from the journal again."""


@dataclass(frozen=True)
class View:
    """What a reader sees of one image.

    Attributes:
        mask: (H, W) bool.
        revision: number of the last event; 0 if nothing was drawn.
        undo, redo: how many changes can be undone and redone.
        lesions: of the mask, in mm if the reader typed a spacing.
        by_hand: for each lesion, whether its diameters are the reader's calipers.
        finding: what the reader wrote; of a frame that has none yet, what was last written for its loop.
        state: open (not touched), edited, accepted, or changed (after it was accepted).
    """

    mask: Mask
    revision: int
    undo: int
    redo: int
    lesions: Sequence[Lesion]
    by_hand: list[bool]
    finding: Finding
    state: str


class Session:
    """The folder; may be used from several threads.

    Args:
        folder: with images; what is written lies in its folder annotations/.
        segmenter: the network.
        pool: where images are segmented.
        limits: on the images.

    Raises:
        InputError: the folder cannot be read or written to.
    """

    def __init__(
        self, folder: Path, segmenter: Segmenter, pool: Pool, limits: Limits
    ) -> None:
        self.album = Album(folder, segmenter, pool, limits)
        self.folder = output_folder(folder / FOLDER)
        self.album.refresh()
        self._card = segmenter.card
        self._journal = Journal(self.folder / "session.db")
        self._collection = Collection(self.folder, self._journal, segmenter, limits)
        self._lock = threading.RLock()
        self._histories: OrderedDict[tuple[str, str], History] = OrderedDict()

    def entries(self, reader: str) -> list[dict[str, Any]]:
        """One entry per scene: identifier, name, state for this reader, label, and frames: all and accepted."""
        states = all_states(self._journal, reader)
        entries = []
        for identifier, scene in self.album.refresh().items():
            own = states.get(scene.key, {}).values()
            entry = {
                "id": identifier,
                "name": scene.name,
                "place": scene.place,
                "state": joined_state([one.state for one in own]),
                "label": next((one.label for one in own if one.label), ""),
                "frames": scene.frames,
                "accepted": sum(one.state == "accepted" for one in own),
            }
            entries.append(entry)
        return entries

    def frame_states(self, scene: Scene, reader: str) -> dict[int, str]:
        """The state of each frame of a loop that was touched."""
        own = all_states(self._journal, reader).get(scene.key, {})
        return {frame: one.state for frame, one in own.items() if one.state != "open"}

    def view(self, shot: Shot, reader: str) -> View:
        """An image as a reader left it.

        Raises:
            InputError: the image cannot be read, or has another size than when it was annotated.
        """
        result = self.album.result(shot)
        with self._lock:
            history = self._history(shot, reader, result)
            mask, revision = history.mask.copy(), history.number
            undo, redo = history.undo_count, history.redo_count
            own, finding = self._findings(shot, reader, result)
            accepted = self._journal.accepted(reader, shot.key).get(shot.key)
        lesions, by_hand = measured(mask, result, finding)
        state = state_of(own, accepted, revision)
        return View(mask, revision, undo, redo, lesions, by_hand, finding, state)

    def known_mask(self, shot: Shot, reader: str) -> Mask | None:
        """A frame's mask as the reader left it, or the network's; None if the frame was not segmented yet."""
        with self._lock:
            if self._journal.last_numbers(reader, shot.key):
                return self._history(shot, reader).mask.copy()
        return self.album.loop(shot.scene).mask(shot)

    def edit(self, shot: Shot, reader: str, edit: Edit) -> Patch:
        """Changes a mask, and keeps the change in the journal before it returns.

        Returns:
            what has changed. All of the mask if the edit was known already.

        Raises:
            Refused: status 409, the client has not seen the last change.
            InputError: the edit does not fit the image.
        """
        result = self.album.result(shot)
        key = shot.key
        with self._lock:
            history = self._history(shot, reader, result)
            if self._journal.has(key, reader, edit.key):
                return whole_patch(history.mask)
            _check_seen(edit.after, history)
            before = history.mask.copy()
            if edit.tool in ("undo", "redo"):
                event = Event(edit.key, edit.tool, edit.tool)
            else:
                after = edited(before, history.start, result, self._card, edit)
                event = Event(edit.key, "patch", edit.tool, difference(before, after))
            events = [event]
            if history.number == 0:
                start = Event("start", "start", "network", whole_patch(history.start))
                events.insert(0, start)
            self._journal.append(key, reader, events)
            after = self._history(shot, reader, result).mask
            return difference(before, after)

    def write_finding(self, shot: Shot, reader: str, finding: Finding) -> None:
        """Keeps what a reader wrote; what was accepted before stays accepted as it was.

        Raises:
            InputError: an unknown label or category, or a spacing that is no pixel size.
        """
        check_words(finding)
        self._journal.save_finding(shot.key, reader, finding)

    def accept(self, shot: Shot, reader: str, after: int) -> None:
        """Puts the mask and the finding of a reader into the reader's data set.

        Args:
            shot: the image.
            reader: who accepts.
            after: number of the event that the client saw last.

        Raises:
            Refused: status 409, the client has not seen the last change.
            InputError: the label is missing, or does not fit the mask; or the disk fails.
        """
        result = self.album.result(shot)
        with self._lock:
            history = self._history(shot, reader, result)
            _check_seen(after, history)
            _, finding = self._findings(shot, reader, result)
            check_label(finding.label, history.mask)
            lesions, _ = measured(history.mask, result, finding)
            about = (self._collection.patient(shot), diameters_text(lesions))
            earlier = self._journal.accepted(reader, shot.key).get(shot.key)
            file = collect.collected_name(shot)
            accepted = Accepted(finding, history.number, file, *about, time.time())
            self._journal.save_finding(shot.key, reader, finding)
            self._journal.save_accepted(shot.key, reader, accepted)
            try:
                self._collection.write(shot, reader, result, history.mask)
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
        for key, reader in self._journal.unwritten():
            shot = find_shot(scenes, key)
            if shot is None:
                continue
            try:
                result = self.album.result(shot)
                mask = self._history(shot, reader, result).mask
                self._collection.write(shot, reader, result, mask)
            except InputError as error:
                words = "sonoseg: an accepted image was not written: %s"
                _logger.warning(words, error.problem)
        for key, reader, file in self._journal.leaving():
            shot = find_shot(scenes, key)
            path = None if shot is None else shot.path
            try:
                self._collection.remove(key, reader, file, path)
            except InputError as error:
                words = "sonoseg: a withdrawn image was not removed: %s"
                _logger.warning(words, error.problem)

    def close(self) -> None:
        """Ends the work in the background and closes the journal."""
        self.album.close()
        self._journal.close()

    def _findings(
        self, shot: Shot, reader: str, result: SegmentationResult
    ) -> tuple[Finding, Finding]:
        """What the reader wrote about an image, and what is shown: words of the loop, and the file's spacing."""
        known = self._journal.findings(reader, shot.key)
        own = shown = known.get(shot.key, Finding())
        if own == Finding() and shot.scene.frames > 1:
            begin = f"{shot.scene.key}/"
            for key, finding in self._journal.findings(reader).items():
                if key.startswith(begin):
                    shown = replace(finding, calipers="")
        if shown == Finding() and result.spacing is not None:
            shown = Finding(spacing=spacing_text(result.spacing))
        return own, shown

    def _history(
        self, shot: Shot, reader: str, result: SegmentationResult | None = None
    ) -> History:
        """The history with all events, also those that another process has added.

        Without the result there must be events.
        """
        key = shot.key
        history = self._histories.pop((key, reader), None)
        after = 0 if history is None else history.number
        events = self._journal.events(key, reader, after)
        if history is None:
            history = begin_history(events, None if result is None else result.mask)
        for event in events:
            history.apply(event)
        self._histories[key, reader] = history
        if len(self._histories) > _KEPT:
            self._histories.popitem(last=False)
        return history


def _check_seen(after: int, history: History) -> None:
    if after != history.number:
        problem = "was changed in another window"
        raise Refused(
            409, "image", problem, "look at it again, then repeat the last step"
        )
