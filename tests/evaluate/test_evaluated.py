"""What is read of an evaluation is what was scored, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.evaluations import write

from sonoseg.core.metrics import normals_summary, summary
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluated import Evaluated


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
    counts = Evaluated.read(folder).counts
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
