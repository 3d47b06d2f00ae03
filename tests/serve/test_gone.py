"""An accepted image whose file has left the folder is named and can be withdrawn, with all that was written of it."""

import csv
import shutil

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS
from tests.serve.opened import open_session

from sonoseg.data.check import check_folder
from sonoseg.errors import InputError
from sonoseg.serve import collect
from sonoseg.serve.app import build_app
from sonoseg.serve.records import Finding
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scenes import Shot, stem_in


def find(session, name, frame=1, region=1):
    for scene in session.album.refresh().values():
        if (scene.path.name, scene.region) == (name, region):
            return Shot(scene, frame)
    raise AssertionError(name)


def accept(session, shot, reader="anna"):
    session.write_finding(shot, reader, Finding("uncertain"))
    session.accept(shot, reader, session.view(shot, reader).revision)


def rows(own):
    with (own / "labels.csv").open() as file:
        return [row["file"] for row in csv.DictReader(file)]


def files_in(own):
    return sorted(path.name for path in own.rglob("*") if path.suffix != ".csv")


def gone(session, reader="anna"):
    return {one["name"]: one["accepted"] for one in session.gone.entries(reader)}


def withdraw(session, name):
    (entry,) = (one for one in session.gone.entries("anna") if one["name"] == name)
    session.gone.withdraw(entry["id"], "anna")


def test_an_image_that_left_is_withdrawn_and_its_row_stays_away(session, folder):
    for name in ("one.png", "two.png"):
        accept(session, find(session, name))
    accept(session, find(session, "one.png"), "Bert")
    assert gone(session) == {}
    (folder / "one.png").unlink()
    assert [entry["name"] for entry in session.entries("anna")] == [
        "two.png",
        "zero.png",
    ]
    assert gone(session) == gone(session, "Bert") == {"one.png": 1}
    withdraw(session, "one.png")
    assert gone(session) == {}
    assert gone(session, "Bert") == {"one.png": 1}
    accept(session, find(session, "zero.png"))
    own = folder / "annotations" / "anna"
    assert rows(own) == ["two.png", "zero.png"]
    assert "one" not in " ".join(files_in(own))
    assert check_folder(own).findings == ()


def test_copies_that_were_deleted_by_hand_can_be_withdrawn(session, folder):
    for name in ("one.png", "two.png"):
        accept(session, find(session, name))
    own = folder / "annotations" / "anna"
    for path in (folder, own / "images", own / "masks"):
        (path / "one.png").unlink()
    withdraw(session, "one.png")
    assert rows(own) == ["two.png"]
    assert check_folder(own).findings == ()


def test_a_renamed_image_is_seen_and_is_not_twice_in_the_set(session, folder):
    accept(session, find(session, "one.png"))
    (folder / "one.png").rename(folder / "patient7_one.png")
    accept(session, find(session, "patient7_one.png"))
    assert gone(session) == {"one.png": 1}
    withdraw(session, "one.png")
    assert rows(folder / "annotations" / "anna") == ["patient7_one.png"]


def test_an_image_that_comes_back_is_as_it_was(session, folder):
    accept(session, find(session, "one.png"))
    (folder / "one.png").rename(folder.parent / "one.png")
    (entry,) = session.gone.entries("anna")
    shutil.move(folder.parent / "one.png", folder)
    with pytest.raises(Refused):
        session.gone.withdraw(entry["id"], "anna")
    assert gone(session) == {}
    assert rows(folder / "annotations" / "anna") == ["one.png"]


def test_a_link_that_has_lost_its_file_is_gone(session, folder):
    (folder / "one.png").rename(folder.parent / "store")
    (folder / "one.png").symlink_to(folder.parent / "store")
    accept(session, find(session, "one.png"))
    (folder.parent / "store").unlink()
    withdraw(session, "one.png")
    assert files_in(folder / "annotations" / "anna") == ["images", "masks"]


@pytest.mark.parametrize("kind", ["loop", "split"])
def test_all_of_a_scan_goes_with_its_objects(written, tmp_path, segmenter, kind):
    scans = tmp_path / "scans"
    scans.mkdir()
    source = next(path for path in written if path.stem.endswith(kind))
    still = next(path for path in written if path.stem.endswith("still"))
    name = "odd\n" + source.name
    shutil.copy(source, scans / name)
    shutil.copy(still, scans / "other.dcm")
    session = open_session(scans, segmenter)
    places = [(2, 1), (3, 1)] if kind == "loop" else [(1, 1), (1, 2)]
    for frame, region in places:
        accept(session, find(session, name, frame, region))
    accept(session, find(session, "other.dcm"))
    own = scans / "annotations" / "anna"
    assert "sr.dcm" in " ".join(path.name for path in (own / "dicom").glob("odd*"))
    (scans / name).unlink()
    (entry,) = session.gone.entries("anna")
    assert entry["accepted"] == 2
    session.gone.withdraw(entry["id"], "anna")
    assert rows(own) == ["other.png"]
    assert not [name for name in files_in(own) if name.startswith("odd")]
    assert "other_sr.dcm" in files_in(own)


def test_killed_while_it_is_withdrawn_the_next_start_removes_it(
    session, folder, segmenter, monkeypatch
):
    accept(session, find(session, "one.png"))
    (folder / "one.png").unlink()
    monkeypatch.setattr(
        collect, "remove_accepted", lambda *_: (_ for _ in ()).throw(KeyError)
    )
    with pytest.raises(KeyError):  # as if it had been killed there
        withdraw(session, "one.png")
    monkeypatch.undo()
    session.close()
    again = open_session(folder, segmenter)
    again.finish_writing()
    own = folder / "annotations" / "anna"
    assert (rows(own), files_in(own)) == ([], ["images", "masks"])


def test_over_http(segmenter, folder):
    app = build_app(segmenter, folder=folder)
    with TestClient(app, base_url=ADDRESS) as client:
        session = app.state.service.session
        accept(session, find(session, "one.png"), "reader")
        (folder / "one.png").unlink()
        (entry,) = client.get("/api/images").json()["gone"]
        assert (entry["name"], entry["accepted"]) == ("one.png", 1)
        address = f"/api/gone/{entry['id']}"
        assert client.delete(address, params={"reader": "bert"}).status_code == 404
        assert client.delete(address).status_code == 200
        assert client.get("/api/images").json()["gone"] == []
        assert client.delete(address).status_code == 404
    assert rows(folder / "annotations" / "reader") == []


def test_a_twin_does_not_replace_the_mask_of_an_accepted_image(
    session, folder, phantom_png
):
    shot = find(session, "one.png")
    accept(session, shot)
    mask = session.view(shot, "anna").mask
    (folder / "One.BMP").write_bytes(phantom_png)
    assert len(session.entries("anna")) == 4
    assert "One.BMP and one.png have one name" in session.album.notice
    twin = find(session, "One.BMP")
    for is_there in (True, False):  # beside one.png, and in the place of it
        if not is_there:
            (folder / "one.png").unlink()
        with pytest.raises(InputError, match=r"same name as one\.png.*accepted"):
            accept(session, twin)
        own = folder / "annotations" / "anna"
        np.testing.assert_array_equal(collect.read_mask(own, "one.png"), mask)
        assert rows(own) == ["one.png"]
    withdraw(session, "one.png")
    accept(session, twin)
    assert rows(folder / "annotations" / "anna") == ["One.BMP"]


def test_objects_of_a_loop_are_not_those_of_its_twin(written, tmp_path, segmenter):
    loop = next(path for path in written if path.stem.endswith("loop"))
    for name in ("x.dcm", "x.ima"):
        shutil.copy(loop, tmp_path / name)
    session = open_session(tmp_path, segmenter)
    accept(session, find(session, "x.dcm", 1))
    with pytest.raises(InputError, match=r"same name as x\.dcm"):
        accept(session, find(session, "x.ima", 2))


def test_the_name_of_a_frame_is_not_that_of_a_picture(
    written, tmp_path, segmenter, phantom_png
):
    loop = next(path for path in written if path.stem.endswith("loop"))
    shutil.copy(loop, tmp_path / "x.dcm")
    (tmp_path / "x_frame0002.png").write_bytes(phantom_png)
    session = open_session(tmp_path, segmenter)
    assert "x.dcm and x_frame0002.png have one name" in session.album.notice
    accept(session, find(session, "x_frame0002.png"))
    accept(session, find(session, "x.dcm", 1))
    with pytest.raises(InputError, match=r"same name as x_frame0002\.png"):
        accept(session, find(session, "x.dcm", 2))


@pytest.mark.parametrize(
    ("key", "file", "stem"),
    [
        ("a.png", "a.png", "a"),
        ("a_region2.png", "a_region2.png", "a_region2"),
        ("a.dcm/region2", "a_region2.png", "a"),
        ("a_frame0003.dcm/region1", "a_frame0003_region1.png", "a_frame0003"),
        ("1.2.3/region2/frame14", "1.2.3_frame0014_region2.png", "1.2.3"),
    ],
)
def test_the_stem_of_a_file_is_found_by_its_image(key, file, stem):
    assert stem_in(key, file) == stem
