"""A real `sonoseg serve` in a process of its own, which tests may kill."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class Server:
    """`sonoseg serve FOLDER` on a free port, with more options if need be.

    Attributes:
        address: of the page, without the slash at its end.
        errors: what it has printed on stderr after its address, when it was stopped.
    """

    def __init__(
        self, folder: Path, port: int = 0, options: Sequence[str] = ()
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "sonoseg",
            "serve",
            str(folder),
            "--no-browser",
        ]
        self._process = subprocess.Popen(
            [*command, "--port", str(port), *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + self._process.stderr.read()
        self.address = f"http://127.0.0.1:{found[1]}"
        self.port = int(found[1])
        self.errors = ""

    def kill(self) -> None:
        """Ends it at once, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> tuple[int, str]:
        """Ends it as Ctrl+C does; returns its exit code and what it printed."""
        self._process.send_signal(signal.SIGINT)
        output, self.errors = self._process.communicate(timeout=60)
        return self._process.returncode, output
