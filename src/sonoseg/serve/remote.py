"""Studies of a DICOMweb server: they are listed, and their ultrasound is fetched into the folder that is annotated."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import visible
from sonoseg.files import is_there
from sonoseg.serve.refusal import Refused
from sonoseg.serve.studies import latest_studies
from sonoseg.temporary import forget, temporary_name
from sonoseg.watch.dicomweb import (
    DicomWeb,
    Place,
    first_value,
    series_in,
)
from sonoseg.watch.handled import Handled
from sonoseg.watch.transport import Refusal, ServerFailure, Unreachable

FETCHED = "fetched.txt"
_MOST_IMAGES = 500
"""Of one study."""
_DAY = re.compile(r"\d{8}")
_STUDY_DATE = "00080020"
_SERIES_NUMBER = "00200011"
_META_BEGIN = 144
"""Bytes before the elements that File Meta Information Group Length counts (PS3.10 section 7.1)."""


@dataclass(frozen=True)
class Fetched:
    """What came of a study.

    Attributes:
        images: how many ultrasound images the study has.
        missing: SOP Instance UID of each image that did not come, and why.
    """

    images: int
    missing: list[str]


class Remote:
    """The server whose images are annotated.

    Args:
        server: the server.
        folder: where images are put.
        annotations: where it is kept which images came from the server.

    Raises:
        InputError: a folder cannot be written to, or holds images of another server.
    """

    def __init__(self, server: DicomWeb, folder: Path, annotations: Path) -> None:
        self._server, self._folder = server, folder
        hint = "give another folder for each server"
        self.fetched = Handled(annotations / FETCHED, server.url, hint)
        self._busy = threading.Lock()

    @property
    def url(self) -> str:
        """The server's address, without password."""
        return self._server.url

    def studies(
        self, patient: str = "", days: str = ""
    ) -> tuple[list[dict[str, Any]], bool]:
        """The studies with ultrasound, the latest first, and whether there are more; see `latest_studies`.

        Raises:
            Refused: status 422, a day does not exist, or 502, the server does not answer, or refuses.
        """
        with _Answering(self.url):
            try:
                return latest_studies(self._server, patient, days)
            except ValueError:
                hint = "write it as YYYYMMDD"
                raise Refused(422, "days", "a day does not exist", hint) from None

    def fetch(self, study: str) -> Fetched:
        """Fetches the ultrasound of a study.

        A file that was corrected on the server since replaces its copy in the folder. An image that the server does
        not deliver does not hold up the others.

        Raises:
            Refused: another study is being fetched (429), the study is too large (422), or the server does not
                answer, refuses, or delivers none of the images (502).
            InputError: the disk is full or cannot be written to.
        """
        if not self._busy.acquire(blocking=False):
            problem = "another study is being fetched"
            raise Refused(429, "server", problem, "try again in a few seconds")
        try:
            with _Answering(self.url):
                return self._fetch_all(self._images(study))
        finally:
            self._busy.release()

    def _fetch_all(self, images: dict[str, Place]) -> Fetched:
        missing = []
        for name, place in images.items():
            try:
                self._fetch(name, place)
            except (Refusal, ServerFailure) as error:
                if isinstance(error, Refusal) and error.is_general:
                    raise
                missing.append(f"{place.instance}: {visible(str(error))}")
                if len(missing) == len(images):
                    raise
        return Fetched(len(images), missing)

    def _images(self, study: str) -> dict[str, Place]:
        """The images of a study by the names of their files."""
        images: dict[str, Place] = {}
        query = {"Modality": "US", "includefield": _STUDY_DATE}
        for entry in self._server.search(f"/studies/{study}/series", query):
            day = str(first_value(entry, _STUDY_DATE) or "")
            day = day if _DAY.fullmatch(day) else "undated"
            number = str(first_value(entry, _SERIES_NUMBER) or "0")[:6]
            for place in self._server.instances(study, series_in(entry)):
                order = re.sub(r"\D", "", number) or "0"
                name = f"{day}_{_short(study)}_series{order}_{_short(place.instance)}"
                images[f"{name}.dcm"] = place
            if len(images) > _MOST_IMAGES:
                problem = f"has over {_MOST_IMAGES} ultrasound images"
                raise Refused(422, "study", problem, "use sonoseg watch")
        return images

    def _fetch(self, name: str, place: Place) -> None:
        path = self._folder / name
        # What a killed server leaves is removed by the next one.
        temporary = self._folder / temporary_name(".dcm")
        try:
            self._server.download(place, temporary)
            if path.stem not in self.fetched:
                self.fetched.add(path.stem)
            # The session sees when it is another file than before.
            if not (is_there(path) and _content_of(temporary) == _content_of(path)):
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            forget(temporary)


class _Answering:
    """Turns errors of the server into refusals of ours."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, (Unreachable, Refusal)):
            hint = f"look whether {self._url} works"
            raise Refused(502, "DICOMweb", visible(str(error)), hint) from error


def _content_of(path: Path) -> tuple[str, str]:
    """Transfer syntax and checksum of a DICOM file, without what a server writes before it when it sends it."""
    from pydicom.filereader import read_file_meta_info

    begin, syntax = 0, ""
    with contextlib.suppress(Exception):  # whatever a damaged file makes pydicom do
        meta = read_file_meta_info(path)
        begin = _META_BEGIN + int(meta.FileMetaInformationGroupLength)
        syntax = str(meta.TransferSyntaxUID)
    with path.open("rb") as file:
        file.seek(begin)
        return syntax, hashlib.file_digest(file, "sha256").hexdigest()


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
