from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.evaluate.evaluations import write

from sonoseg.cli import main
from sonoseg.errors import InputError
from sonoseg.evaluate.compare import compare
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.evaluate.judge import COLUMNS, compare_malignancy

TRUTH = [100, 80, 60, 0, 0]


def test_differences_are_paired(tmp_path: Path) -> None:
    worse = Evaluated.read(
        write(tmp_path / "worse", [50, 40, 30, 0, 0], [0, 0, 0, 5, 0], TRUTH)
    )
    better = Evaluated.read(
        write(tmp_path / "better", [100, 80, 60, 0, 0], [0, 0, 0, 0, 0], TRUTH)
    )
    (row,) = compare(worse, [better], "lesion")
    assert (row.images, row.dice) == (3, 1)
    assert row.reference_dice == pytest.approx(2 / 3)
    assert row.difference == pytest.approx(1 / 3)
    assert row.interval is None  # every image gained the same
    assert (row.false_lesions, row.reference_false_lesions) == (0, 1)
    assert row.p == pytest.approx(0.25)  # 2 of the 2³ signs are as extreme


def test_normals_alone_are_compared_under_the_one_convention_that_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "first", [0, 0, 0], [0, 5, 0], [0, 0, 0])
    second = write(tmp_path / "second", [0, 0, 0], [0, 0, 0], [0, 0, 0])
    assert (
        main(["compare", str(first), str(second), "--out", str(tmp_path / "c.json")])
        == 0
    )
    (row,) = json.loads((tmp_path / "c.json").read_text())
    assert (row["convention"], row["images"], row["dice"]) == ("all", 3, 1)
    assert row["reference_dice"] == pytest.approx(2 / 3)
    assert (row["false_lesions"], row["reference_false_lesions"]) == (0, 1)
    assert "3 images under all" in capsys.readouterr().out


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    first = write(tmp_path / "first", [50, 40, 30, 0, 0], [0] * 5, TRUTH)
    second = write(tmp_path / "second", [90, 10, 30, 0, 0], [0] * 5, TRUTH)
    rows = (second / "cases.csv").read_text().splitlines()
    (write(tmp_path / "turned", [0], [0], [0]) / "cases.csv").write_text(
        "\n".join([rows[0], *rows[:0:-1]])
    )
    reference = Evaluated.read(first)
    straight, turned = (
        compare(reference, [Evaluated.read(tmp_path / n)], "all")[0]
        for n in ("second", "turned")
    )
    assert straight.difference == pytest.approx(turned.difference)
    assert straight.p == turned.p


def test_groups_are_drawn_whole(tmp_path: Path) -> None:
    tp, truth = [100, 0, 100, 0], [100] * 4
    zero = Evaluated.read(
        write(tmp_path / "zero", [0] * 4, [0] * 4, truth, ["a", "a", "b", "b"])
    )
    half = Evaluated.read(
        write(tmp_path / "half", tp, [0] * 4, truth, ["a", "a", "b", "b"])
    )
    assert compare(zero, [half], "lesion")[0].interval is None  # each gains one half


def test_other_images_or_masks_are_refused(tmp_path: Path) -> None:
    reference = Evaluated.read(write(tmp_path / "five", [0] * 5, [0] * 5, TRUTH))
    fewer = Evaluated.read(write(tmp_path / "four", [0] * 4, [0] * 4, TRUTH[:4]))
    other = Evaluated.read(
        write(tmp_path / "masks", [0] * 5, [0] * 5, [99, 80, 60, 0, 0])
    )
    with pytest.raises(InputError, match="other images"):
        compare(reference, [fewer], "all")
    with pytest.raises(InputError, match="other masks"):
        compare(reference, [other], "all")


def test_no_lesion_at_all(tmp_path: Path) -> None:
    reference = Evaluated.read(write(tmp_path / "a", [0], [0], [0]))
    with pytest.raises(InputError, match="no images"):
        compare(reference, [reference], "lesion")


def test_an_evaluation_that_is_given_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holm's correction would count it as another model."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        write(tmp_path / name, [50, 40, 30, 0, 0], [0, 0, 0, 5, 0], TRUTH)
    (tmp_path / "link").symlink_to("b")
    for again in ("./a", f"{tmp_path}/b", "c/../b", "link"):
        assert main(["compare", "a", "b", "c", again, "--out", "table.json"]) == 2
        problem = f"{Path(again)}: is given twice; name each evaluation once"
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "table.json").exists()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a", [50, 40, 30, 0, 0], [0, 0, 0, 5, 0], TRUTH)
    second = write(tmp_path / "b", [100, 80, 60, 0, 0], [0] * 5, TRUTH)
    assert (
        main(["compare", str(first), str(second), "--out", str(tmp_path / "c.json")])
        == 0
    )
    assert "+0.333" in capsys.readouterr().out
    rows = json.loads((tmp_path / "c.json").read_text())
    assert [row["convention"] for row in rows] == ["lesion", "all"]
    assert main(["compare", str(first), str(tmp_path / "no")]) == 2


def test_images_of_one_patient_are_not_independent(tmp_path: Path) -> None:
    """Three patients of four images each cannot show a difference, however many images they have."""
    tp, fp, truth = [50] * 12 + [0] * 12, [0] * 24, [100] * 12 + [0] * 12
    patients = [f"patient {n // 4}" for n in range(24)]
    first = Evaluated.read(write(tmp_path / "first", tp, fp, truth, patients))
    better = [60 + n for n in range(12)] + [0] * 12
    false = [0] * 12 + [9] * 12
    second = Evaluated.read(write(tmp_path / "second", better, false, truth, patients))
    (row,) = compare(first, [second], "lesion")
    assert (row.p, row.p_false_lesions) == pytest.approx((1 / 4, 1 / 4))


def test_other_groups_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The intervals and tests of one call cannot take images together in two ways."""
    for name, groups in (("a", None), ("b", ["x", "x", "y", "y", "z"])):
        write(tmp_path / name, [50, 40, 30, 0, 0], [0] * 5, TRUTH, groups)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"b: has other groups of images than {tmp_path / 'a'}; evaluate" in line


@pytest.mark.parametrize("changed", ["1.png,malignant,p1,0.5", "1.png,benign,p2,0.5"])
def test_other_labels_or_groups_of_malignancy_are_refused(
    tmp_path: Path, changed: str
) -> None:
    for name, row in (("a", "1.png,benign,p1,0.5"), ("b", changed)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text('{"malignancy": {}}')
        (tmp_path / name / "malignancy.csv").write_text(
            f"{','.join(COLUMNS)}\n0.png,malignant,p0,0.9,,,\n{row},,,\n"
        )
    compare_malignancy(tmp_path / "a", [tmp_path / "a"])
    with pytest.raises(InputError, match=r"malignancy\.csv: has other labels or gro"):
        compare_malignancy(tmp_path / "a", [tmp_path / "b"])


def test_one_evaluation_alone_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", [50, 40, 30, 0, 0], [0] * 5, TRUTH)
    assert main(["compare", str(tmp_path / "a")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a: there is nothing to compare it with; name two evaluations" in line
