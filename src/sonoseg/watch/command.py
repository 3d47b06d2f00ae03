"""`sonoseg watch`: checks the options and watches a server."""

from __future__ import annotations

import logging
from pathlib import Path

from sonoseg.dicom.options import Options
from sonoseg.reader.segmenter import load
from sonoseg.watch.address import parse_address
from sonoseg.watch.orthanc import Orthanc
from sonoseg.watch.position import Position
from sonoseg.watch.watcher import Watcher

_logger = logging.getLogger(__name__)


def watch_command(
    url: str, state: Path, model: str, strict: bool, once: bool
) -> tuple[str, int]:
    """Segments the new ultrasound images of an Orthanc server until the process is stopped.

    Args:
        url: of Orthanc; see `parse_address`.
        state: the file that says how far it is.
        model: a shipped name or a bundle file.
        strict: see `sonoseg.dicom.options.Options`.
        once: end when there are no more new images.

    Returns:
        a line to print, and the exit code: 1 if some images could not be segmented.

    Raises:
        InputError: an option cannot be used, or see `Watcher.run`.
    """
    address = parse_address(url)
    position = Position.read(state, address.url)
    watcher = Watcher(Orthanc(address), load(model), position, Options(strict))
    if not once:
        _logger.info(
            "sonoseg: waiting for images in %s; stop it with Ctrl+C", address.url
        )
    watcher.run(once)
    counts = watcher.counts
    text = f"{counts.segmented} images segmented, {counts.failed} failed"
    return f"{text}, {counts.others} other objects", 1 if counts.failed else 0
