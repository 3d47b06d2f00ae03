"""A server without a socket, with the bundled network, and phantoms to send to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from tests.serve.opened import open_session

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.bundle import Bundle, default_bundle_path
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.app import build_app
from sonoseg.serve.session import Session

ADDRESS = "http://127.0.0.1:8417"


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    # One thread: threads that wait for each other cost processor time.
    return Segmenter(Bundle.read(default_bundle_path(), threads=1))


@pytest.fixture(scope="session")
def phantom() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels and true mask of one with a lesion."""
    return make_phantom(3)


@pytest.fixture(scope="session")
def phantom_png(phantom: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> bytes:
    return encode_png(phantom[0])


@pytest.fixture(scope="session")
def to_png() -> Callable[[NDArray[np.uint8]], bytes]:
    return encode_png


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[TestClient]:
    """A client of a server without a folder."""
    with TestClient(build_app(segmenter), base_url=ADDRESS) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three phantoms, the third without lesion."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, seed, lesion in (("one", 3, True), ("two", 4, True), ("zero", 5, False)):
        (folder / f"{name}.png").write_bytes(encode_png(make_phantom(seed, lesion)[0]))
    return folder


@pytest.fixture
def session(folder: Path, segmenter: Segmenter) -> Session:
    """A session on `folder`."""
    return open_session(folder, segmenter)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """DICOM phantoms: a still, a loop and a split screen."""
    folder = tmp_path_factory.mktemp("written")
    write_dicom_phantoms(folder, 3)
    return sorted((folder / "images").iterdir())
