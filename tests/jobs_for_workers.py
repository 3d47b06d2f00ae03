"""Jobs for the tests of the engine. A worker is another process, so they are in a module that it can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

from sonoseg import jobs
from sonoseg.archive import shard
from sonoseg.errors import InputError
from sonoseg.lock import held


@dataclass(frozen=True)
class Noted:
    """Notes each attempt, and the process, in a file of its name; then does what `deed` says, `times` times."""

    folder: Path
    name: str
    deed: str = ""
    times: int = 0

    def run(self) -> None:
        with (self.folder / self.name).open("a") as file:
            file.write(f"{os.getpid()}\n")
        if len(self.attempts()) > self.times:
            return
        if self.deed == "die":
            time.sleep(0.5)  # the scheduler hears of the job before
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "wrong input":
            raise InputError(self.name, "is wrong", "give another")
        raise RuntimeError("no luck")

    def attempts(self) -> list[str]:
        return (self.folder / self.name).read_text().splitlines()


@dataclass(frozen=True)
class Locked:
    """Works only while it holds its folder."""

    folder: Path
    name: str = "locked"

    def run(self) -> None:
        with held(self.folder):
            (self.folder / self.name).touch()


class Prepared(WorkerPlugin):
    """Makes the pause between two attempts short in every worker, and an image called poison.png end its process."""

    def setup(self, worker: Any) -> None:
        jobs.PAUSE = 0.1
        real = shard.segment_file

        def segment_file(segmenter: Any, name: str, settings: Any) -> shard.Answer:
            if name == "poison.png":
                os.kill(os.getpid(), signal.SIGKILL)
            return real(segmenter, name, settings)

        shard.segment_file = segment_file
