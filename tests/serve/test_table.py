"""labels.csv beside images/: its patients and pixel sizes get into what is collected, row by row."""

import csv

import pydicom
import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS
from tests.serve.opened import open_session

from sonoseg.data.load import load_cases
from sonoseg.errors import InputError
from sonoseg.serve.app import build_app
from sonoseg.serve.records import Finding
from sonoseg.serve.scans import Scans
from sonoseg.serve.scenes import Shot

ROWS = """file,label,group,spacing
one.png,benign,P1,0.08
two.png,malignant,P1,0.1 0.09
zero.png,unknown,P2,
"""


@pytest.fixture
def layout(folder):
    """A data set with three images, whose masks are not drawn yet."""
    root = folder.parent / "set"
    root.mkdir()
    folder.rename(root / "images")
    (root / "labels.csv").write_text(ROWS)
    return root


@pytest.mark.parametrize("inside", ["", "images"])
def test_patients_and_pixel_sizes_are_those_of_the_table(layout, segmenter, inside):
    served = layout / inside
    session = open_session(served, segmenter)
    assert session.album.notice == ""
    for scene in session.album.refresh().values():
        shot = Shot(scene)
        view = session.view(shot, "anna")
        assert view.finding.label == ""  # she must see it for herself
        session.write_finding(shot, "anna", Finding("uncertain"))
        session.accept(shot, "anna", 0)
        sizes = {lesion.spacing for lesion in session.view(shot, "anna").lesions}
        assert sizes <= {(0.08, 0.08), (0.1, 0.09), None}
    own = served / "annotations" / "anna"
    with (layout / "labels.csv").open() as file:
        wanted = list(csv.DictReader(file))
    with (own / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, known in zip(rows, wanted, strict=True):
        for column in ("file", "group", "spacing"):
            assert row[column] == known[column]
    assert " mm" in rows[0]["diameters"]
    with (own / "annotations.csv").open() as file:
        assert {row["changed"] for row in csv.DictReader(file)} == {""}
    groups = {case.name: case.group for case in load_cases(own)}
    assert groups == {"one.png": "P1", "two.png": "P1", "zero.png": "P2"}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("file,group,spacing\none.png,P1,8 mm\n", r"labels\.csv: .*8 mm for one\.png"),
        ("file,patient\none.png,P1\n", r"labels\.csv: has the column patient"),
        ("image,group\none.png,P1\n", r"labels\.csv: has no column file"),
    ],
)
def test_a_broken_table_is_refused_at_the_start(layout, segmenter, rows, problem):
    (layout / "labels.csv").write_text(rows)
    with pytest.raises(InputError, match=problem):
        build_app(segmenter, folder=layout)


def test_the_page_names_images_whose_patient_is_not_in_the_table(layout, segmenter):
    (layout / "labels.csv").write_text("file,group\none.png,P1\ntwo,P1\n")
    with TestClient(build_app(segmenter, folder=layout), base_url=ADDRESS) as client:
        notice = client.get("/api/images").json()["notice"]
        assert "no patient (group) for 2 images: two.png" in notice
        assert "changed" not in notice
        (layout / "labels.csv").write_text(ROWS)
        assert "has changed" in client.get("/api/images").json()["notice"]


def test_patients_of_busbra_are_those_of_its_own_table(folder, segmenter):
    root = folder.parent / "BUSBRA"
    root.mkdir()
    folder.rename(root / "Images")
    (root / "bus_data.csv").write_text(
        "ID,Case,Pathology\none,7,benign\ntwo,7,malignant\n"
    )
    session = open_session(root / "Images", segmenter)
    assert (
        "bus_data.csv names no patient (group) for an image: zero.png"
        in session.album.notice
    )
    for scene in session.album.refresh().values():
        shot = Shot(scene)
        assert session.view(shot, "anna").finding.label == ""
        session.write_finding(shot, "anna", Finding("uncertain"))
        session.accept(shot, "anna", 0)
    groups = {case.name: case.group for case in load_cases(session.folder / "anna")}
    assert groups["one.png"] == groups["two.png"] == "patient 7"
    assert groups["zero.png"] == "zero.png"


def test_a_broken_table_of_busbra_is_refused_at_the_start(folder, segmenter):
    root = folder.parent / "BUSBRA"
    root.mkdir()
    folder.rename(root / "Images")
    (root / "bus_data.csv").write_text("ID,Pathology\none,benign\n")
    with pytest.raises(InputError, match=r"bus_data\.csv: has no column Case"):
        build_app(segmenter, folder=root / "Images")


def test_a_table_beside_another_folder_is_not_read(folder, segmenter):
    (folder.parent / "labels.csv").write_text("no table")
    session = open_session(folder, segmenter)
    assert len(session.entries("anna")) == 3
    assert session.album.notice == ""


def dicom_set(root, written, rows):
    """A data set of stills with a table; each file is of the patient whose name it begins with."""
    (root / "images").mkdir(parents=True)
    dataset = pydicom.dcmread(next(path for path in written if "still" in path.name))
    names = ("ann1", "ann2", "ben1", "ben2")
    for number, name in enumerate(names, start=1):
        dataset.PatientID = name[:3]
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(root / "images" / f"{name}.dcm")
    lines = [f"{name}.dcm,{group}" for name, group in rows.items()]
    (root / "labels.csv").write_text("\n".join(["file,group", *lines]) + "\n")


def collected_groups(root, segmenter):
    """The group of each image in what Anna has collected, and the notice of the page."""
    session = open_session(root, segmenter)
    for scene in session.album.refresh().values():
        shot = Shot(scene)
        session.write_finding(shot, "anna", Finding("uncertain"))
        session.accept(shot, "anna", 0)
    cases = load_cases(session.folder / "anna")
    return {case.name[:4]: case.group for case in cases}, session.album.notice


def test_a_dicom_file_without_row_has_the_group_of_its_patient(
    tmp_path, written, segmenter
):
    dicom_set(tmp_path / "set", written, {"ann2": "P1"})
    groups, notice = collected_groups(tmp_path / "set", segmenter)
    assert (groups["ann1"], groups["ann2"]) == ("P1", "P1")
    assert groups["ben1"] == groups["ben2"] not in ("", "P1")
    assert "no patient (group) for 2 images: ben1.dcm" in notice
    assert "different groups" not in notice


def test_two_groups_for_one_dicom_patient_are_named(tmp_path, written, segmenter):
    rows = {"ann1": "P1", "ann2": "P2", "ben1": "P3", "ben2": "P3"}
    dicom_set(tmp_path / "set", written, rows)
    groups, notice = collected_groups(tmp_path / "set", segmenter)
    assert groups == rows
    assert "gives ann1.dcm and ann2.dcm different groups" in notice
    assert "no patient" not in notice


def test_of_two_groups_of_a_dicom_patient_none_is_chosen(tmp_path, written, segmenter):
    dicom_set(tmp_path / "set", written, {"ann1": "P1", "ann2": "P2", "ben1": "P3"})
    path = tmp_path / "set" / "images" / "ben2.dcm"
    third = pydicom.dcmread(path)
    third.PatientID = "ann"
    third.save_as(path)
    groups, notice = collected_groups(tmp_path / "set", segmenter)
    assert groups["ben2"] not in ("", "P1", "P2", "P3")
    assert "no patient (group) for an image: ben2.dcm" in notice
    assert "different groups" in notice


def test_a_damaged_patient_leaves_the_others_in_the_list(tmp_path, written):
    still = next(path for path in written if "still" in path.name)
    content = still.read_bytes()
    (tmp_path / "good.dcm").write_bytes(content)
    head = b"\x10\x00\x20\x00"
    assert content.count(head + b"LO") == 1
    (tmp_path / "odd.dcm").write_bytes(content.replace(head + b"LO", head + b"FD"))
    good, odd = Scans().find(tmp_path)
    assert good.patient.startswith("patient-")
    assert odd.patient == "no-patient-odd.dcm"
