"""The list of a server's studies with ultrasound, the latest first, however many the server has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from sonoseg.errors import visible
from sonoseg.watch.dicomweb import DicomWeb, Entry, first_value, study_in

MOST = 1000
"""Studies in a list."""
_PATIENT, _NAME, _DATE, _TIME = "00100020", "00100010", "00080020", "00080030"
_DESCRIPTION, _IMAGES = "00081030", "00201208"
_EARLIEST = date(1980, 1, 1)
"""Where the search by halves begins; older studies are in the first half."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Days:
    """A range of days, both ends included; None is open.

    Studies without a date are only in the range that is open at both ends.
    """

    first: date | None = None
    last: date | None = None

    @classmethod
    def parse(cls, text: str) -> Days:
        """The range in a search: YYYYMMDD, or two of them with a dash between, of which one may be missing.

        Raises:
            ValueError: a day does not exist.
        """
        begin, dash, end = text.partition("-")
        first = _parsed(begin)
        return cls(first, _parsed(end) if dash else first)

    @property
    def query(self) -> dict[str, str]:
        """What a study must match (PS3.4 C.2.2.2.5)."""
        if self.first is None and self.last is None:
            return {}
        first, last = (
            "" if day is None else f"{day:%Y%m%d}" for day in (self.first, self.last)
        )
        return {"StudyDate": first if first == last else f"{first}-{last}"}

    def halves(self) -> list[Days]:
        """The earlier and the later half; none of a single day."""
        first, last = self.first or _EARLIEST, self.last or date.today()
        if first >= last:
            return []
        middle = first + (last - first) // 2
        return [Days(self.first, middle), Days(middle + _DAY, self.last)]


def latest_studies(
    server: DicomWeb, patient: str, days: str
) -> tuple[list[dict[str, Any]], bool]:
    """The studies with ultrasound, the latest first; at most `MOST`.

    A server may list studies in any order, and Orthanc 1.10 finds none behind the first page of a search for
    ModalitiesInStudy. So no more is asked for than fits into one answer: if there are more studies in a range of
    days, its halves are searched, the later one first.

    Args:
        server: the server.
        patient: Patient ID, or a part of the name with * for what is not known; "" for all.
        days: see `Days`; "" for all.

    Returns:
        the studies, and whether there are more. If there are, those without a date are left out.
    """
    query = {"ModalitiesInStudy": "US", "includefield": _DESCRIPTION}
    if patient:
        is_name = any(letter in patient for letter in "*?^")
        query["PatientName" if is_name else "PatientID"] = patient
    found: dict[str, Entry] = {}
    waiting = [Days.parse(days)]
    is_cut = False
    while waiting and len(found) < MOST:
        span = waiting.pop()
        asked = server.search("/studies", query | span.query, MOST + 1)
        entries = list(islice(asked, MOST + 1))
        halves = span.halves() if len(entries) > MOST else []
        if halves:
            # Not all of them fit, even if the halves have fewer: they lack the studies without a date.
            is_cut = True
            waiting += halves
            continue
        is_cut |= len(entries) > MOST
        for entry in entries:
            found.setdefault(study_in(entry), entry)
    latest = sorted(found.values(), key=_when, reverse=True)
    is_cut |= len(latest) > MOST or bool(waiting)
    return [_described(entry) for entry in latest[:MOST]], is_cut


def _parsed(text: str) -> date | None:
    return datetime.strptime(text, "%Y%m%d").date() if text else None


def _when(entry: Entry) -> tuple[str, str]:
    return _text(first_value(entry, _DATE)), _text(first_value(entry, _TIME))


def _described(entry: Entry) -> dict[str, Any]:
    name = first_value(entry, _NAME)
    spelled = name.get("Alphabetic", "") if isinstance(name, dict) else ""
    return {
        "study": study_in(entry),
        "date": _text(first_value(entry, _DATE)),
        "patient": _text(first_value(entry, _PATIENT)),
        "name": _text(spelled).replace("^", " ").strip(),
        "description": _text(first_value(entry, _DESCRIPTION)),
        "objects": _text(first_value(entry, _IMAGES)),
    }


def _text(value: object) -> str:
    return visible(str(value or ""))[:200]
