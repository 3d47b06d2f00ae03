"""Plain folders of images/ and masks/, with and without labels.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sonoseg.data import load_cases
from sonoseg.data.check import check_folder
from sonoseg.data.load import scan
from sonoseg.errors import InputError


@pytest.fixture
def plain(tmp_path: Path, write, write_mask) -> Path:
    """a.png with mask a.png, b.tif with mask b_mask.png."""
    write("images/a.png")
    write("images/b.tif")
    write_mask("masks/a.png")
    write_mask("masks/b_mask.png")
    return tmp_path


def test_masks_are_found_by_stem_with_or_without_mask_ending(plain: Path) -> None:
    a, b = load_cases(plain)
    assert (a.name, b.name) == ("a.png", "b.tif")
    assert (a.label, a.group, a.spacing) == ("unknown", "a.png", None)
    assert b.read_mask().sum() == 35


def test_a_table_of_the_page_is_read(plain: Path) -> None:
    rows = "file,label,group,spacing,diameters\na.png,,,,\nb.tif,benign,,0.1 0.08,3 x 2 mm\n"
    (plain / "labels.csv").write_text(rows)
    assert check_folder(plain).findings == ()
    by_name = {case.name: case for case in load_cases(plain)}
    assert by_name["b.tif"].spacing == (0.1, 0.08)


def test_labels_table_gives_label_group_and_spacing(plain: Path) -> None:
    (plain / "labels.csv").write_text(
        "file,label,group,spacing\nb.tif,malignant,p1,0.08\na.png,,p2,\n"
    )
    a, b = load_cases(plain)
    assert (b.label, b.group, b.spacing) == ("malignant", "p1", 0.08)
    assert (a.label, a.group, a.spacing) == ("unknown", "p2", None)


@pytest.mark.parametrize(
    ("text", "count"), [("file,label\nb.tif,benign\n", 1), ("file,label\n", 2)]
)
def test_images_without_a_row_beside_a_table_are_refused(
    plain: Path, text: str, count: int
) -> None:
    (plain / "labels.csv").write_text(text)
    findings = check_folder(plain).findings
    assert [one.kind for one in findings] == ["image without row"] * count
    more = ", and 1 more such" if count == 2 else ""
    problem = rf"a\.png: labels\.csv has no row for it{more}; add the missing rows"
    with pytest.raises(InputError, match=problem):
        load_cases(plain)


def test_an_image_without_a_group_beside_others_with_one_is_refused(
    plain: Path,
) -> None:
    """`grouped` would divide its patient, and nobody would know."""
    (plain / "labels.csv").write_text("file,group\nb.tif,p1\na.png,\n")
    problem = r"a\.png: labels\.csv names no group \(patient\) for it, but for others"
    with pytest.raises(InputError, match=problem):
        load_cases(plain)
    kinds = [finding.kind for finding in check_folder(plain).findings]
    assert kinds == ["image without group"]


@pytest.mark.parametrize("name", ["a", "images/a.png", "A.PNG"])
def test_a_name_that_is_written_otherwise_comes_before_the_group_that_is_missed(
    plain: Path, name: str
) -> None:
    (plain / "labels.csv").write_text(f"file,group\nb.tif,p1\n{name},p2\n")
    problem = "has a row for it, but it is not there, or hidden; .* with its ending"
    with pytest.raises(InputError, match=problem):
        load_cases(plain)


def test_without_any_group_each_image_is_one(plain: Path) -> None:
    (plain / "labels.csv").write_text("file,label,group\nb.tif,malignant,\na.png,,\n")
    assert [case.group for case in load_cases(plain)] == ["a.png", "b.tif"]


@pytest.mark.parametrize(
    "other", ["P1", " p1 ", "p1\u200b", "\uff501", "p1\u00a0", "\ufeffp1"]
)
def test_groups_that_look_the_same_are_one(plain: Path, other: str) -> None:
    (plain / "labels.csv").write_text(
        f"file,group\na.png,p1\nb.tif,{other}\n", encoding="utf-8"
    )
    assert [case.group for case in load_cases(plain)] == ["p1", "p1"]


def test_groups_of_other_names_stay_apart(plain: Path) -> None:
    (plain / "labels.csv").write_text("file,group\na.png,1\nb.tif,01\n")
    assert [case.group for case in load_cases(plain)] == ["1", "01"]


def test_labels_table_needs_only_the_file_column(plain: Path) -> None:
    (plain / "labels.csv").write_text(
        "\ufefffile,label\na.png,benign\nb.tif,\n", encoding="utf-8"
    )
    assert [case.label for case in load_cases(plain)] == ["benign", "unknown"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            "file,label\na.png,cyst",
            "has the unknown label cyst for a.png; use one of benign",
        ),
        (
            "file,spacing\na.png,0",
            "has the spacing 0 for a.png; give mm per pixel, from 0.001 to 10, for",
        ),
        ("file,spacing\na.png,nan", "has the spacing nan for a.png"),
        ("file,spacing\na.png,1mm", "has the spacing 1mm for a.png"),
        ("file,spacing\na.png,0_1", "has the spacing 0_1 for a.png"),
        ("file,spacing\na.png,80", "has the spacing 80 for a.png"),
        ("file,spacing\na.png,1e300", "has the spacing 1e300 for a.png"),
        ("file\na.png\na.png", "has two rows for a.png"),
        ("name\na.png", "has no column file"),
        ("file,label\n,benign", "has a row without a file"),
        (
            "file," + ",".join(f"c{n}" for n in range(2000)),
            "has 2001 columns, which is too many",
        ),
        ("file,label,Label\na.png,benign,malignant", "has the column label 2 times"),
        ("file,label\na.png,benign,p1", "row 2 has too many or too few values"),
        (
            "file,label,\na.png,benign,p1",
            "row 2 has a value in a column without a name",
        ),
        ("file;spacing\na.png;0,1", "has the spacing 0,1 for a.png"),
        (
            "file,label\nc.png,benign",
            "images/c.png: labels.csv has a row for it, but it is not there, or hidden",
        ),
    ],
)
def test_wrong_labels_table_is_refused(plain: Path, rows: str, problem: str) -> None:
    (plain / "labels.csv").write_text(rows)
    with pytest.raises(InputError, match=problem):
        load_cases(plain)


def test_plain_image_without_mask_is_refused_naming_the_first_and_the_count(
    plain: Path, write
) -> None:
    write("images/c.png")
    write("images/d.png")
    with pytest.raises(
        InputError, match=r"images/c\.png: there is no mask for it, and 1 more such"
    ):
        load_cases(plain)


@pytest.mark.parametrize("name", ["a.jpg", "A.png"])
def test_two_plain_images_of_one_stem_are_refused(
    plain: Path, write, name: str
) -> None:
    write(f"images/{name}")
    with pytest.raises(InputError, match="has the same name as"):
        load_cases(plain)


@pytest.mark.parametrize(
    "name", ["lost_mask.png", "a_1.png", "a_seg.png", "mask_a.png"]
)
def test_mask_of_no_image_is_found_and_refused(
    plain: Path, write_mask, name: str
) -> None:
    write_mask(f"masks/{name}")
    (finding,) = scan(plain).findings
    assert (finding.kind, finding.files) == ("mask without image", (f"masks/{name}",))
    with pytest.raises(
        InputError, match=f"masks/{name}: there is no image for it; rename them"
    ):
        load_cases(plain)


@pytest.mark.parametrize(
    "ending", ["_mask_1", "_mask2", "_Mask_1", "_MASK", "-mask", " mask 3", "_masks"]
)
def test_all_masks_of_an_image_are_united(plain: Path, write, ending: str) -> None:
    second = np.zeros((24, 32), np.uint8)
    second[20:22, 20:30] = 255
    write(f"masks/a{ending}.png", second)
    a, _ = load_cases(plain)
    mask = a.read_mask()
    assert mask.sum() == 35 + 20
    assert mask[20:22, 20:30].all()
    assert mask[4:9, 5:12].all()


def test_names_and_folders_of_other_case_are_matched(
    tmp_path: Path, write, write_mask
) -> None:
    write("Images/A.png")
    write_mask("MASKS/a_Mask.PNG")
    (tmp_path / "LABELS.CSV").write_text(
        "File,LABEL,Group,SPACING\nA.png,Benign,p1,0.2\n"
    )
    (case,) = load_cases(tmp_path)
    assert (case.label, case.group, case.spacing, case.read_mask().sum()) == (
        "benign",
        "p1",
        0.2,
        35,
    )


ROWS = (("a.png", "benign", "p1", "0.1"), ("b.tif", "malignant", "p 2", "0.2"))


@pytest.mark.parametrize("delimiter", [",", ", ", " ,", ";", "; ", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_labels_table_is_read_as_spreadsheets_save_it(
    plain: Path, delimiter: str, encoding: str, end: str
) -> None:
    rows = [
        delimiter.join(row) for row in (("File ", "label", "GROUP", "spacing"), *ROWS)
    ]
    empty = delimiter.strip(" ") * 3 if delimiter != "\t" else "\t\t\t"
    (plain / "labels.csv").write_bytes(
        end.join([*rows, empty, "", ""]).encode(encoding)
    )
    found = [
        (case.name, case.label, case.group, str(case.spacing))
        for case in load_cases(plain)
    ]
    assert found == list(ROWS)


@pytest.mark.parametrize("column", ["patient", "groups", "Group ID", "label;group"])
def test_unknown_column_is_reported_and_refused(plain: Path, column: str) -> None:
    (plain / "labels.csv").write_text(f"file,{column}\na.png,p1\nb.tif,p1\n")
    (finding,) = check_folder(plain).findings
    assert (finding.kind, finding.files) == ("unknown column", ("labels.csv",))
    assert finding.message == f"has the column {column}, which is not known"
    with pytest.raises(
        InputError,
        match=rf"labels\.csv: has the column {column}, which is not known; name it label",
    ):
        load_cases(plain)


def test_table_that_would_not_be_read_is_refused(plain: Path) -> None:
    (plain / "labels.xlsx").write_bytes(b"x")
    with pytest.raises(
        InputError,
        match=r"labels\.xlsx: is not read, only labels\.csv is; save it as labels\.csv",
    ):
        load_cases(plain)


def test_accents_stored_in_two_ways_are_one_name(
    tmp_path: Path, write, write_mask
) -> None:
    write("images/cafe\u0301.png")  # as macOS stores it
    write_mask("masks/caf\u00e9_mask.png")
    (tmp_path / "labels.csv").write_text(
        "file,group\ncaf\u00e9.png,p1\n", encoding="utf-8"
    )
    (case,) = load_cases(tmp_path)
    assert (case.name, case.group, case.read_mask().sum()) == (
        "cafe\u0301.png",
        "p1",
        35,
    )


def test_two_tables_are_refused(plain: Path) -> None:
    for name in ("labels.csv", "Labels.csv"):
        (plain / name).write_text("file\na.png\n")
    with pytest.raises(InputError, match="there is also"):
        load_cases(plain)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.png", "sub/a.png", "A.PNG"])
def test_row_of_a_file_that_is_elsewhere_is_refused(plain: Path, name: str) -> None:
    rows = f"file,label\na.png,\nb.tif,\n{name},benign\n"
    (plain / "labels.csv").write_text(rows)
    (finding,) = check_folder(plain).findings
    assert finding.files == (f"images/{name}",)
    with pytest.raises(
        InputError, match=r"labels\.csv has a row for it, but it is not there"
    ):
        load_cases(plain)


def test_dangling_links_are_reported_and_refused(plain: Path) -> None:
    for folder in ("images", "masks"):
        (plain / folder / "gone.png").symlink_to("/nowhere/gone.png")
    found = [
        (finding.kind, finding.files[0]) for finding in check_folder(plain).findings
    ]
    assert found == [
        ("unreadable", "images/gone.png"),
        ("unreadable", "masks/gone.png"),
    ]
    with pytest.raises(
        InputError, match=r"images/gone\.png: is a link to a file that is not there"
    ):
        load_cases(plain)[-1].read()


def test_links_to_one_stored_image_are_cases_of_their_own(
    plain: Path, write_mask
) -> None:
    (plain / "images" / "c.png").symlink_to(plain / "images" / "a.png")
    write_mask("masks/c.png")
    assert [case.name for case in load_cases(plain)] == ["a.png", "b.tif", "c.png"]
