"""A folder that is being annotated: the images, each reader's masks and findings, and the data set that comes of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sonoseg.core.image import parse_spacing
from sonoseg.core.measure import Lesion, Spacing
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, output_folder
from sonoseg.reader.result import SegmentationResult, measure_lesions
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve import collect
from sonoseg.serve.album import Album, name_of
from sonoseg.serve.edits import Edit, edited
from sonoseg.serve.findings import check_label, check_words
from sonoseg.serve.history import History, empty_history
from sonoseg.serve.journal import Accepted, Event, Finding, Journal
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask, Patch, difference, squeeze
from sonoseg.serve.pool import Pool
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import write_objects

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
        finding: what the reader wrote.
        state: open (not touched), edited, accepted, or changed (after it was accepted).
    """

    mask: Mask
    revision: int
    undo: int
    redo: int
    lesions: tuple[Lesion, ...]
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
        self._card, self._segmenter, self._limits = segmenter.card, segmenter, limits
        self._journal = Journal(self.folder / "session.db")
        self._lock = threading.RLock()
        self._histories: OrderedDict[tuple[str, str], History] = OrderedDict()

    def entries(self, reader: str) -> list[dict[str, str]]:
        """One entry per image: its identifier, name, state for this reader, and label."""
        findings, accepted = (
            self._journal.findings(reader),
            self._journal.accepted(reader),
        )
        numbers = self._journal.last_numbers(reader)
        entries = []
        for identifier, path in self.album.refresh().items():
            name = name_of(path)
            finding = findings.get(name, Finding())
            state = _state(finding, accepted.get(name), numbers.get(name, 0))
            entries.append(
                {"id": identifier, "name": name, "state": state, "label": finding.label}
            )
        return entries

    def view(self, identifier: str, reader: str) -> View:
        """An image as a reader left it.

        Raises:
            InputError: the image cannot be read, or has another size than when it was annotated.
        """
        result = self.album.result(identifier)
        name = name_of(self.album.path(identifier))
        with self._lock:
            history = self._history(name, reader, result)
            mask, revision = history.mask.copy(), history.number
            undo, redo = history.undo_count, history.redo_count
            finding = self._journal.findings(reader).get(name, Finding())
            accepted = self._journal.accepted(reader).get(name)
        lesions = _measured(mask, result, finding)
        state = _state(finding, accepted, revision)
        if finding == Finding() and result.spacing is not None:
            finding = Finding(spacing=_spacing_text(result.spacing))  # of a DICOM file
        return View(mask, revision, undo, redo, lesions, finding, state)

    def edit(self, identifier: str, reader: str, edit: Edit) -> Patch:
        """Changes a mask, and keeps the change in the journal before it returns.

        Returns:
            what has changed. All of the mask if the edit was known already.

        Raises:
            Refused: status 409, the client has not seen the last change.
            InputError: the edit does not fit the image.
        """
        result = self.album.result(identifier)
        name = name_of(self.album.path(identifier))
        with self._lock:
            history = self._history(name, reader, result)
            if self._journal.has(name, reader, edit.key):
                return _whole(history.mask)
            _check_seen(edit.after, history)
            before = history.mask.copy()
            if edit.tool in ("undo", "redo"):
                event = Event(edit.key, edit.tool, edit.tool)
            else:
                after = edited(before, history.start, result, self._card, edit)
                event = Event(edit.key, "patch", edit.tool, difference(before, after))
            events = [event]
            if history.number == 0:
                events.insert(
                    0, Event("start", "start", "network", _whole(history.start))
                )
            self._journal.append(name, reader, events)
            after = self._history(name, reader, result).mask
            return difference(before, after)

    def write_finding(self, identifier: str, reader: str, finding: Finding) -> None:
        """Keeps what a reader wrote; what was accepted before stays accepted as it was.

        Raises:
            InputError: an unknown label or category, or a spacing that is no pixel size.
        """
        check_words(finding)
        name = name_of(self.album.path(identifier))
        self._journal.save_finding(name, reader, finding)

    def accept(self, identifier: str, reader: str, after: int) -> None:
        """Puts the mask and the finding of a reader into the reader's data set.

        Args:
            identifier: of the image.
            reader: who accepts.
            after: number of the event that the client saw last.

        Raises:
            Refused: status 409, the client has not seen the last change.
            InputError: the label is missing, or does not fit the mask; or the disk fails.
        """
        result = self.album.result(identifier)
        path = self.album.path(identifier)
        name = name_of(path)
        with self._lock:
            history = self._history(name, reader, result)
            _check_seen(after, history)
            finding = self._journal.findings(reader).get(name, Finding())
            check_label(finding.label, history.mask)
            earlier = self._journal.accepted(reader).get(name)
            file = collect.collected_name(path)
            accepted = Accepted(finding, history.number, file, False, time.time())
            self._journal.save_accepted(name, reader, accepted)
            try:
                self._write(path, reader, result, history.mask)
            except InputError:
                self._journal.save_accepted(name, reader, earlier)
                raise

    def finish_writing(self) -> None:
        """Writes what was accepted before the server was killed, and did not get to the disk.

        To be called before anything is edited: the masks must be those that were accepted.
        """
        identifiers = {name_of(path): key for key, path in self.album.refresh().items()}
        for name, reader in self._journal.unwritten():
            if name not in identifiers:
                continue
            identifier = identifiers[name]
            try:
                result = self.album.result(identifier)
                mask = self._history(name, reader, result).mask
                self._write(self.album.path(identifier), reader, result, mask)
            except InputError as error:
                _logger.warning(
                    "sonoseg: an accepted image was not written: %s", error.problem
                )

    def close(self) -> None:
        """Closes the journal."""
        self._journal.close()

    def _history(self, name: str, reader: str, result: SegmentationResult) -> History:
        """The history with all events, also those that another process has added."""
        history = self._histories.pop((name, reader), None)
        after = 0 if history is None else history.number
        events = self._journal.events(name, reader, after)
        if history is None:
            history = _begin(events, result)
        for event in events:
            history.apply(event)
        self._histories[name, reader] = history
        if len(self._histories) > _KEPT:
            self._histories.popitem(last=False)
        return history

    def _write(
        self, path: Path, reader: str, result: SegmentationResult, mask: Mask
    ) -> None:
        """Writes one accepted image, and the tables of all that are on the disk."""
        name = name_of(path)
        accepted = self._journal.accepted(reader)
        written = []
        for other, one in accepted.items():
            if one.is_written or other == name:
                written.append(one)
        folder = self.folder / collect.folder_name(reader)
        with atomic_files():
            collect.write_accepted(folder, path, result.record, mask, written, reader)
            if is_dicom_file(path):
                is_own = np.array_equal(mask, result.mask)
                settings = (self._segmenter, not is_own, self._limits)
                write_objects(folder / "dicom", path, mask, *settings)
        self._journal.save_accepted(
            name, reader, replace(accepted[name], is_written=True)
        )


def _begin(events: list[Event], result: SegmentationResult) -> History:
    """The history before its events: the network's own mask, or nothing if its first event has one."""
    if not events:
        return History(result.mask.copy())
    start = events[0].patch
    if start is None or (start.height, start.width) != result.mask.shape:
        problem = "has another size than when it was annotated"
        raise InputError("image", problem, "give the new image another name")
    return empty_history((start.height, start.width))


def _whole(mask: Mask) -> Patch:
    """A patch that makes all of a mask of any other."""
    height, width = mask.shape
    return Patch(0, 0, width, height, squeeze(np.zeros_like(mask)), squeeze(mask))


def _measured(
    mask: Mask, result: SegmentationResult, finding: Finding
) -> tuple[Lesion, ...]:
    """The lesions of a mask, with the spacing that the reader typed."""
    spacing = parse_spacing(finding.spacing) if finding.spacing else result.spacing
    return measure_lesions(mask, result.network_map, result.image, spacing)


def _spacing_text(spacing: Spacing) -> str:
    row, column = (f"{length:.6g}" for length in spacing)
    return row if row == column else f"{row},{column}"


def _state(finding: Finding, accepted: Accepted | None, number: int) -> str:
    if accepted is not None:
        is_same = accepted.number == number and accepted.finding == finding
        return "accepted" if is_same else "changed"
    return "open" if number == 0 and finding == Finding() else "edited"


def _check_seen(after: int, history: History) -> None:
    if after != history.number:
        problem = "was changed in another window"
        raise Refused(
            409, "image", problem, "look at it again, then repeat the last step"
        )
