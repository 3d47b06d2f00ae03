"""labels.csv beside images/: its patients and pixel sizes get into what is collected, row by row."""

import csv

import pytest
from starlette.testclient import TestClient
from tests.serve.conftest import ADDRESS
from tests.serve.opened import open_session

from sonoseg.data.load import load_cases
from sonoseg.errors import InputError
from sonoseg.serve.app import build_app
from sonoseg.serve.records import Finding
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


def test_a_table_beside_another_folder_is_not_read(folder, segmenter):
    (folder.parent / "labels.csv").write_text("no table")
    session = open_session(folder, segmenter)
    assert len(session.entries("anna")) == 3
    assert session.album.notice == ""
