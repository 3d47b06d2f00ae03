"""The command line in a child of a server that has imported PyTorch once.

A copy of this process would not do: PyTorch refuses to train in a copy of a process that has trained.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TextIO

import cloudpickle

from sonoseg.cli import main


@dataclass(frozen=True)
class Ended:
    """A process that is over: its exit code (-9 if SIGKILL ended it) and what it printed."""

    returncode: int | None
    stdout: str
    stderr: str


def start(
    words: list[str], folder: Path, prepare: Callable[[], object] = lambda: None
) -> BaseProcess:
    """Starts `sonoseg WORDS` after `prepare()`. It prints into `stdout` and `stderr` in `folder`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sonoseg.train.command", "sonoseg.train.loop"])
    task = cloudpickle.dumps((words, folder, prepare))
    process = context.Process(target=_run, args=(task,))
    process.start()
    return process


def end(process: BaseProcess, folder: Path, seconds: float = 240) -> Ended:
    """Waits for what `start` returned; kills it when it takes too long."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    texts = [(folder / name).read_text(encoding="utf-8") for name in OUTPUTS]
    return Ended(process.exitcode, *texts)


def run(
    words: list[str], folder: Path, prepare: Callable[[], object] = lambda: None
) -> Ended:
    """Runs `sonoseg WORDS` to its end, after `prepare()`."""
    return end(start(words, folder, prepare), folder)


OUTPUTS = ("stdout", "stderr")


def _run(task: bytes) -> None:
    import torch

    words, folder, prepare = cloudpickle.loads(task)

    torch.set_num_threads(
        1
    )  # a copy has no threads of OpenMP; DataLoader does the same
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = (_opened(folder / name) for name in OUTPUTS)
    prepare()
    code = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", buffering=1)
