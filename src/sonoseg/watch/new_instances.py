"""The new ultrasound of a DICOMweb server: it has no list of changes, so its series are compared with what is known."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from sonoseg.watch.dicomweb import (
    DicomWeb,
    Place,
    first_value,
    series_in,
    study_in,
)
from sonoseg.watch.handled import Handled
from sonoseg.watch.transport import Refusal

_COUNT = "00201209"
"""Number of Series Related Instances."""


class NewInstances:
    """The new instances of a DICOMweb server; see `sonoseg.watch.feed.Feed`.

    Args:
        server: the server.
        handled: what needs not be looked at.
        days: look only at studies of so many days; None looks at all.
    """

    HINT = "give the address of DICOMweb, such as http://HOST:8042/dicom-web"
    POLL_SECONDS = 10.0

    def __init__(self, server: DicomWeb, handled: Handled, days: int | None) -> None:
        self._server, self._handled, self._days = server, handled, days
        self._queue: list[tuple[str, str, str]] = []
        self._counts: dict[str, str] = {}
        self._places: dict[str, Place] = {}
        self._is_listed = False

    @property
    def url(self) -> str:
        """The server's address, without password."""
        return self._server.url

    @property
    def folder(self) -> Path:
        """Where files may lie for a moment."""
        return self._handled.path.parent

    def begin(self) -> str:
        """Forgets what was seen of the server; what was handled is kept."""
        self._queue.clear()
        self._counts.clear()
        self._is_listed = False
        return ""

    def next(self) -> list[str] | None:
        """The instances of the next series that were not handled; None after all series that have changed."""
        if not self._queue and not self._is_listed:
            self._queue = self._changed_series()
            self._is_listed = True
        if not self._queue:
            self._is_listed = False
            return None
        study, series, count = self._queue.pop(0)
        try:
            places = self._server.instances(study, series)
        except Refusal as error:
            if error.status != 404:
                raise
            places = []  # it was deleted after it was listed
        self._places.clear()
        for place in places:
            if place.instance not in self._handled:
                self._places[place.instance] = place
        self._counts[series] = count
        return list(self._places)

    def finish(self, instance: str) -> None:
        """Notes that an instance was handled."""
        self._handled.add(instance)

    def kind(self, instance: str) -> str:
        """The SOP Class UID of an instance, "" if the server did not tell it."""
        return self._places[instance].kind

    def download(self, instance: str, path: Path) -> None:
        """Writes the DICOM file of an instance to `path`."""
        self._server.download(self._places[instance], path)

    def store(self, content: bytes) -> None:
        """Stores a DICOM file."""
        self._server.store(content)

    def _changed_series(self) -> list[tuple[str, str, str]]:
        """Study, series and number of instances of each series that is new or has another number than before."""
        query = {"Modality": "US", "includefield": _COUNT}
        if self._days is not None:
            first = date.today() - timedelta(days=self._days)
            query["StudyDate"] = f"{first:%Y%m%d}-"
        changed = []
        for entry in self._server.search("/series", query):
            # Not all servers count; then the series is always looked at.
            count = str(first_value(entry, _COUNT) or "")
            series = series_in(entry)
            if not count or self._counts.get(series) != count:
                changed.append((study_in(entry), series, count))
        return changed
