"""BUS-BRA's layout: patients as groups, official folds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sonoseg.data import load_cases, split_cases
from sonoseg.data.busbra import official_folds, warn_of_folds
from sonoseg.data.packing import pack_folder
from sonoseg.errors import InputError


@pytest.fixture
def small(tmp_path: Path, write, write_mask) -> Path:
    """Six images of five patients; the table has a seventh, whose image is not there."""
    rows, folds = ["ID,Case,Pathology"], ["ID,Pathology,kFold"]
    for number, patient in enumerate([1, 1, 2, 3, 4, 5, 6]):
        label = ("benign", "malignant")[patient % 2]
        rows.append(f"bus_{number:04d}-l,{patient},{label}")
        folds.append(f"bus_{number:04d}-l,{label},{min(patient, 5)}")
        if patient < 6:
            write(f"Images/bus_{number:04d}-l.png")
            write_mask(f"Masks/mask_{number:04d}-l.png")
    (tmp_path / "bus_data.csv").write_text("\n".join(rows))
    (tmp_path / "5-fold-cv.csv").write_text("\n".join(folds))
    return tmp_path


def test_all_1875_real_images_have_patient_label_and_mask(real_data: Path) -> None:
    cases = load_cases(real_data / "busbra")
    assert len(cases) == 1875
    assert len({case.group for case in cases}) == 1064
    assert Counter(case.label for case in cases) == {"benign": 1268, "malignant": 607}
    assert all(len(case.masks) == 1 and case.spacing is None for case in cases)
    for case in cases[::100]:
        assert case.read_mask().any()


def test_real_grouped_split_is_the_official_one_and_divides_no_patient(
    real_data: Path,
) -> None:
    cases = load_cases(real_data / "busbra")
    for fold, size in enumerate((376, 385, 366, 365, 383)):
        subsets = split_cases(cases, f"grouped-{fold}")
        assert len(subsets["test"]) == size
        assert sum(map(len, subsets.values())) == 1875
        patients = [{case.group for case in subset} for subset in subsets.values()]
        assert not (
            patients[0] & patients[1]
            or patients[0] & patients[2]
            or patients[1] & patients[2]
        )


def test_patient_is_the_group_and_rows_without_image_are_passed_over(
    small: Path,
) -> None:
    cases = load_cases(small)
    assert [case.group for case in cases] == [
        f"patient {number}" for number in (1, 1, 2, 3, 4, 5)
    ]
    assert [case.label for case in cases] == ["malignant"] * 2 + [
        "benign",
        "malignant",
        "benign",
        "malignant",
    ]
    assert official_folds(cases) == {
        f"bus_{i:04d}-l.png": fold for i, fold in enumerate([0, 0, 1, 2, 3, 4])
    }


def test_busbra_image_without_row_or_mask_is_refused(small: Path, write) -> None:
    write("Images/bus_9999-l.png")
    with pytest.raises(
        InputError, match=r"bus_9999-l\.png: there is no mask for it; add"
    ):
        load_cases(small)
    write("Masks/mask_9999-l.png")
    with pytest.raises(
        InputError, match=r"bus_9999-l\.png: bus_data\.csv has no row for it"
    ):
        load_cases(small)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"ID,Case\nbus_0000-l,1\n", "has no column Pathology"),
        (b"ID,Case,Pathology\nbus_0000-l,1\n", "row 2 has too many or too few values"),
        (
            b"ID,Case,Pathology\nbus_0000-l,1,benign,9\n",
            "row 2 has too many or too few values",
        ),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"", "has no column ID"),
        (
            b"ID,Case,Pathology\na,1,benign\na,2,benign\n",
            "has two rows for a; keep one",
        ),
        (
            b"ID,Case,Pathology\na,,benign\n",
            "names no patient for a; fill in the column Case",
        ),
    ],
)
def test_malformed_busbra_table_is_refused(
    small: Path, text: bytes, problem: str
) -> None:
    (small / "bus_data.csv").write_bytes(text)
    with pytest.raises(InputError, match=problem):
        load_cases(small)


def test_busbra_table_with_blanks_and_capitals_is_read(small: Path) -> None:
    rows = [f"bus_{i:04d}-l, {i // 2}, Malignant" for i in range(6)]
    (small / "bus_data.csv").write_text("\n".join(["Id, case, pathology", *rows]))
    cases = load_cases(small)
    assert [case.group for case in cases] == [f"patient {i // 2}" for i in range(6)]
    assert {case.label for case in cases} == {"malignant"}


def test_busbra_fold_that_is_no_fold_is_refused(small: Path) -> None:
    (small / "5-fold-cv.csv").write_text("ID,kFold\nbus_0000-l,6\n")
    with pytest.raises(
        InputError, match=r"has no fold from 1 to 5 for bus_0000-l\.png"
    ):
        split_cases(load_cases(small), "grouped")


def test_busbra_without_fold_file_is_split_by_patient_and_says_so(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (small / "5-fold-cv.csv").unlink()
    warn_of_folds.cache_clear()
    subsets = split_cases(load_cases(small), "grouped")
    split_cases(load_cases(small), "grouped-1")
    assert [record.getMessage() for record in caplog.records] == [
        f"{small / '5-fold-cv.csv'}: there is no such file; grouped-K is not the published fold K"
    ]
    caplog.clear()
    pack = tmp_path / "pack.safetensors"
    pack_folder(small, 64, pack)
    packed = split_cases(load_cases(pack), "grouped")
    for subset, cases in subsets.items():
        names = [case.name for case in cases]
        assert [case.name for case in packed[subset]] == names
    assert "the pack has no folds of BUS-BRA" in caplog.text
    assert sum(map(len, subsets.values())) == 6
    assert (
        len(
            {case.group for case in subsets["test"]}
            & {case.group for case in subsets["train"]}
        )
        == 0
    )
