"""DICOM and videos in a folder that is served: what is shown, accepted, and said when the extra is missing."""

import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.serve.clips import write_clip
from tests.serve.conftest import ADDRESS

from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.dicom.read import read_dicom
from sonoseg.serve.app import build_app
from sonoseg.serve.edits import Edit
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import to_text
from sonoseg.serve.pool import Pool
from sonoseg.serve.records import Finding
from sonoseg.serve.scenes import Shot
from sonoseg.serve.session import Session


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Phantoms with the segmentations beside the images, which are no images."""
    folder = tmp_path_factory.mktemp("written")
    write_dicom_phantoms(folder, 3)
    scans = folder / "scans"
    scans.mkdir()
    for path in (folder / "images").iterdir():
        kind = path.stem.rpartition("_")[2]
        shutil.copy(path, scans / {"still": "1.2.840.7"}.get(kind, f"{kind}.dcm"))
    for path in (folder / "masks").iterdir():
        shutil.copy(path, scans / f"seg-{path.name}")
    return scans


@pytest.fixture
def scans(written, tmp_path):
    return shutil.copytree(written, tmp_path / "scans")


@pytest.fixture
def session(scans, segmenter):
    limits = Limits()
    return Session(scans, segmenter, Pool(limits), limits)


def find(session, name, frame=1, region=1):
    scenes = session.album.refresh().values()
    (scene,) = (one for one in scenes if one.path.name == name and one.region == region)
    return Shot(scene, frame)


def views_of(scans, name, frame=1):
    return list(read_dicom(scans / name).views([frame]))


def view_of(scans, name):
    return views_of(scans, name)[0]


def test_images_are_listed_and_segmentations_are_not(session):
    names = [one["name"] for one in session.entries("anna")]
    assert names == ["1.2.840.7", "loop.dcm", "split.dcm", "split.dcm"]
    places = [one["place"] for one in session.entries("anna")]
    assert places == ["", "", "image 1 of 2", "image 2 of 2"]
    assert [one["frames"] for one in session.entries("anna")] == [1, 12, 1, 1]


@pytest.mark.parametrize(
    ("name", "frame", "region"),
    [
        ("1.2.840.7", 1, 1),
        ("loop.dcm", 1, 1),
        ("loop.dcm", 7, 1),
        ("split.dcm", 1, 1),
        ("split.dcm", 1, 2),
    ],
)
def test_each_frame_and_each_region_is_shown(
    session, scans, segmenter, name, frame, region
):
    shot = find(session, name, frame, region)
    assert session.album.shot(shot.identifier) == shot
    shown = session.view(shot, "anna")
    view = views_of(scans, name, frame)[region - 1]
    np.testing.assert_array_equal(shown.mask, segmenter.segment(view.image).mask)
    np.testing.assert_array_equal(session.album.image(shot).pixels, view.image.pixels)
    assert shown.lesions[0].spacing == view.image.spacing
    assert shown.finding.spacing == f"{view.image.spacing[0]:.6g}"
    assert shown.state == "open"
    assert session.album.result(shot).doubts == ()
    assert session.album.thumbnail(shot.scene)[:4] == b"\x89PNG"


def accept(session, identifier, mask_is_changed, label="benign"):
    spacing = session.view(identifier, "anna").finding.spacing
    after = 0
    if mask_is_changed:
        bits = to_text(np.ones((8, 8), bool))
        edit = Edit("key-00000001", 0, "brush", 4, 4, 8, 8, bits)
        session.edit(identifier, "anna", edit)
        after = session.view(identifier, "anna").revision
    session.write_finding(identifier, "anna", Finding(label, spacing=spacing))
    session.accept(identifier, "anna", after)


@pytest.mark.parametrize("is_changed", [False, True])
def test_accepted_scans_have_seg_and_sr_beside_the_data_set(session, scans, is_changed):
    identifier = find(session, "1.2.840.7")
    accept(session, identifier, is_changed)
    mask = session.view(identifier, "anna").mask
    own = scans / "annotations" / "anna"
    written = np.asarray(Image.open(own / "masks" / "1.2.840.7.png")) > 0
    np.testing.assert_array_equal(written, mask)
    pixels = np.asarray(Image.open(own / "images" / "1.2.840.7.png"))
    view = view_of(scans, "1.2.840.7")
    np.testing.assert_array_equal(pixels, view.image.pixels)
    seg = pydicom.dcmread(own / "dicom" / "1.2.840.7_seg.dcm")
    drawn = seg.pixel_array.reshape(-1, *view.shape).any(0)
    np.testing.assert_array_equal(drawn, view.whole(mask))
    kind = "SEMIAUTOMATIC" if is_changed else "AUTOMATIC"
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {kind}
    report = pydicom.dcmread(own / "dicom" / "1.2.840.7_sr.dcm")
    image = pydicom.dcmread(scans / "1.2.840.7", stop_before_pixels=True)
    assert report.StudyInstanceUID == seg.StudyInstanceUID == image.StudyInstanceUID
    assert f",{view.image.spacing[0]:.6g}," in (own / "labels.csv").read_text()
    assert check_folder(own).findings == ()
    (case,) = load_cases(own)
    np.testing.assert_array_equal(case.read()[1], mask)


def test_a_scan_that_is_normal_after_all_has_no_seg(session, scans):
    identifier = find(session, "1.2.840.7")
    accept(session, identifier, False)
    session.edit(identifier, "anna", Edit("key-00000002", 0, "clear"))
    revision = session.view(identifier, "anna").revision
    session.write_finding(identifier, "anna", Finding("normal"))
    session.accept(identifier, "anna", revision)
    own = scans / "annotations" / "anna" / "dicom"
    assert [path.name for path in own.iterdir()] == ["1.2.840.7_sr.dcm"]


def test_without_uids_the_data_set_is_written_and_no_objects(session, scans, caplog):
    dataset = pydicom.dcmread(scans / "1.2.840.7")
    dataset.StudyInstanceUID = ""
    dataset.save_as(scans / "1.2.840.7")
    accept(session, find(session, "1.2.840.7"), False)
    own = scans / "annotations" / "anna"
    assert (own / "masks" / "1.2.840.7.png").exists()
    assert not (own / "dicom").exists()
    assert "StudyInstanceUID" in caplog.text


def test_the_page_takes_scans_and_refuses_other_dicom(scans, segmenter, tmp_path):
    app = build_app(segmenter, folder=tmp_path / "new")
    with TestClient(app, base_url=ADDRESS) as client:
        still = (scans / "1.2.840.7").read_bytes()
        answer = client.post("/api/images", files={"image": ("a.dcm", still)})
        assert answer.status_code == 200
        seg = next(scans.glob("seg-*")).read_bytes()
        refused = client.post("/api/images", files={"image": ("b.dcm", seg)})
        assert refused.status_code == 422
        assert "segmentation" in refused.json()["problem"]
        listed = client.get("/api/images").json()
        assert [one["name"] for one in listed["images"]] == ["a.dcm"]
        assert listed["notice"] == ""
        pixels = client.get(f"/api/images/{answer.json()['id']}/pixels.bmp")
        assert pixels.status_code == 200


def test_without_the_extra_the_page_says_what_is_passed_over(
    scans, segmenter, monkeypatch
):
    monkeypatch.setattr(
        "sonoseg.dicom.recognise.importlib.util.find_spec", lambda name: None
    )
    with TestClient(build_app(segmenter, folder=scans), base_url=ADDRESS) as client:
        listed = client.get("/api/images").json()
    assert listed["images"] == []
    assert "DICOM files are passed over" in listed["notice"]
    assert ".[dicom]" in listed["notice"]


def test_a_damaged_scan_is_listed_and_opening_it_says_why(scans, segmenter):
    content = (scans / "1.2.840.7").read_bytes()
    (scans / "1.2.840.7").write_bytes(content[:4000])
    with TestClient(build_app(segmenter, folder=scans), base_url=ADDRESS) as client:
        entries = client.get("/api/images").json()["images"]
        answer = client.get(f"/api/images/{entries[0]['id']}")
    assert entries[0]["name"] == "1.2.840.7"
    assert answer.status_code == 422
    assert "cut short" in answer.json()["problem"]


CLIPS = [
    ("live.webm", 40 * np.arange(20), {"live": "1"}),  # as browsers record
    ("fast.mkv", 17 * np.arange(20), {}),
    ("vfr.mkv", np.cumsum([40] * 10 + [200] * 10), {}),
    ("parts.mp4", 40 * np.arange(20), {"movflags": "frag_every_frame"}),
]


@pytest.mark.parametrize(("name", "times", "options"), CLIPS)
def test_all_frames_of_a_video_are_listed(
    segmenter, tmp_path, monkeypatch, name, times, options
):
    write_clip(tmp_path / name, [int(time) for time in times], options)
    with TestClient(build_app(segmenter, folder=tmp_path), base_url=ADDRESS) as page:
        (entry,) = page.get("/api/images").json()["images"]
        assert entry["frames"] == 20
        last = page.get(f"/api/images/{entry['id']}-20/pixels.bmp")
        assert last.status_code == 200
        monkeypatch.delattr("sonoseg.reader.video.Clip.count_frames")  # once is enough
        assert page.get("/api/images").status_code == 200
