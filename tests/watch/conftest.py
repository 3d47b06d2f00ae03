"""A small archive, and ultrasound for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from orthanc_archive import Archive

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.reader.bundle import Bundle, default_bundle_path
from sonoseg.reader.segmenter import Segmenter


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    # One thread: threads that wait for each other cost processor time.
    return Segmenter(Bundle.read(default_bundle_path(), threads=1))


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The contents of a still, a loop, a split screen and another still."""
    folder = tmp_path_factory.mktemp("scans")
    write_dicom_phantoms(folder, 4)
    return [path.read_bytes() for path in sorted((folder / "images").iterdir())]


@pytest.fixture
def archive() -> Iterator[Archive]:
    server = Archive()
    yield server
    server.stop()
