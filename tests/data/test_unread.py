"""What looks like a part of a data set and is not read is reported, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoseg.data import load_cases
from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms


@pytest.fixture
def plain(tmp_path: Path, write, write_mask) -> Path:
    """Two images with their masks."""
    for name in ("a.png", "b.png"):
        write(f"images/{name}")
        write_mask(f"masks/{name}")
    return tmp_path


def _not_read(folder: Path) -> list[str]:
    findings = check_folder(folder).findings
    assert all(one.kind == "not read" for one in findings)
    return [one.files[0] for one in findings]


def _make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("images/benign/c.png", "images/benign"),
        ("masks/second reader/a.png", "masks/second reader"),
        ("images/c.webp", "images/c.webp"),
        ("images/c.dcm", "images/c.dcm"),
        ("images/c.png ", "images/c.png "),
        ("masks/c.nii.gz", "masks/c.nii.gz"),
        ("images/labels.csv", "images/labels.csv"),
        ("Images old/c.png", "Images old"),
        ("labels (1).csv", "labels (1).csv"),
        ("metadata.csv", "metadata.csv"),
        ("Patients.XLSX", "Patients.XLSX"),
    ],
)
def test_pictures_folders_and_tables_that_are_not_read_are_reported(
    plain: Path, name: str, reported: str
) -> None:
    _make(plain, name)
    assert _not_read(plain) == [reported]


def test_who_loads_the_data_is_told_of_what_lies_beside_the_images(
    plain: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(load_cases(plain)) == 2
    assert caplog.messages == []
    _make(plain, "images/p2/c.png", "masks/p2/c.png", "metadata.csv")
    assert len(load_cases(plain)) == 2
    (line,) = caplog.messages
    assert line.startswith(f"{plain / 'images' / 'p2'}: is a folder, and what is in it")
    assert line.endswith("is not read, and 1 more such; see sonoseg data check")


def test_what_does_not_look_like_data_is_passed_over(plain: Path) -> None:
    _make(
        plain,
        "README.txt",
        "split.csv",
        "other_masks/a.png",
        "images/Thumbs.db",
        "images/a.json",
        "images/._a.png",
    )
    (plain / "images" / "empty").mkdir()
    assert _not_read(plain) == []


def test_other_tables_are_passed_over_where_one_is_read(plain: Path) -> None:
    _make(plain, "clinical.csv")
    (plain / "Labels.csv").write_text("file,group\na.png,1\nb.png,2\n")
    assert _not_read(plain) == []


def test_a_folder_named_nearly_as_a_class_and_a_table_that_busi_has_not_are_reported(
    tmp_path: Path, write, write_mask
) -> None:
    for name in ("benign/x", "normal /y"):
        write(f"{name}.png")
        write_mask(f"{name}_mask.png")
    (tmp_path / "labels.csv").write_text("file,group\nx.png,1\n")
    assert _not_read(tmp_path) == ["labels.csv", "normal "]


@pytest.mark.parametrize(
    "name",
    ["c.png", "more/c.JPG", "more/c.bmp", "c_mask.png", "images/c.dcm"],
)
def test_a_picture_beside_dicom_is_reported(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_dicom_phantoms(tmp_path, 1)
    _make(tmp_path, name, "notes.txt", "patients.csv", "scanner.xml")
    assert _not_read(tmp_path) == [name]
    assert len(load_cases(tmp_path)) == 1
    (record,) = caplog.records
    assert f"{Path(name).name}: is not DICOM" in record.getMessage()


def test_pictures_that_sonoseg_writes_beside_dicom_are_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dicom_phantoms(tmp_path, 1)
    _make(tmp_path, "out/results.json", "out/x_mask.png", "out/x_overlay.png")
    accepted = tmp_path / "annotations" / "anna"
    _make(accepted, "annotations.csv", "images/x.png", "masks/x.png")
    assert _not_read(tmp_path) == []
    load_cases(tmp_path)
    assert caplog.records == []
    # What somebody else put there is.
    _make(tmp_path, "out/x.png")
    assert _not_read(tmp_path) == ["out/x.png"]
