"""`sonoseg watch`: checks the options and watches a server."""

from __future__ import annotations

import logging
from pathlib import Path

from sonoseg.dicom.options import Options
from sonoseg.errors import InputError
from sonoseg.reader.segmenter import load
from sonoseg.watch.address import parse_address
from sonoseg.watch.dicomweb import DicomWeb
from sonoseg.watch.feed import Feed
from sonoseg.watch.handled import Handled
from sonoseg.watch.new_instances import NewInstances
from sonoseg.watch.orthanc import Orthanc
from sonoseg.watch.position import Position
from sonoseg.watch.transport import Transport
from sonoseg.watch.watcher import Watcher

_logger = logging.getLogger(__name__)


def watch_command(
    orthanc: str | None,
    dicomweb: str | None,
    days: int | None,
    state: Path,
    model: str,
    strict: bool,
    once: bool,
) -> tuple[str, int]:
    """Segments the new ultrasound images of a server until the process is stopped.

    Args:
        orthanc: URL of an Orthanc server; see `parse_address`.
        dicomweb: URL of a server with DICOMweb. One of the two is given.
        days: look only at studies of so many days; with DICOMweb only.
        state: the file that says how far it is.
        model: a shipped name or a bundle file.
        strict: see `sonoseg.dicom.options.Options`.
        once: end when there are no more new images.

    Returns:
        a line to print, and the exit code: 1 if some images could not be segmented.

    Raises:
        InputError: an option cannot be used, or see `Watcher.run`.
    """
    feed = _feed(orthanc, dicomweb, days, state)
    watcher = Watcher(feed, load(model), Options(strict))
    if not once:
        _logger.info("sonoseg: waiting for images in %s; stop it with Ctrl+C", feed.url)
    watcher.run(once)
    counts = watcher.counts
    text = f"{counts.segmented} images segmented, {counts.failed} failed"
    return f"{text}, {counts.others} other objects", 1 if counts.failed else 0


def _feed(
    orthanc: str | None, dicomweb: str | None, days: int | None, state: Path
) -> Feed:
    hint = "give the URL of Orthanc, or --dicomweb and a URL"
    if orthanc is not None and dicomweb is not None:
        raise InputError("--dicomweb", "there are two servers", hint)
    if dicomweb is not None:
        if days is not None and days < 0:
            raise InputError("--days", "is below 0", "give a number of days")
        address = parse_address(dicomweb)
        handled = Handled(state, address.url)
        return NewInstances(DicomWeb(Transport(address)), handled, days)
    if orthanc is None:
        raise InputError("URL", "is missing", hint)
    if days is not None:
        problem = "is only for --dicomweb: Orthanc lists its changes"
        raise InputError("--days", problem, "leave it out")
    address = parse_address(orthanc)
    return Orthanc(Transport(address), Position.read(state, address.url))
