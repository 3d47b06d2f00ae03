"""A file that takes the name of another: the work on the earlier one is set aside, and nothing is taken for the new."""

import csv
import os
import shutil
import sqlite3

import numpy as np
import pydicom
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS, encode_png
from tests.serve.opened import open_session

from sonoseg.data.check import check_folder
from sonoseg.data.phantom import make_phantom
from sonoseg.errors import InputError
from sonoseg.serve import collect
from sonoseg.serve.app import build_app
from sonoseg.serve.edits import Edit
from sonoseg.serve.patch import to_text
from sonoseg.serve.records import Finding
from sonoseg.serve.scenes import Shot


def find(session, name, frame=1):
    for scene in session.album.refresh().values():
        if scene.path.name == name:
            return Shot(scene, frame)
    raise AssertionError(name)


def state(session, name):
    (entry,) = (one for one in session.entries("anna") if one["name"] == name)
    return entry["state"], entry["label"]


def work(session, shot, label="malignant"):
    """Paints a corner, labels and accepts; returns the mask."""
    bits = to_text(np.ones((9, 9), bool))
    session.edit(shot, "anna", Edit("key-00000001", 0, "brush", 0, 0, 9, 9, bits))
    session.write_finding(shot, "anna", Finding(label, "5", "a note"))
    view = session.view(shot, "anna")
    session.accept(shot, "anna", view.revision)
    return view.mask


def rows(folder):
    with (folder / "annotations.csv").open() as file:
        return list(csv.DictReader(file))


def replaced_folder(own):
    (folder,) = (own / "replaced").iterdir()
    return folder


@pytest.mark.parametrize("size", [None, (200, 300)])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_new_image_under_an_old_name_is_open_and_nothing_is_lost(
    session, folder, segmenter, size, is_restarted
):
    mask = work(session, find(session, "one.png"))
    work(session, find(session, "two.png"))
    old = (folder / "one.png").read_bytes()
    new = make_phantom(9, True, size)[0] if size else make_phantom(9)[0]
    (folder / "one.png").write_bytes(encode_png(new))
    if is_restarted:
        session.close()
        session = open_session(folder, segmenter)
        session.finish_writing()
    assert state(session, "one.png") == ("open", "")
    view = session.view(find(session, "one.png"), "anna")
    np.testing.assert_array_equal(view.mask, segmenter.segment(new).mask)
    assert (view.revision, view.undo, view.finding) == (0, 0, Finding())
    (note,) = view.notes
    assert "replaced by another" in note
    assert session.view(find(session, "one.png"), "bert").notes == []
    assert state(session, "two.png") == ("accepted", "malignant")

    own = folder / "annotations" / "anna"
    assert [path.name for path in (own / "masks").iterdir()] == ["two.png"]
    assert [row["file"] for row in rows(own)] == ["two.png"]
    assert check_folder(own).findings == ()
    aside = replaced_folder(own)
    assert str(aside.relative_to(folder / "annotations")) in note
    assert (aside / "images" / "one.png").read_bytes() == old
    saved = np.asarray(Image.open(aside / "masks" / "one.png")) > 0
    np.testing.assert_array_equal(saved, mask)
    assert rows(aside)[0]["label"] == "malignant"
    assert check_folder(aside).findings == ()

    session.write_finding(find(session, "one.png"), "anna", Finding("benign"))
    session.accept(find(session, "one.png"), "anna", 0)
    assert state(session, "one.png") == ("accepted", "benign")
    assert check_folder(own).images == 2
    remarks = {row["file"]: row["remark"] for row in rows(own)}
    assert remarks == {"one.png": note, "two.png": ""}
    assert (aside / "images" / "one.png").read_bytes() == old


def test_the_same_image_with_other_times_is_the_same(session, folder):
    mask = work(session, find(session, "one.png"))
    content = (folder / "one.png").read_bytes()
    os.utime(folder / "one.png", ns=(1, 1))
    assert state(session, "one.png") == ("accepted", "malignant")
    (folder / "one.png").unlink()
    assert [one["name"] for one in session.entries("anna")] == ["two.png", "zero.png"]
    (folder / "one.png").write_bytes(content)
    assert state(session, "one.png") == ("accepted", "malignant")
    view = session.view(find(session, "one.png"), "anna")
    np.testing.assert_array_equal(view.mask, mask)
    assert view.notes == []


def test_another_image_with_the_same_size_and_time_is_another(session, folder):
    path = folder / "one.bmp"
    Image.fromarray(make_phantom(3)[0]).save(path)
    (folder / "one.png").unlink()
    shot = find(session, "one.bmp")
    work(session, shot)
    status = path.stat()
    Image.fromarray(make_phantom(3)[0][::-1]).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert state(session, "one.bmp") == ("open", "")


def test_what_was_only_drawn_is_kept_in_the_journal(session, folder):
    bits = to_text(np.ones((9, 9), bool))
    shot = find(session, "one.png")
    session.edit(shot, "anna", Edit("key-00000001", 0, "brush", 0, 0, 9, 9, bits))
    (folder / "one.png").write_bytes(encode_png(make_phantom(9)[0]))
    view = session.view(find(session, "one.png"), "anna")
    assert (view.state, view.revision, view.undo) == ("open", 0, 0)
    assert view.notes[0].endswith("the earlier work is in session.db")
    with sqlite3.connect(folder / "annotations" / "session.db") as database:
        kept = database.execute("SELECT tool, after FROM replaced_events").fetchall()
    assert kept[-1][0] == "brush"
    assert kept[-1][1]


def test_a_journal_of_another_version_is_one_line(folder, segmenter):
    open_session(folder, segmenter).close()
    with sqlite3.connect(folder / "annotations" / "session.db") as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(InputError, match="another version of sonoseg"):
        open_session(folder, segmenter)


def test_a_second_replacement_is_kept_beside_the_first(session, folder):
    for seed in (9, 10):
        work(session, find(session, "one.png"))
        (folder / "one.png").write_bytes(encode_png(make_phantom(seed)[0]))
        assert state(session, "one.png") == ("open", "")
    aside = list((folder / "annotations" / "anna" / "replaced").iterdir())
    assert len(aside) == 2
    (note,) = session.view(find(session, "one.png"), "anna").notes
    assert max(path.name for path in aside) in note


def test_killed_while_the_files_are_moved_the_next_start_moves_them(
    session, folder, segmenter, monkeypatch
):
    work(session, find(session, "one.png"))
    (folder / "one.png").write_bytes(encode_png(make_phantom(9)[0]))
    monkeypatch.setattr(
        collect, "move_accepted", lambda *_: (_ for _ in ()).throw(KeyError)
    )
    with pytest.raises(KeyError):  # as if it had been killed there
        session.entries("anna")
    monkeypatch.undo()
    own = folder / "annotations" / "anna"
    assert (own / "masks" / "one.png").exists()
    session.close()
    again = open_session(folder, segmenter)
    again.finish_writing()
    assert state(again, "one.png") == ("open", "")
    assert list((own / "masks").iterdir()) == []
    assert (replaced_folder(own) / "masks" / "one.png").exists()


def test_results_of_a_former_scan_are_not_beside_the_new_one(
    written, tmp_path, segmenter
):
    """Another patient, and then the same image with a corrected side."""
    scans = tmp_path / "scans"
    scans.mkdir()
    stills = [path for path in written if path.stem.endswith("still")]
    path = shutil.copy(stills[0], scans / "IM1.dcm")
    session = open_session(scans, segmenter)
    work(session, find(session, "IM1.dcm"))
    own = scans / "annotations" / "anna"
    first = pydicom.dcmread(own / "dicom" / "IM1_sr.dcm")
    corrected = pydicom.dcmread(path)
    corrected.ImageLaterality, corrected.PatientName = "R", "New^Name"
    corrected.save_as(path)
    assert state(session, "IM1.dcm") == ("open", "")
    assert list((own / "dicom").iterdir()) == []
    aside = replaced_folder(own) / "dicom"
    assert sorted(one.name for one in aside.iterdir()) == ["IM1_seg.dcm", "IM1_sr.dcm"]
    work(session, find(session, "IM1.dcm"))
    second = pydicom.dcmread(own / "dicom" / "IM1_sr.dcm")
    assert second.PatientName == "New^Name"
    # An archive takes an object with a known UID for one that it has.
    assert second.SOPInstanceUID != first.SOPInstanceUID
    segs = [pydicom.dcmread(one / "IM1_seg.dcm") for one in (aside, own / "dicom")]
    assert segs[0].SOPInstanceUID != segs[1].SOPInstanceUID


def test_results_of_a_name_that_is_long_and_odd_are_set_aside(
    written, tmp_path, segmenter
):
    scans = tmp_path / "scans"
    scans.mkdir()
    stills = [path for path in written if path.stem.endswith("still")]
    name = "long\n" + "ä" * 110 + "-20240501.dcm"
    path = shutil.copy(stills[0], scans / name)
    session = open_session(scans, segmenter)
    work(session, find(session, name))
    other = pydicom.dcmread(path)
    other.PatientID = "another"
    other.save_as(path)
    assert [entry["state"] for entry in session.entries("anna")] == ["open"]
    own = scans / "annotations" / "anna"
    assert list((own / "dicom").iterdir()) == []
    assert len(list((replaced_folder(own) / "dicom").iterdir())) == 2


def test_frames_of_a_former_loop_are_set_aside_together(written, tmp_path, segmenter):
    loops = [path for path in written if path.stem.endswith("loop")]
    scans = tmp_path / "scans"
    scans.mkdir()
    path = shutil.copy(loops[0], scans / "loop.dcm")
    session = open_session(scans, segmenter)
    work(session, find(session, "loop.dcm", 2))
    session.write_finding(find(session, "loop.dcm", 5), "anna", Finding("benign"))
    other = pydicom.dcmread(path)
    other.PatientID = "another"
    other.save_as(path)
    assert state(session, "loop.dcm") == ("open", "")
    assert session.frame_states(find(session, "loop.dcm").scene, "anna") == {}
    view = session.view(find(session, "loop.dcm", 5), "anna")
    assert view.finding.label == ""
    assert len(view.notes) == 1
    assert session.known_mask(find(session, "loop.dcm", 2), "anna") is None
    names = [
        one.name
        for one in (replaced_folder(scans / "annotations" / "anna") / "masks").iterdir()
    ]
    assert names == ["loop_frame0002.png"]


def test_both_images_of_a_split_screen_are_set_aside_once(
    written, tmp_path, segmenter, caplog
):
    splits = [path for path in written if path.stem.endswith("split")]
    scans = tmp_path / "scans"
    scans.mkdir()
    path = shutil.copy(splits[0], scans / "split.dcm")
    session = open_session(scans, segmenter)
    for scene in list(session.album.refresh().values()):
        work(session, Shot(scene))
    other = pydicom.dcmread(path)
    other.PatientID = "another"
    other.save_as(path)
    states = [entry["state"] for entry in session.entries("anna")]
    assert states == ["open", "open"]
    assert sum("replaced" in one.getMessage() for one in caplog.records) == 1
    aside = replaced_folder(scans / "annotations" / "anna")
    assert len(list((aside / "masks").iterdir())) == 2


def test_a_page_that_shows_the_former_image_changes_nothing(segmenter, folder):
    app = build_app(segmenter, folder=folder)
    client = TestClient(app, base_url=ADDRESS)
    entry = client.get("/api/images").json()["images"][0]
    address = f"/api/images/{entry['id']}"
    shown = client.get(address).json()
    pixels = client.get(f"{address}/pixels.bmp")
    assert shown["version"] == entry["version"] == pixels.headers["x-version"]
    (folder / "one.png").write_bytes(encode_png(make_phantom(9)[0]))
    seen = {"version": shown["version"]}
    edit = {"key": "key-00000001", "after": 0, "tool": "clear"}
    words = {"words": shown["words"]}
    answers = [
        client.post(f"{address}/edits", params=seen, json=edit),
        client.put(
            f"{address}/finding", params=seen, json={**words, "label": "benign"}
        ),
        client.post(f"{address}/accept", params=seen, json={**words, "after": 0}),
    ]
    assert [answer.status_code for answer in answers] == [409] * 3
    assert "replaced" in answers[0].json()["problem"]
    again = client.get(address).json()
    assert (again["state"], again["finding"]["label"]) == ("open", "")
    assert again["version"] != shown["version"]
    app.state.service.session.close()
