"""Fixtures that every room shares: real ultrasound where it is to be had."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# Small networks, in PyTorch and in the reader, run many times faster on one thread than on two
# that something else keeps from running.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from numpy.typing import NDArray

from sonoseg.data import phantom

# The same examples each time, so that no test fails by chance on an unrelated change.
# `pytest --hypothesis-profile default` tries new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

# A shell lets what it starts in the background ignore Ctrl-C. Some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def phantoms_drawn_once() -> Iterator[None]:
    """Many tests write the same phantoms. Each is drawn once in a process."""
    draw = functools.cache(phantom.make_phantom)

    def make_phantom(
        seed: int, lesion: bool = True, size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        image, mask = draw(seed, lesion, size)
        return image.copy(), mask.copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "make_phantom", make_phantom)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with BUSI (`busi/`), published samples (`busi_original_sample/`) and BUS-BRA (`busbra/`)."""
    folder = Path(os.environ.get("SONOSEG_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is not there (set SONOSEG_DATA)")
    return folder


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function (name, make) that returns a folder, which all processes of a test run share.

    The first process that asks for it calls `make` with an empty folder; the others wait. No test may change it.
    """
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent

    def find(name: str, make: Callable[[Path], object]) -> Path:
        folder = root / name
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                making = root / f"making-{name}"
                shutil.rmtree(making, ignore_errors=True)  # of a call that failed
                making.mkdir()
                make(making)
                making.rename(folder)
        return folder

    return find
