"""`check_folder` finds each kind of problem, all at once, and nothing in a good data set."""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.data import check
from sonoseg.data.busi import busi_images
from sonoseg.data.check import KINDS, Report, check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.data.scan import Finding
from sonoseg.errors import InputError


@pytest.fixture
def good(tmp_path: Path, write, write_mask) -> Path:
    """Six images of noise in BUSI's layout."""
    for label in ("benign", "malignant", "normal"):
        for number in (1, 2):
            write(f"{label}/{label} x{number}.png")
            write_mask(f"{label}/{label} x{number}_mask.png", lesion=label != "normal")
    return tmp_path


def _found(folder: Path, split: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (finding.kind, finding.files)
        for finding in check_folder(folder, split).findings
    ]


def test_good_data_set_has_no_findings(good: Path) -> None:
    report = check_folder(good, "grouped")
    assert (report.findings, report.exit_code, report.images) == ((), 0, 6)
    assert report.to_text() == f"{good}: 6 images, no problems found"


def test_all_faults_are_found_at_once_and_ordered_by_kind(
    good: Path, write, write_mask
) -> None:
    (good / "benign/benign x1.png").write_bytes(b"this is text")
    damaged = (good / "malignant/malignant x1.png").read_bytes()
    (good / "malignant/malignant x1.png").write_bytes(damaged[:200])
    (good / "benign/benign x2_mask_1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write("malignant/malignant x2_mask_1.png", np.zeros((24, 30), np.uint8))
    write_mask("normal/normal x1_mask.png")
    write("benign/alone.png")
    write_mask("benign/lost_mask.png")
    write("normal/benign x2.png", seed=5)
    write("malignant/blank.png")
    write_mask("malignant/blank_mask.png", lesion=False)
    report = check_folder(good)
    assert [(one.kind, *one.files) for one in report.findings] == [
        ("unreadable", "benign/benign x1.png"),
        ("unreadable", "benign/benign x2_mask_1.png"),
        ("unreadable", "malignant/malignant x1.png"),
        ("duplicate name", "benign/benign x2.png", "normal/benign x2.png"),
        ("image without mask", "benign/alone.png"),
        ("mask without image", "benign/lost_mask.png"),
        ("size mismatch", "malignant/malignant x2_mask_1.png"),
        ("empty mask", "malignant/blank.png"),
        ("normal with lesion", "normal/normal x1.png"),
    ]
    assert report.exit_code == 1


def test_unusual_masks_are_reported(tmp_path: Path, write) -> None:
    whole = np.zeros((24, 32), np.uint8)
    for name in ("labels", "large", "cross", "shades", "inverted", "outline", "sound"):
        write(f"images/{name}.png")
    labels, large, cross, shades = (whole.copy() for _ in range(4))
    labels[4:9, 5:12], labels[14:19, 5:12] = 1, 2
    large[1:20, 1:30] = 255
    cross[9:15], cross[:, 12:20] = 255, 255
    outline = whole.copy()
    outline[4:16, 5:20] = 255
    outline[5:15, 6:19] = 0
    shades[4:9, 5:12], shades[4, 5:12] = 255, 100
    inverted = 255 - large
    sound = whole.copy()
    sound[0:9, 5:12] = 255
    masks = {
        "labels": labels,
        "large": large,
        "cross": cross,
        "shades": shades,
        "inverted": inverted,
        "outline": outline,
        "sound": sound,
    }
    for name, mask in masks.items():
        write(f"masks/{name}.png", mask)
    lines = [
        (one.kind, *one.files, one.message) for one in check_folder(tmp_path).findings
    ]
    problem = (
        "the mask seems to be inverted: 100% of the image's border would be lesion"
    )
    assert lines == [
        ("unreadable", "masks/inverted.png", problem),
        (
            "unreadable",
            "masks/outline.png",
            "the mask seems to be an outline: it covers 28% of what it encloses",
        ),
        (
            "several values",
            "masks/labels.png",
            "it has 3 values; lesion is what is above 0",
        ),
        (
            "several values",
            "masks/shades.png",
            "it has 3 values; lesion is what is above 127.5",
        ),
        ("large mask", "masks/large.png", "72% of the image is lesion"),
        (
            "mask at every border",
            "masks/cross.png",
            "it touches every border; 44% of the image is lesion",
        ),
    ]


def test_a_mask_that_exif_does_not_turn_as_its_image_is_reported(good: Path) -> None:
    turned = Image.Exif()
    turned[0x112] = 3
    for name in ("benign x1", "benign x2", "benign x2_mask"):
        path = good / f"benign/{name}.png"
        Image.open(path).save(path, exif=turned)
    assert _found(good) == [("turned apart", ("benign/benign x1_mask.png",))]


def test_an_image_of_damaged_jpeg_data_is_reported(good: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG")
    data = buffer.getvalue()
    middle = len(data) // 2
    (good / "benign/benign x1.png").write_bytes(
        data[:middle] + data[middle - 60 : middle] + data[middle:]
    )
    Image.fromarray(pixels > 999).save(good / "benign/benign x1_mask.png")
    assert ("doubtful", ("benign/benign x1.png",)) in _found(good)


def test_report_as_text_groups_by_kind_with_counts(good: Path) -> None:
    for number in (1, 2):
        (good / f"benign/benign x{number}.png").write_bytes(b"")
    (good / "normal/normal x1.png").unlink()
    lines = check_folder(good).to_text().splitlines()
    assert lines[0] == f"{good}: 5 images, 3 problems found"
    assert lines[2] == "files that cannot be read: 2"
    assert lines[3].startswith("       benign/benign x1.png: ")
    assert lines[6:] == [
        "masks without an image: 1",
        "       normal/normal x1_mask.png: there is no image for it",
    ]


def test_one_image_and_one_problem_are_said_in_the_singular() -> None:
    finding = Finding("image without row", ("one.png",), "there is no row for it")
    lines = Report(Path("set"), 1, (finding,)).to_text().splitlines()
    assert lines[0] == "set: 1 image, 1 problem found"


def test_exact_copies_of_other_files_and_their_label_conflict(good: Path) -> None:
    pixels = Image.open(good / "benign/benign x1.png")
    pixels.convert("RGB").save(good / "malignant/malignant x2.png")
    names = ("benign/benign x1.png", "malignant/malignant x2.png")
    assert _found(good) == [("exact copies", names), ("label conflict", names)]


def test_near_copies_are_one_group_and_leak_only_where_the_split_parts_them(
    good: Path, write
) -> None:
    pixels = np.asarray(Image.open(good / "benign/benign x1.png"))
    write("benign/benign x2.png", (pixels * 0.9).astype(np.uint8))
    names = ("benign/benign x1.png", "benign/benign x2.png")
    assert _found(good) == [("near-copies", names)]
    table = good / "split.csv"
    table.write_text(
        "file,subset\nbenign x1.png,train\nbenign x2.png,train\nnormal x1.png,test\n"
    )
    assert _found(good, str(table)) == [("near-copies", names)]
    table.write_text("file,subset\nbenign x1.png,train\nbenign x2.png,test\n")
    report = check_folder(good, str(table))
    assert [(one.kind, one.files) for one in report.findings] == [
        ("near-copies", names),
        ("leakage", names),
    ]
    assert "in train, test in this order" in report.to_text()


def test_patient_in_two_subsets_leaks_and_unknown_labels_conflict_with_none(
    tmp_path: Path, write, write_mask
) -> None:
    for name in ("a", "b", "c"):
        write(f"images/{name}.png", seed=1 if name != "c" else 2)
        write_mask(f"masks/{name}.png")
    (tmp_path / "labels.csv").write_text(
        "file,label,group\na.png,benign,p\nb.png,unknown,q\nc.png,benign,p\n"
    )
    (tmp_path / "s.csv").write_text("file,subset\na.png,train\nc.png,validation\n")
    assert _found(tmp_path, str(tmp_path / "s.csv")) == [
        ("exact copies", ("images/a.png", "images/b.png")),
        ("leakage", ("images/a.png", "images/c.png")),
    ]


def test_a_loop_that_the_split_divides_leaks(tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path, 2)
    frames = [case for case in load_cases(tmp_path) if "_frame" in case.name]
    rows = "".join(f"{case.name},train\n" for case in frames[:-1])
    table = tmp_path / "split.csv"
    table.write_text(f"file,subset\n{rows}{frames[-1].name},test\n")
    leakage = [
        files for kind, files in _found(tmp_path, str(table)) if kind == "leakage"
    ]
    loop = frames[0].image.relative_to(tmp_path).as_posix()
    assert leakage == [(loop, loop)]
    report = check_folder(tmp_path, str(table))
    assert "in test, train in this order" in report.to_text()


def test_flat_images_are_doubtful_and_copies_of_them_exact_only(
    tmp_path: Path, write, write_mask
) -> None:
    for name, value in (("a", 0), ("b", 0), ("c", 9)):
        write(f"images/{name}.png", np.full((24, 32), value, np.uint8))
        write_mask(f"masks/{name}.png")
    doubtful = [("doubtful", (f"images/{name}.png",)) for name in "abc"]
    copies = ("exact copies", ("images/a.png", "images/b.png"))
    assert _found(tmp_path) == [*doubtful, copies]


def test_data_set_of_unreadable_images_is_still_reported(
    tmp_path: Path, write_mask
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"x" * 99)
    write_mask("masks/a.png")
    assert _found(tmp_path) == [("unreadable", ("images/a.png",))]


def test_check_of_no_data_set_or_unknown_split_is_refused(good: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        check_folder(good / "nothing")
    with pytest.raises(InputError, match="there is no such split"):
        check_folder(good, "halves")


@pytest.fixture(scope="module")
def read_once() -> Iterator[None]:
    """Each file of BUSI is read once, although three tests check all of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read_image", "read_reference", "orientation"):
            patch.setattr(check, name, functools.cache(getattr(check, name)))
        yield


@pytest.mark.usefixtures("read_once")
def test_real_busi_has_its_known_flaws(real_data: Path) -> None:
    report = check_folder(real_data / "busi", "paper")
    kinds = Counter(finding.kind for finding in report.findings)
    subsets: dict[str, set[str]] = {}
    for file in busi_images().values():
        subsets.setdefault(file.group, set()).add(file.paper)
    parted = sum(len(some) > 1 for some in subsets.values())
    known = {
        "near-copies": 126,
        "exact copies": 1,
        "label conflict": 8,
        "leakage": parted,
    }
    assert kinds == known | {"large mask": 2}
    assert parted == 56
    assert report.exit_code == 1
    assert report.images == 780
    order = [finding.kind for finding in report.findings]
    assert order == sorted(order, key=list(KINDS).index)
    assert (
        "benign/benign (433).png, malignant/malignant (145).png: same pixels"
        in report.to_text()
    )


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("split", ["paper-clean", "grouped"])
def test_real_busi_leaks_nothing_in(real_data: Path, split: str) -> None:
    assert all(
        finding.kind != "leakage"
        for finding in check_folder(real_data / "busi", split).findings
    )
