from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from sonoseg.cli import main
from sonoseg.core.counts import Counts
from sonoseg.core.metrics import normals_summary, summary
from sonoseg.errors import InputError
from sonoseg.evaluate.compare import compare
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.evaluate.paired_tests import holm, mcnemar_p, signed_rank_p


def write(
    folder: Path,
    tp: list[int],
    fp: list[int],
    truth: list[int],
    groups: list[str] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["file", "label", "group", "tp", "fp", "fn", "tn", "largest_false_part"]
        )
        for n, (hit, false, size) in enumerate(zip(tp, fp, truth, strict=True)):
            group = groups[n] if groups else f"case {n}"
            writer.writerow(
                [
                    f"{n}.png",
                    "",
                    group,
                    hit,
                    false,
                    size - hit,
                    1000 - size - false,
                    false,
                ]
            )
    return folder


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
    assert row.interval == pytest.approx((1 / 3, 1 / 3))  # every image gained the same
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
    assert compare(zero, [half], "lesion")[0].interval == (
        0.5,
        0.5,
    )  # each group gains one half


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


@pytest.mark.parametrize(
    "row",
    [
        "b.png,b,-100,0,200,4,0",
        "b.png,b,1,-1,0,4,0",
        "b.png,b,0,0,0,0,0",
        "b.png,b,1,2,0,4,3",
        "b.png,b,1,2,0,4,-1",
        "b.png,b,1,2,0,4,0",
        ",b,1,2,0,4,1",
        "b.png,,1,2,0,4,1",
    ],
)
def test_counts_that_no_image_has_are_refused(tmp_path: Path, row: str) -> None:
    table = "file,group,tp,fp,fn,tn,largest_false_part\na.png,a,1,2,0,4,1\n"
    (tmp_path / "cases.csv").write_text(table)
    assert Evaluated.read(tmp_path).files == ("a.png",)
    (tmp_path / "cases.csv").write_text(f"{table}{row}\n")
    with pytest.raises(
        InputError,
        match=r"has impossible counts, first (b.png|a row without name); run",
    ):
        Evaluated.read(tmp_path)


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """A folder with scores and their metrics, of two images with a lesion and two without."""
    tp, fp, truth = [50, 40, 0, 0], [0, 0, 5, 0], [100, 80, 0, 0]
    folder = write(tmp_path / "evaluation", tp, fp, truth)
    counts = Counts(
        tp=np.array(tp),
        fp=np.array(fp),
        fn=np.array(truth) - tp,
        tn=1000 - np.array(truth) - fp,
    )
    metrics = {"images": 4, "conventions": summary(counts)}
    metrics["normals"] = normals_summary(counts, np.array(fp) / 1000)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_scores_that_fit_their_metrics_are_read(evaluation: Path) -> None:
    assert Evaluated.read(evaluation).false_lesion.tolist() == [
        False, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.png,,case 0,50,0,50,900,0", "0.png,,case 0,51,0,49,900,0"),  # one pixel
        ("3.png,,case 3,0,0,0,1000,0\r\n", ""),  # an image less
        ("2.png,,case 2,0,5,0,995,5", "2.png,,case 2,0,5,0,5995,5"),  # a larger image
    ],
)
def test_scores_that_do_not_fit_their_metrics_are_refused(
    evaluation: Path, old: str, new: str
) -> None:
    file = evaluation / "cases.csv"
    table = file.read_bytes().decode()
    assert old in table
    file.write_bytes(table.replace(old, new).encode())
    with pytest.raises(InputError, match=r"cases\.csv: has other scores than the met"):
        Evaluated.read(evaluation)


@pytest.mark.parametrize(
    "metrics",
    ["[]", "{}", '{"images": 4, "normals": 1}', '{"images": 4, "normals": {}}'],
)
def test_metrics_that_are_none_are_refused(evaluation: Path, metrics: str) -> None:
    (evaluation / "metrics.json").write_text(metrics)
    with pytest.raises(InputError, match=r"metrics\.json: not the metrics"):
        Evaluated.read(evaluation)


def test_every_evaluation_of_the_repository_fits_its_metrics() -> None:
    results = Path(__file__).parents[2] / "results"
    folders = [file.parent for file in results.rglob("test/cases.csv")]
    assert len(folders) > 20
    for folder in folders:
        assert (folder / "metrics.json").is_file()
        Evaluated.read(folder)


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


@pytest.mark.parametrize(
    "content",
    ["", "file,tp\n", "file,group,tp,fp,fn,tn,largest_false_part\na,b,x,0,0,0,0\n"],
)
def test_hostile_tables(tmp_path: Path, content: str) -> None:
    (tmp_path / "cases.csv").write_text(content)
    with pytest.raises(InputError):
        Evaluated.read(tmp_path)
    with pytest.raises(InputError, match="not the scores"):
        Evaluated.read(tmp_path / "nowhere")


def test_signed_ranks_against_all_signs() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.45, -0.05, 0.6])
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    own = ranks[differences > 0].sum()
    sums = [
        ranks[np.array(signs)].sum()
        for signs in itertools.product([False, True], repeat=6)
    ]
    total = ranks.sum()
    extreme = sum(abs(s - total / 2) >= abs(own - total / 2) for s in sums)
    assert signed_rank_p(differences) == pytest.approx(extreme / 64)
    assert signed_rank_p(np.zeros(5)) == 1


def test_mcnemar_by_hand() -> None:
    one, other = np.array([True] * 5 + [False] * 3), np.zeros(8, dtype=bool)
    assert mcnemar_p(one, other) == pytest.approx(2 / 32)
    assert mcnemar_p(one, one) == 1
    assert mcnemar_p(one[:0], one[:0]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


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
