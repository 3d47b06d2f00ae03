"""`sonoseg watch` beside a real Orthanc, over its own interface and over DICOMweb.

Each side is restarted in the middle: nothing twice, nothing lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from servers import PATIENCE, Orthanc

from sonoseg.data.dicom_phantom import write_dicom_phantoms


class Watching:
    """A running `sonoseg watch`; what it logs is in the file `log`."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.log = folder / "watch.log"
        self._file = self.log.open("ab")
        command = [sys.executable, "-m", "sonoseg", "watch", *words]
        command += ["--state", str(folder / "state.json")]
        self._process = subprocess.Popen(command, stdout=self._file, stderr=self._file)

    def kill(self) -> None:
        """Ends it at once, whatever it is doing."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._file.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc of the test's own."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = Orthanc(folder)
    yield server
    server.stop()


@pytest.fixture(params=["rest", "dicomweb"])
def words(archive: Orthanc, request: pytest.FixtureRequest) -> list[str]:
    """The words of the command that name the server."""
    if request.param == "rest":
        return [archive.url]
    return ["--dicomweb", f"{archive.url}/dicom-web"]


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Nine files: three stills, three loops, three split screens."""
    write_dicom_phantoms(tmp_path / "scans", 9)
    return sorted((tmp_path / "scans" / "images").iterdir())


def ask(archive: Orthanc, path: str) -> Any:
    with urllib.request.urlopen(archive.url + path, timeout=30) as reply:
        return json.load(reply)


def send(archive: Orthanc, scan: Path) -> None:
    url = f"{archive.url}/instances"
    with urllib.request.urlopen(url, scan.read_bytes(), timeout=30) as reply:
        assert json.load(reply)["Status"] == "Success"


def stored(archive: Orthanc) -> Counter[tuple[str, str]]:
    """How many objects there are by study and modality."""
    counts: Counter[tuple[str, str]] = Counter()
    for series in ask(archive, "/series?expand"):
        study = ask(archive, f"/series/{series['ID']}/study")
        uid = study["MainDicomTags"]["StudyInstanceUID"]
        modality = series["MainDicomTags"]["Modality"]
        counts[uid, modality] += len(series["Instances"])
    return counts


def wanted(scans: list[Path]) -> Counter[tuple[str, str]]:
    """One SEG and one SR in the study of each image; every phantom has a lesion."""
    counts: Counter[tuple[str, str]] = Counter()
    for scan in scans:
        uid = pydicom.dcmread(scan, stop_before_pixels=True).StudyInstanceUID
        for modality in ("US", "SEG", "SR"):
            counts[uid, modality] += 1
    return counts


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(what)


def sent_results(archive: Orthanc) -> int:
    kinds = stored(archive)
    return sum(count for (_, kind), count in kinds.items() if kind != "US")


def test_new_images_get_their_results(
    archive: Orthanc, words: list[str], scans: list[Path], tmp_path: Path
) -> None:
    watching = Watching(words, tmp_path)
    for scan in scans[:3]:
        send(archive, scan)
    wait_for(lambda: stored(archive) == wanted(scans[:3]), watching.log.read_text())
    watching.kill()


def test_a_restart_of_the_watcher_stores_nothing_twice(
    archive: Orthanc, words: list[str], scans: list[Path], tmp_path: Path
) -> None:
    for scan in scans:
        send(archive, scan)
    seen = []
    for least in (1, 4, 9, 14):
        watching = Watching(words, tmp_path)
        wait_for(lambda least=least: sent_results(archive) >= least, "no results")
        watching.kill()
        seen.append(sent_results(archive))
    assert seen[0] < 2 * len(scans)  # it was killed in the middle
    watching = Watching(words, tmp_path)
    wait_for(lambda: stored(archive) == wanted(scans), watching.log.read_text())
    time.sleep(12)  # it asks again meanwhile
    watching.kill()
    assert stored(archive) == wanted(scans)


def test_a_restart_of_the_archive_loses_nothing(
    archive: Orthanc, words: list[str], scans: list[Path], tmp_path: Path
) -> None:
    for scan in scans[:6]:
        send(archive, scan)
    watching = Watching(words, tmp_path)
    wait_for(lambda: sent_results(archive) >= 3, "no results")
    archive.stop()
    time.sleep(3)
    archive.start()
    for scan in scans[6:]:
        send(archive, scan)
    wait_for(lambda: stored(archive) == wanted(scans), watching.log.read_text())
    watching.kill()
    log = watching.log.read_text()
    assert log.count("waiting for it") == 1
    assert log.count("works again") == 1
