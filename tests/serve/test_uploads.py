"""What a browser sends replaces nothing, and nobody is locked out by its name."""

import shutil

import pydicom
import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.errors import InputError
from sonoseg.serve.app import build_app


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write_dicom_phantoms(folder, 3)
    return folder


@pytest.fixture
def scans(written, folder):
    """Beside the pictures of `folder` a loop, a CT image and an annotator's mask; the last two are not shown."""
    images = written / "images"
    shutil.copy(next(images.glob("*_loop.dcm")), folder / "loop.dcm")
    other = pydicom.dcmread(next(images.glob("*_still.dcm")))
    other.SOPClassUID = pydicom.uid.CTImageStorage
    other.Modality = "CT"
    other.save_as(folder / "scan.dcm")
    (folder / "one_mask.png").write_bytes(b"an annotator's own mask")
    return folder


@pytest.fixture
def page(scans, segmenter):
    with TestClient(build_app(segmenter, folder=scans), base_url=ADDRESS) as client:
        yield client


@pytest.fixture
def contents(written, phantom_png):
    """The content of a file to send, by its ending."""
    still = next((written / "images").glob("*_still.dcm"))
    return {"png": phantom_png, "dcm": still.read_bytes(), "mkv": b"no video"}


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("there", "name", "wanted"),
    [
        ("", "scan.dcm", "scan-2.dcm"),
        ("", "SCAN.png", "SCAN-2.png"),
        ("", "one_mask_overlay.png", "one-2.png"),
        ("", "two_mask_.png", "two-2.png"),
        ("", "loop_frame0012.png", "loop_frame0012-2.png"),
        ("", "Loop_Region1.png", "Loop_Region1-2.png"),
        ("x_frame0001.png", "x.dcm", "x-2.dcm"),
        ("x_frame0001.png", "x_frame0002.png", "x_frame0002.png"),
    ],
)
def test_an_upload_replaces_nothing_and_locks_nobody_out(
    page, scans, contents, phantom_png, there, name, wanted
):
    if there:
        (scans / there).write_bytes(phantom_png)
    before = files_in(scans)
    content = contents[name[-3:]]
    answer = page.post("/api/images", files={"image": (name, content)})
    assert answer.status_code == 200
    assert files_in(scans) == {**before, wanted: content}
    shown = {one["id"]: one["name"] for one in page.get("/api/images").json()["images"]}
    assert shown[answer.json()["id"]] == wanted


def test_an_upload_that_cannot_be_shown_leaves_nothing(
    page, scans, contents, monkeypatch
):
    def is_missing(path):
        raise InputError(path, "a video needs PyAV to be read", "install it")

    before = files_in(scans)
    monkeypatch.setattr("sonoseg.serve.scans.check_av", is_missing)
    answer = page.post("/api/images", files={"image": ("x.mkv", contents["mkv"])})
    assert answer.status_code == 422
    assert files_in(scans) == before


def test_two_files_of_one_name_are_named_and_lock_nobody_out(page, scans, phantom_png):
    (scans / "loop.png").write_bytes(phantom_png)
    answer = page.post("/api/images", files={"image": ("x.png", phantom_png)})
    assert answer.status_code == 200
    listed = page.get("/api/images").json()
    names = [entry["name"] for entry in listed["images"]]
    assert {"loop.png", "x.png"} < set(names)
    assert "loop.png have one name" in listed["notice"]
    assert str(scans) not in listed["notice"]
