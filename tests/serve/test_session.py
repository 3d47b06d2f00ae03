"""A folder that is annotated: edits, undo, readers apart, what is accepted, and what survives."""

import csv
import itertools
import os

import numpy as np
import pytest
from PIL import Image
from tests.serve.opened import open_session

from sonoseg.data.check import check_folder
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import make_phantom
from sonoseg.errors import InputError
from sonoseg.serve import collect
from sonoseg.serve.edits import Edit
from sonoseg.serve.patch import to_text
from sonoseg.serve.records import Finding
from sonoseg.serve.refusal import Refused

keys = (f"key-{number:08d}" for number in itertools.count())


def find(session, stem):
    entries = session.entries("anna")
    found = next(one["id"] for one in entries if one["name"].startswith(stem))
    return session.album.shot(found)


def state(session, stem, reader="anna"):
    return next(
        one["state"] for one in session.entries(reader) if one["name"].startswith(stem)
    )


def do(session, image, tool, reader="anna", **values):
    after = session.view(image, reader).revision
    session.edit(image, reader, Edit(next(keys), after, tool, **values))
    return session.view(image, reader).mask


def paint(session, image, x, y, width, height, reader="anna", value=True):
    bits = to_text(np.full((height, width), value))
    tool = "brush" if value else "eraser"
    return do(
        session, image, tool, reader, x=x, y=y, width=width, height=height, bits=bits
    )


def test_it_begins_with_the_mask_of_the_network(session, segmenter, folder):
    image = find(session, "one")
    view = session.view(image, "anna")
    np.testing.assert_array_equal(view.mask, segmenter.segment(folder / "one.png").mask)
    assert (view.revision, view.undo, view.redo, view.state) == (0, 0, 0, "open")


def test_every_tool_changes_the_mask_and_is_undone(session, phantom):
    image = find(session, "one")
    own = session.view(image, "anna").mask
    y, x = (int(value) for value in np.argwhere(phantom[1]).mean(0))
    painted = paint(session, image, 5, 6, 7, 8)
    assert painted[6:14, 5:12].all()
    assert painted.sum() == own.sum() + 56
    erased = paint(session, image, 5, 6, 7, 4, value=False)
    assert erased.sum() == own.sum() + 28
    deleted = do(session, image, "delete", x=x, y=y)
    assert not deleted[y, x]
    grown = do(session, image, "grow", x=x, y=y)
    assert grown[y, x]
    cleared = do(session, image, "clear")
    assert not cleared.any()
    boxed = do(session, image, "box", x=x - 50, y=y - 40, width=100, height=80)
    assert boxed.any()
    left = paint(session, image, 2, 2, 10, 10)
    left = paint(session, image, 30, 4, 10, 10)
    joined = do(session, image, "join", x=5, y=5, width=30, height=4)
    assert joined[7, 20]
    cut = do(
        session,
        image,
        "cut",
        x=20,
        y=0,
        width=2,
        height=20,
        bits=to_text(np.zeros((20, 2), bool)),
    )
    assert not cut[:20, 20:22].any()
    assert joined.sum() > cut.sum() > left.sum()
    for _ in range(4):
        do(session, image, "undo")
    higher = do(session, image, "threshold", threshold=0.9)
    assert 0 < higher.sum() < own.sum()
    np.testing.assert_array_equal(do(session, image, "reset"), own)
    states = [higher, boxed, cleared, grown, deleted, erased, painted, own]
    for wanted in states:
        np.testing.assert_array_equal(do(session, image, "undo"), wanted)
    np.testing.assert_array_equal(do(session, image, "undo"), own)  # nothing is left
    for wanted in states[-2::-1]:
        np.testing.assert_array_equal(do(session, image, "redo"), wanted)
    paint(session, image, 1, 1, 1, 1)
    assert session.view(image, "anna").redo == 0


def test_all_is_there_after_opening_the_folder_again(session, folder, segmenter):
    image = find(session, "two")
    paint(session, image, 5, 6, 30, 20)
    mask = do(session, image, "undo")
    do(session, image, "redo")
    session.write_finding(image, "anna", Finding("benign", "3", "note", "0.1"))
    again = open_session(folder, segmenter)
    view = again.view(image, "anna")
    np.testing.assert_array_equal(view.mask, session.view(image, "anna").mask)
    assert view.undo == 1
    assert view.finding == Finding("benign", "3", "note", "0.1")
    assert view.lesions[0].spacing == (0.1, 0.1)
    np.testing.assert_array_equal(do(again, image, "undo"), mask)


def test_an_edit_that_is_sent_twice_is_made_once(session):
    image = find(session, "one")
    edit = Edit(next(keys), 0, "brush", 0, 0, 2, 2, to_text(np.ones((2, 2), bool)))
    session.edit(image, "anna", edit)
    session.edit(image, "anna", edit)
    assert session.view(image, "anna").undo == 1


def test_an_edit_that_is_sent_again_after_another_window_drew_is_refused(session):
    image = find(session, "one")
    edit = Edit(next(keys), 0, "brush", 0, 0, 2, 2, to_text(np.ones((2, 2), bool)))
    session.edit(image, "anna", edit)
    do(session, image, "clear")
    with pytest.raises(Refused) as refused:
        session.edit(image, "anna", edit)
    assert refused.value.status_code == 409


def test_a_window_that_did_not_see_the_last_edit_is_refused(session):
    image = find(session, "one")
    do(session, image, "clear")
    with pytest.raises(Refused) as refused:
        session.edit(image, "anna", Edit(next(keys), 0, "reset"))
    assert refused.value.status_code == 409
    assert not session.view(image, "anna").mask.any()


def test_two_servers_on_one_folder_see_each_other(session, folder, segmenter):
    image = find(session, "one")
    other = open_session(folder, segmenter)
    other.view(image, "anna")
    mask = paint(session, image, 3, 3, 4, 4)
    np.testing.assert_array_equal(other.view(image, "anna").mask, mask)


def test_readers_do_not_see_each_other(session, folder):
    image = find(session, "one")
    mask = do(session, image, "clear")
    assert not mask.any()
    assert session.view(image, "Bert").mask.any()
    for reader, label in (("anna", "normal"), ("Bert", "benign")):
        session.write_finding(image, reader, Finding(label))
        session.accept(image, reader, session.view(image, reader).revision)
    folders = sorted(
        path.name for path in (folder / "annotations").iterdir() if path.is_dir()
    )
    assert folders == ["anna", collect.folder_name("Bert")]
    masks = [
        np.asarray(Image.open(folder / "annotations" / one / "masks" / "one.png"))
        for one in folders
    ]
    assert not masks[0].any()
    assert masks[1].any()


def test_what_is_accepted_is_a_data_set(session, folder):
    for stem, label in (("one", "malignant"), ("two", "uncertain"), ("zero", "normal")):
        image = find(session, stem)
        if label == "normal":
            do(session, image, "clear")
        shape = "shape: oval; margin: angular"
        finding = Finding(
            label, "4A", "=cmd(), <b>", "0.1" if stem == "one" else "", shape
        )
        session.write_finding(image, "anna", finding)
        session.accept(image, "anna", session.view(image, "anna").revision)
        assert state(session, stem) == "accepted"
    own = folder / "annotations" / "anna"
    report = check_folder(own)
    assert report.images == 3
    assert report.findings == ()
    assert (own / "images" / "one.png").read_bytes() == (
        folder / "one.png"
    ).read_bytes()
    saved = np.asarray(Image.open(own / "masks" / "one.png")) == 255
    np.testing.assert_array_equal(
        saved, session.view(find(session, "one"), "anna").mask
    )
    with (own / "labels.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    lesion = session.view(find(session, "one"), "anna").lesions[0]
    assert rows["one.png"] == {
        "file": "one.png",
        "label": "malignant",
        "group": "",
        "spacing": "0.1",
        "diameters": f"{lesion.longest.length:.4g} x {lesion.across.length:.4g} mm",
    }
    assert rows["two.png"]["label"] == "unknown"
    notes = (own / "annotations.csv").read_text()
    assert "'=cmd()" in notes
    assert notes.startswith("file,label,birads,shape,orientation,margin,")
    assert "4A,oval,,angular," in notes
    assert "4A" in notes
    assert "uncertain" in notes


def test_what_changes_after_accepting_shows_and_does_not_reach_the_data_set(
    session, folder
):
    image = find(session, "one")
    session.write_finding(image, "anna", Finding("benign"))
    session.accept(image, "anna", 0)
    table = folder / "annotations" / "anna" / "labels.csv"
    session.write_finding(image, "anna", Finding("malignant"))
    assert state(session, "one") == "changed"
    other = find(session, "two")
    session.write_finding(other, "anna", Finding("benign"))
    session.accept(other, "anna", 0)
    assert "malignant" not in table.read_text()
    session.accept(image, "anna", 0)
    assert "malignant" in table.read_text()
    paint(session, image, 1, 1, 2, 2)
    assert state(session, "one") == "changed"


def test_an_outline_that_is_not_filled_is_doubted(session, folder):
    """No training would take it."""
    image = find(session, "one")
    do(session, image, "clear")
    paint(session, image, 20, 20, 60, 50)
    assert session.view(image, "anna").doubts == []
    paint(session, image, 23, 23, 54, 44, value=False)
    (doubt,) = session.view(image, "anna").doubts
    assert doubt == "the mask seems to be an outline: it covers 21% of what it encloses"
    session.write_finding(image, "anna", Finding("benign"))
    session.accept(image, "anna", session.view(image, "anna").revision)
    with pytest.raises(InputError, match="seems to be an outline"):
        load_cases(folder / "annotations" / "anna")[0].read_mask()


@pytest.mark.parametrize(
    ("label", "tool"),
    [("", None), ("normal", None), ("benign", "clear"), ("malignant", "clear")],
)
def test_labels_must_fit_the_mask(session, label, tool, folder):
    image = find(session, "one")
    if tool:
        do(session, image, tool)
    session.write_finding(image, "anna", Finding(label))
    with pytest.raises(InputError):
        session.accept(image, "anna", session.view(image, "anna").revision)
    assert not (folder / "annotations" / "anna" / "masks").exists()


@pytest.mark.parametrize(
    "finding", [Finding("cancer"), Finding(birads="9"), Finding(spacing="wide")]
)
def test_unknown_words_are_refused(session, finding):
    with pytest.raises(InputError):
        session.write_finding(find(session, "one"), "anna", finding)


@pytest.mark.parametrize(
    "values",
    [
        {"tool": "brush", "x": -1, "width": 2, "height": 2, "bits": "8A=="},
        {"tool": "brush", "x": 5000, "width": 2, "height": 2, "bits": "8A=="},
        {"tool": "brush", "width": 0, "height": 2, "bits": ""},
        {"tool": "brush", "width": 2, "height": 2, "bits": "AAAAAAAA"},
        {"tool": "grow", "x": 5000},
        {"tool": "delete", "y": -1},
        {"tool": "join", "width": 5000, "height": 2},
        {"tool": "join", "x": 4, "y": 4, "width": -5, "height": 0},
        {"tool": "join", "x": 0, "y": 0, "width": 1, "height": 1},
        {"tool": "cut", "x": 5000, "width": 2, "height": 2, "bits": "8A=="},
        {"tool": "box", "width": 2, "height": 2},
        {"tool": "box", "x": 10, "width": 5000, "height": 20},
    ],
)
def test_edits_that_do_not_fit_are_refused(session, values):
    image = find(session, "one")
    with pytest.raises(InputError):
        session.edit(image, "anna", Edit(key=next(keys), after=0, **values))
    assert session.view(image, "anna").revision == 0


def test_what_was_not_written_when_the_server_died_is_written_at_the_next_start(
    session, folder, segmenter, monkeypatch
):
    image = find(session, "one")
    paint(session, image, 5, 6, 30, 20)
    session.write_finding(image, "anna", Finding("benign"))
    monkeypatch.setattr(
        collect, "write_accepted", lambda *_: (_ for _ in ()).throw(KeyError)
    )
    with pytest.raises(KeyError):  # as if it had been killed there
        session.accept(image, "anna", session.view(image, "anna").revision)
    monkeypatch.undo()
    own = folder / "annotations" / "anna"
    assert not own.exists()
    again = open_session(folder, segmenter)
    again.finish_writing()
    assert check_folder(own).images == 1
    assert state(again, "one") == "accepted"


def test_an_image_that_exif_turns_is_written_upright(session, folder):
    pixels, _ = make_phantom(3)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(pixels).save(folder / "turned.png", exif=exif)
    image = find(session, "turned")
    session.write_finding(image, "anna", Finding("uncertain"))
    session.accept(image, "anna", 0)
    report = check_folder(folder / "annotations" / "anna")
    assert report.findings == ()
    assert report.images == 1


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "C:\\temp\\evil.png", ".evil.png", "evil_mask.png", "evil", ""],
)
def test_uploaded_names_stay_in_the_folder(session, folder, phantom_png, name):
    before = {path.name for path in folder.iterdir()}
    image = session.album.add(name, phantom_png)
    added = {path.name for path in folder.iterdir()} - before
    assert len(added) == 1
    assert image in {one["id"] for one in session.entries("anna")}
    assert session.album.add(name, phantom_png) != image


def test_what_is_withdrawn_leaves_the_data_set(session, folder):
    for stem in ("one", "two"):
        image = find(session, stem)
        session.write_finding(image, "anna", Finding("benign"))
        session.accept(image, "anna", 0)
    session.withdraw(find(session, "one"), "anna")
    assert state(session, "one") == "edited"
    own = folder / "annotations" / "anna"
    assert [path.name for path in (own / "masks").iterdir()] == ["two.png"]
    report = check_folder(own)
    assert report.findings == ()
    assert report.images == 1
    session.accept(find(session, "one"), "anna", 0)
    assert check_folder(own).images == 2


def test_what_was_being_withdrawn_when_the_server_died_is_gone_after_the_next_start(
    session, folder, segmenter, monkeypatch
):
    image = find(session, "one")
    session.write_finding(image, "anna", Finding("benign"))
    session.accept(image, "anna", 0)
    monkeypatch.setattr(
        collect, "remove_accepted", lambda *_: (_ for _ in ()).throw(KeyError)
    )
    with pytest.raises(KeyError):  # as if it had been killed there
        session.withdraw(image, "anna")
    monkeypatch.undo()
    again = open_session(folder, segmenter)
    assert state(again, "one") == "edited"
    again.finish_writing()
    own = folder / "annotations" / "anna"
    assert list((own / "masks").iterdir()) == []
    assert (own / "labels.csv").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "name",
    [
        b" before.png",
        b"after .png",
        b"not \xff utf-8.png",
        b"=formula.png",
        b"back\\slash.png",
        b"line\nend.png",
        "a\u0308.png".encode(),
        b"two.dots.png",
        b'comma,;quote".png',
    ],
)
def test_odd_names_are_accepted_under_names_that_data_check_takes(
    tmp_path, segmenter, phantom_png, name
):
    (tmp_path / os.fsdecode(name)).write_bytes(phantom_png)
    session = open_session(tmp_path, segmenter)
    image = find(session, "")
    session.write_finding(image, "anna", Finding("benign", spacing="0.1,0.08"))
    session.accept(image, "anna", 0)
    own = tmp_path / "annotations" / "anna"
    assert check_folder(own).findings == ()
    (case,) = load_cases(own)
    assert case.label == "benign"
    assert case.spacing == (0.1, 0.08)
    np.testing.assert_array_equal(case.read()[1], session.view(image, "anna").mask)
    session.withdraw(image, "anna")
    assert list((own / "images").iterdir()) == []


def test_a_broken_upload_leaves_nothing(session, folder):
    before = sorted(folder.iterdir())
    with pytest.raises(InputError):
        session.album.add("a.png", b"no image")
    assert sorted(folder.iterdir()) == before


def test_names_of_folders_differ_where_readers_differ():
    names = ["anna", "Anna", "ANNA", "a b", "a/b", "..", "", "änna", "a_b"]
    folders = {collect.folder_name(name) for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        assert "/" not in folder
        assert "." not in folder


@pytest.mark.parametrize("name", ["images", "Images"])  # the second of BUS-BRA
def test_a_data_set_serves_its_images(tmp_path, folder, segmenter, name):
    (tmp_path / "set").mkdir()
    folder.rename(tmp_path / "set" / name)
    session = open_session(tmp_path / "set", segmenter)
    assert len(session.entries("anna")) == 3
    assert (tmp_path / "set" / "annotations" / "session.db").is_file()
