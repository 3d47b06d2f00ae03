"""Orthanc as a process, and a study for it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from dicomweb_client.api import DICOMwebClient

from sonoseg.cli import main

PATIENCE = 120.0
"""Seconds that a server may take to start."""
DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Orthanc:
    """A running Orthanc.

    Attributes:
        http_port: its REST and DICOMweb port.
        dicom_port: its port for C-STORE; its AE title is ORTHANC.
    """

    def __init__(self, folder: Path) -> None:
        self.http_port, self.dicom_port = free_port(), free_port()
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http_port,
            "HttpBindAddresses": ["127.0.0.1"],
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [DICOMWEB_PLUGIN],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        self._folder = folder
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.http_port}"

    def client(self) -> DICOMwebClient:
        """A DICOMweb client for it."""
        return DICOMwebClient(f"{self.url}/dicom-web")

    def start(self) -> None:
        """Starts it, again after `stop`; it has the same address and storage."""
        self._log = (self._folder / "orthanc.log").open("ab")
        command = ["Orthanc", str(self._folder / "orthanc.json")]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait(self._folder / "orthanc.log")

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/system", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(
            f"Orthanc did not start: {log.read_text(errors='replace')[-2000:]}"
        )


class Study:
    """Synthetic breasts as DICOM (a still, a loop, a split screen), and what sonoseg found.

    Attributes:
        sources: the DICOM images.
        results: the folder that `sonoseg segment --to seg sr sc` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        assert (
            main(["data", "phantom", str(folder / "study"), "--dicom", "--count", "3"])
            == 0
        )
        self.sources = sorted((folder / "study" / "images").glob("*.dcm"))
        words = ["segment", str(folder / "study" / "images"), "--to", "seg", "sr", "sc"]
        assert main([*words, "--out", str(self.results)]) == 0
        self.report = json.loads((self.results / "results.json").read_text())

    def source(self, kind: str) -> Path:
        """Returns the image of this kind: still, loop or split."""
        (found,) = (path for path in self.sources if kind in path.stem)
        return found

    def result(self, kind: str, what: str) -> Path:
        """Returns what was written of an image, such as seg."""
        return self.results / f"{self.source(kind).stem}_{what}.dcm"

    def entry(self, kind: str) -> dict[str, Any]:
        """Returns an image's entry in results.json."""
        name = str(self.source(kind))
        (found,) = (entry for entry in self.report["dicom"] if entry["file"] == name)
        return found
