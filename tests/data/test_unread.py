"""What looks like a part of a data set and is not read is reported, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sonoseg.data import load_cases
from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import scan
from sonoseg.data.unread import note_unread

TABLE = "is a table that is not read, so labels, patients and spacings in it are not"


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
    line, table = caplog.messages
    assert table.startswith(f"{plain / 'metadata.csv'}: is a table that is not read")
    assert line.startswith(f"{plain / 'images' / 'p2'}: is a folder, and what is in it")
    assert line.endswith("is not read, and 1 more such; see sonoseg data check")


def test_what_does_not_look_like_data_is_passed_over(plain: Path) -> None:
    _make(
        plain,
        "README.txt",
        "split.csv",
        "code/read.py",
        "__MACOSX/images/._a.png",
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
    tmp_path: Path, write, write_mask, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("benign/x", "malignant/z", "normal/n", "normal /y"):
        write(f"{name}.png")
        write_mask(f"{name}_mask.png", lesion=name != "normal/n")
    (tmp_path / "labels.csv").write_text("file,group\nx.png,1\n")
    assert _not_read(tmp_path) == ["labels.csv", "normal "]
    assert len(load_cases(tmp_path)) == 3
    assert caplog.messages[-1].startswith(f"{tmp_path / 'labels.csv'}: {TABLE}")


@pytest.mark.parametrize(
    "name",
    ["c.png", "more/c.JPG", "more/c.bmp", "c_mask.png", "images/c.dcm"],
)
def test_a_picture_beside_dicom_is_reported(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_dicom_phantoms(tmp_path, 1)
    _make(tmp_path, name, "notes.txt", "split.csv", "scanner.xml")
    assert _not_read(tmp_path) == [name]
    assert len(load_cases(tmp_path)) == 1
    (record,) = caplog.records
    assert f"{Path(name).name}: is not DICOM" in record.getMessage()


@pytest.mark.parametrize("folders", [("images", "masks"), ("scans", "outlines")])
def test_a_table_beside_dicom_is_reported_and_not_taken_for_missing_images(
    tmp_path: Path, folders: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """In images/ and masks/, its rows were called rows without an image."""
    write_dicom_phantoms(tmp_path, 1)
    for old, new in zip(("images", "masks"), folders, strict=True):
        (tmp_path / old).rename(tmp_path / new)
    row = "synthetic_00_still.dcm,benign,P1\n"
    (tmp_path / "labels.csv").write_text(f"file,label,group\n{row}")
    (finding,) = check_folder(tmp_path).findings
    assert (finding.kind, *finding.files) == ("not read", "labels.csv")
    assert finding.message.startswith(TABLE)
    assert [case.label for case in load_cases(tmp_path)] == ["unknown"]
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'labels.csv'}: {TABLE}")


def test_files_without_an_ending_are_known_by_their_content(
    plain: Path, write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Scanners write DICOM so; a folder of them beside pictures was not seen."""
    scans = tmp_path_factory.mktemp("scans")
    write_dicom_phantoms(scans, 1)
    for name in ("images/IM1", "IM2", "study/series/1.2.3", "exported/c.dcm"):
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scans / "images" / "synthetic_00_still.dcm", plain / name)
    write("images/d.png")
    (plain / "images" / "d.png").rename(plain / "images" / "d")
    expected = ["IM2", "exported", "images/IM1", "images/d", "study"]
    assert _not_read(plain) == expected
    messages = {one.files[0]: one.message for one in check_folder(plain).findings}
    assert messages["images/IM1"].startswith("is DICOM")
    assert messages["images/d"].startswith("its name does not end")


def test_a_class_folder_of_dicom_is_not_called_empty(
    tmp_path: Path, write, write_mask, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scans = tmp_path_factory.mktemp("scans")
    write_dicom_phantoms(scans, 1)
    write("benign/b.png")
    write_mask("benign/b_mask.png")
    write("normal/n.png")
    (scans / "images").rename(tmp_path / "malignant")
    path = tmp_path / "malignant" / "synthetic_00_still.dcm"
    path.rename(path.with_suffix(""))
    empty, unread = check_folder(tmp_path).findings
    assert empty.kind == "class without images"
    assert empty.message.startswith("has no image that is read, so there are no")
    assert unread.files == ("malignant/synthetic_00_still",)


def test_an_empty_class_folder_beside_images_and_masks_is_no_busi(
    plain: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Then images/ and masks/ are read, and were said not to be."""
    (plain / "benign").mkdir()
    (plain / "labels.csv").write_text("file,label\na.png,benign\nb.png,benign\n")
    assert _not_read(plain) == []
    assert len(load_cases(plain)) == 2
    assert caplog.messages == []


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


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("malign/c.png", "malign"),
        ("normals/c.png", "normals"),
        ("Cancer/c.jpg", "Cancer"),
        ("hospital 2/BUSI/benign/c.png", "hospital 2"),
        ("images/c.png", "images"),
        ("c.png", "c.png"),
    ],
)
def test_images_beside_the_class_folders_are_reported_by_check_and_by_loading(
    tmp_path: Path,
    write,
    write_mask,
    caplog: pytest.LogCaptureFixture,
    name: str,
    reported: str,
) -> None:
    for label in ("benign", "malignant", "normal"):
        write(f"{label}/{label} x.png")
        write_mask(f"{label}/{label} x_mask.png", lesion=label != "normal")
    assert len(load_cases(tmp_path)) == 3
    assert caplog.messages == []
    write(name)
    assert _not_read(tmp_path) == [reported]
    assert len(load_cases(tmp_path)) == 3
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / reported}: ") and "not read" in line


@pytest.mark.parametrize("name", ["other_masks/a.png", "more/images/a.png", "a.png"])
def test_images_beside_images_and_masks_are_reported(plain: Path, name: str) -> None:
    _make(plain, name)
    assert _not_read(plain) == [name.split("/")[0]]


def test_what_sonoseg_writes_beside_the_images_is_passed_over(
    plain: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _make(
        plain,
        "a_overlay.png",
        "annotations.csv",
        "annotations/session.db",
        "dicom/a_seg.dcm",
        "annotations/anna/images/a.png",
        "evaluation/metrics.json",
        "evaluation/roc.png",
        "explained/a_explained.png",
        "images/annotations/anna/images/a.png",
        "images/annotations/session.db",
        "replaced/a-20261129/images/a.png",
        "runs/mine/curves.png",
        "runs/mine/last.ckpt",
        "segmented/a_mask.png",
        "segmented/a_overlay.png",
        "segmented video/results.json",
        "segmented video/frame.png",
    )
    # The objects that the page writes of DICOM images.
    (plain / "dicom" / "a_seg.dcm").write_bytes(bytes(128) + b"DICM")
    (plain / "labels.csv").write_text("file\na.png\nb.png\n")
    assert _not_read(plain) == []
    assert len(load_cases(plain)) == 2
    assert caplog.messages == []


def test_real_data_sets_have_nothing_that_is_not_read_by_mistake(
    real_data: Path,
) -> None:
    found = {}
    for name in ("busi", "busi_original_sample", "busbra"):
        data = scan(real_data / name)
        note_unread(data)
        found[name] = [file for one in data.findings for file in one.files]
    assert found == {"busi": [], "busi_original_sample": [], "busbra": []}
