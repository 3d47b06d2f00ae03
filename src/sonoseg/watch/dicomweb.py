"""A server's DICOMweb interface: search (QIDO-RS), retrieve (WADO-RS) and store (STOW-RS), PS3.18 chapter 10."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sonoseg.errors import InputError, visible
from sonoseg.watch.multipart import only_part
from sonoseg.watch.stored import StoreAnswer, read_store_answer
from sonoseg.watch.transport import Refusal, Transport, Unreachable, parse_json

_PAGE = 100
"""Entries that are asked for at once. A server may answer with fewer."""
_JSON = {"Accept": "application/dicom+json"}
_FILE = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
"""As it is stored: the server need not decompress it."""
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_LEVELS = (_INSTANCE, _SERIES, _STUDY)
_DUPLICATE = 0x0111
"""Failure reason of an instance that is there already (PS3.18 table I.2-2)."""
_OUT_OF_RESOURCES = range(0xA700, 0xA800)

_logger = logging.getLogger(__name__)
Entry = dict[str, Any]
"""One answer of a search, in the DICOM JSON model (PS3.18 annex F)."""


@dataclass(frozen=True)
class Place:
    """Where an instance is found: the UIDs of its study, its series and itself, and its SOP Class UID."""

    study: str
    series: str
    instance: str
    kind: str = ""

    @property
    def path(self) -> str:
        """After the address of the server."""
        return f"{series_path(self.study, self.series)}/instances/{self.instance}"


class DicomWeb:
    """A server with DICOMweb. Every method raises `Unreachable` or `Refusal`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._left_out: set[str] = set()
        self._cut: set[str] = set()

    @property
    def url(self) -> str:
        """The server's address, without password."""
        return self._transport.address.url

    def search(
        self, path: str, query: dict[str, str], size: int = _PAGE
    ) -> Iterator[Entry]:
        """All entries that a search finds, page by page.

        Those whose UID is none, as some programs for anonymisation write, are left out and logged: such a UID must not
        become part of an address.

        Args:
            path: such as /studies.
            query: what they must match, and what to tell of them.
            size: how many entries are asked for at once.
        """
        offset = 0
        seen: set[str] = set()
        while True:
            page = self._search_page(path, query, (size, offset))
            keys = {_key(entry) for entry in page}
            # Some servers do not know `offset`, and answer the same again.
            if keys <= seen:
                if len(page) == size:
                    self._warn_of_cut(path, size)
                return
            seen |= keys
            yield from filter(self._is_usable, page)
            offset += len(page)

    def _warn_of_cut(self, path: str, size: int) -> None:
        """Warns once that a search may have found more than the server lists."""
        if path not in self._cut:
            self._cut.add(path)
            words = "sonoseg: %s: lists only its first %d of %s; there may be more"
            _logger.warning(words, self.url, size, path)

    def _is_usable(self, entry: Entry) -> bool:
        wrong = []
        for tag in _LEVELS:
            if tag in entry and not _UID.fullmatch(_text(entry, tag)):
                wrong.append(_text(entry, tag))
        for uid in set(wrong) - self._left_out:
            self._left_out.add(uid)
            words = visible(f'"{uid[:64]}" is no UID; what it names is passed over')
            _logger.warning("sonoseg: %s: %s", self.url, words)
        return not wrong

    def instances(self, study: str, series: str) -> list[Place]:
        """The instances of a series, in the order in which the server lists them."""
        places = []
        for entry in self.search(f"{series_path(study, series)}/instances", {}):
            uid = uid_in(entry, _INSTANCE)
            kind = str(first_value(entry, _CLASS) or "")
            places.append(Place(study, series, uid, kind))
        return places

    def download(self, place: Place, path: Path) -> None:
        """Writes the DICOM file of an instance to `path`.

        Raises:
            InputError: the disk is full or cannot be written to.
            Refusal: also: what came is not DICOM, or of another image.
        """
        self._transport.save(place.path, _FILE, path, only_part)
        _check_file(place, path)

    def store(self, content: bytes) -> None:
        """Stores a DICOM file. One that is there already is left to the server, and is no error."""
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        try:
            headers = {**_JSON, "Content-Type": kind}
            content = self._transport.read("/studies", headers, body)
        except Refusal as refusal:
            answer = read_store_answer(refusal.content)
            if refusal.status != 409 or answer is None or not answer.reasons:
                raise
        else:
            answer = read_store_answer(content)
            if answer is None:  # a proxy's page: nothing was stored
                raise strange()
        _check_stored(answer)

    def _search_page(
        self, path: str, query: dict[str, str], page: tuple[int, int]
    ) -> list[Entry]:
        limit, offset = page
        words = {**query, "limit": str(limit), "offset": str(offset)}
        text = self._transport.read(f"{path}?{urlencode(words)}", _JSON)
        if not text:  # status 204: nothing is found
            return []
        entries = parse_json(text)
        if not isinstance(entries, list):
            raise strange()
        for entry in entries:
            if not isinstance(entry, dict):
                raise strange()
        return entries


def series_path(study: str, series: str) -> str:
    """The path of a series."""
    return f"/studies/{study}/series/{series}"


def strange() -> Unreachable:
    """The error for an answer that DICOMweb does not have."""
    return Unreachable("its answer is not that of DICOMweb")


def first_value(entry: Entry, tag: str) -> Any:
    """The first value of an element in an entry, None if there is none."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def uid_in(entry: Entry, tag: str) -> str:
    """A UID in an entry. It becomes part of an address, so it is checked."""
    uid = first_value(entry, tag)
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise strange()
    return uid


def study_in(entry: Entry) -> str:
    """The Study Instance UID of an entry."""
    return uid_in(entry, _STUDY)


def series_in(entry: Entry) -> str:
    """The Series Instance UID of an entry."""
    return uid_in(entry, _SERIES)


def _key(entry: Entry) -> str:
    """What an entry is of: its lowest UID."""
    for tag in _LEVELS:
        if tag in entry:
            return _text(entry, tag)
    raise strange()


def _text(entry: Entry, tag: str) -> str:
    """The first value of an element that holds text; "" if it is empty."""
    value = first_value(entry, tag)
    if not isinstance(value, str | None):
        raise strange()
    return value or ""


def _check_file(place: Place, path: Path) -> None:
    """Refuses a file that is not the one that was asked for: its results would go to another patient."""
    # Not at the top: sonoseg serve also works without the extra dicom.
    from sonoseg.dicom.damage import dicom_errors
    from sonoseg.dicom.header import open_dicom
    from sonoseg.dicom.recognise import is_dicom_file

    if not is_dicom_file(path):  # such as an error in JSON with status 200
        raise Refusal(0, "it sends something else than DICOM")
    try:
        dataset = open_dicom(path).dataset
        with dicom_errors(str(path)):
            found = dataset.get("StudyInstanceUID"), dataset.get("SOPInstanceUID")
    except InputError:  # it is damaged: whoever reads it says so
        return
    if found != (place.study, place.instance):
        raise Refusal(0, "it sends another image than it lists")


def _check_stored(answer: StoreAnswer) -> None:
    for reason in answer.reasons:
        if reason == _DUPLICATE:
            continue
        if reason in _OUT_OF_RESOURCES:
            raise Unreachable("it has no room to store")
        raise Refusal(0, f"failure reason {reason:#06x}")
    # Orthanc names no failure when its disk is full.
    if answer.stored == 0 and not answer.reasons:
        raise Unreachable("it did not store a result, and does not say why")
