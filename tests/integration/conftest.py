"""Real servers on 127.0.0.1: Orthanc with DICOMweb, a web server for OHIF, and Chromium without a window.

`make integration` installs what they need. Nothing here is skipped: a tool that is missing is an error.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).parent))

from servers import PATIENCE, Orthanc, Study
from viewer import ViewerServer

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSER_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=1600,900",
)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Synthetic breasts as DICOM, segmented."""
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def stored(orthanc: Orthanc, study: Study) -> Study:
    """The study, its images sent to Orthanc by C-STORE and the results by STOW-RS."""
    address = ["127.0.0.1", str(orthanc.dicom_port)]
    command = ["storescu", "--call", "ORTHANC", *address, *map(str, study.sources)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    results = [pydicom.dcmread(path) for path in sorted(study.results.glob("*.dcm"))]
    orthanc.client().store_instances(results)
    return study


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with an empty storage."""
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def viewer(orthanc: Orthanc) -> Iterator[str]:
    """The address of OHIF, which shows what Orthanc holds."""
    server = ViewerServer(
        REPOSITORY / ".venv" / "ohif" / "package" / "dist", orthanc.url
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium, drawing in software."""
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for option in BROWSER_OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder that keeps the pictures."""
    folder = REPOSITORY / "integration"
    folder.mkdir(exist_ok=True)
    return folder
