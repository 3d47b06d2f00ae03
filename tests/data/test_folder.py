"""Plain folders of images/ and masks/, with and without labels.csv."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoseg.data import load_cases
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


def test_labels_table_gives_label_group_and_spacing(plain: Path) -> None:
    (plain / "labels.csv").write_text("file,label,group,spacing\nb.tif,malignant,p1,0.08\na.png,,,\n")
    a, b = load_cases(plain)
    assert (b.label, b.group, b.spacing) == ("malignant", "p1", 0.08)
    assert (a.label, a.group, a.spacing) == ("unknown", "a.png", None)


def test_labels_table_needs_only_the_file_column(plain: Path) -> None:
    (plain / "labels.csv").write_text("\ufefffile,label\na.png,benign\n", encoding="utf-8")
    assert [case.label for case in load_cases(plain)] == ["benign", "unknown"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("file,label\na.png,cyst", "gives a.png the unknown label cyst; use one of benign"),
        ("file,spacing\na.png,0", "gives a.png the spacing 0; give a positive number"),
        ("file,spacing\na.png,nan", "gives a.png the spacing nan"),
        ("file,spacing\na.png,1mm", "gives a.png the spacing 1mm"),
        ("file\na.png\na.png", "has two rows for a.png"),
        ("name\na.png", "has no column file"),
        ("file,label\nc.png,benign", "images/c.png: labels.csv has a row for it, but it is not there"),
    ],
)
def test_wrong_labels_table_is_refused(plain: Path, rows: str, fault: str) -> None:
    (plain / "labels.csv").write_text(rows)
    with pytest.raises(InputError, match=fault):
        load_cases(plain)


def test_plain_image_without_mask_is_refused_naming_the_first_and_the_count(plain: Path, write) -> None:
    write("images/c.png")
    write("images/d.png")
    with pytest.raises(InputError, match=r"images/c\.png: there is no mask for it, and 1 more such"):
        load_cases(plain)


@pytest.mark.parametrize("name", ["a.jpg", "A.png"])
def test_two_plain_images_of_one_stem_are_refused(plain: Path, write, name: str) -> None:
    write(f"images/{name}")
    with pytest.raises(InputError, match="has the same name as"):
        load_cases(plain)


def test_mask_of_no_image_is_found(plain: Path, write_mask) -> None:
    write_mask("masks/lost_mask.png")
    (finding,) = scan(plain).findings
    assert (finding.kind, finding.files) == ("mask without image", ("masks/lost_mask.png",))
