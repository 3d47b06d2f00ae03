"""`sonoseg serve --dicomweb` beside a real Orthanc, in a real browser: list, open, accept; the results come back."""

from __future__ import annotations

import io
import json
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from servers import PATIENCE, Orthanc
from tests.serve.server import Server

sys.path.insert(0, str(Path(__file__).parents[1] / "watch"))

from web_archive import WebArchive

from sonoseg.data.dicom_phantom import write_dicom_phantoms

NAME = "Doe^<script>document.title</script>"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc with two studies of a still each; a name in it is HTML."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = Orthanc(folder)
    write_dicom_phantoms(tmp_path / "made", 4)
    for number, path in enumerate(
        sorted((tmp_path / "made" / "images").glob("*still*"))
    ):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.StudyDate = NAME, f"2026010{number + 1}"
        dataset.PatientID = "P" * 64
        dataset.save_as(path)
        url = f"{server.url}/instances"
        urllib.request.urlopen(url, path.read_bytes(), timeout=30).close()
    yield server
    server.stop()


def stored(archive: Orthanc) -> Counter[str]:
    """How many objects there are of each modality."""
    with urllib.request.urlopen(f"{archive.url}/series?expand", timeout=30) as reply:
        series = json.load(reply)
    counts: Counter[str] = Counter()
    for one in series:
        counts[one["MainDicomTags"]["Modality"]] += len(one["Instances"])
    return counts


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(what)


def rows(driver: Any) -> list[Any]:
    return driver.find_elements(By.CSS_SELECTOR, "#studies tr")


def open_study(driver: Any, server: Server, number: int) -> None:
    """Opens a study in the list, and waits until its image is shown."""
    driver.get(f"{server.address}/studies")
    wait_for(lambda: len(rows(driver)) == 2, "the list of studies")
    rows(driver)[number].find_element(By.TAG_NAME, "button").click()
    ready = "return document.body.dataset.ready"
    wait_for(lambda: driver.current_url == f"{server.address}/", "the page")
    wait_for(lambda: driver.execute_script(ready), "the image")


def accept(driver: Any) -> None:
    """Labels the image that is open as benign, and accepts it."""
    done = driver.find_element(By.ID, "progress").text
    ActionChains(driver).send_keys("1").perform()
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    wait_for(lambda: driver.find_element(By.ID, "progress").text != done, "accepting")


def test_studies_are_opened_and_results_come_back(
    archive: Orthanc, browser: Any, screenshots: Path, tmp_path: Path
) -> None:
    options = ("--dicomweb", f"{archive.url}/dicom-web")
    server = Server(tmp_path / "work", options=options)
    browser.get(f"{server.address}/studies")
    wait_for(lambda: len(rows(browser)) == 2, "the list of studies")
    assert NAME.replace("^", " ") in rows(browser)[0].text
    assert "2026-01-02" in rows(browser)[0].text
    assert not rows(browser)[0].find_elements(By.TAG_NAME, "script")
    button = rows(browser)[0].find_element(By.TAG_NAME, "button")
    width = browser.execute_script("return document.documentElement.clientWidth")
    assert button.rect["x"] + button.rect["width"] <= width
    browser.save_screenshot(str(screenshots / "studies.png"))
    open_study(browser, server, 0)
    assert browser.find_element(By.ID, "studies").is_displayed()
    browser.save_screenshot(str(screenshots / "study.png"))
    accept(browser)
    wanted = Counter({"US": 2, "SEG": 1, "SR": 1})
    wait_for(lambda: stored(archive) == wanted, "results in the archive")
    # The archive is away while the second study is accepted; then the server is killed.
    open_study(browser, server, 1)
    archive.stop()
    accept(browser)
    server.kill()
    archive.start()
    assert stored(archive) == wanted
    again = Server(tmp_path / "work", options=options)
    wanted = Counter({"US": 2, "SEG": 2, "SR": 2})
    wait_for(lambda: stored(archive) == wanted, "results after the restart")
    time.sleep(3)
    assert stored(archive) == wanted
    assert again.stop()[0] == 0


def test_an_image_that_does_not_come_is_named(browser: Any, tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path / "made", 1)
    (path,) = (tmp_path / "made" / "images").iterdir()
    archive = WebArchive()
    for number in (1, 2, 3):
        dataset = pydicom.dcmread(path)
        uid = f"2.25.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        content = io.BytesIO()
        dataset.save_as(content)
        archive.add(content.getvalue())

    def fault(handler: Any, method: str, path: str) -> bool:
        if not path.endswith("/instances/2.25.2"):
            return False
        handler.answer(404, b"")
        return True

    archive.fault = fault
    server = Server(tmp_path / "work", options=("--dicomweb", archive.web_url))
    browser.get(f"{server.address}/studies")
    wait_for(lambda: len(rows(browser)) == 1, "the list of studies")
    rows(browser)[0].find_element(By.TAG_NAME, "button").click()
    said = browser.find_element(By.ID, "said")
    wait_for(lambda: "Not fetched" in said.text, "what did not come")
    assert "2 of 3 images were fetched" in said.text
    assert "2.25.2: it answers with status 404" in said.text
    server.kill()
    archive.stop()
