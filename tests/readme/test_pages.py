"""The pages hold together: links lead somewhere, pictures are small, scores are as measured, credits stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sonoseg
from sonoseg.data.busi import busi_images
from sonoseg.data.case import Case
from sonoseg.data.splits import SUBSETS, leaked
from sonoseg.report.tables import markdown_table
from sonoseg.reproduction.jobs import parse_models, plan
from sonoseg.reproduction.page import all_tables, shown
from sonoseg.reproduction.results import read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOIS = ["10.1038/s41598-024-84504-y", "10.1016/j.dib.2019.104863", "10.1002/mp.16812"]


def anchors(page: Path) -> set[str]:
    """What can be linked to in a page: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_pictures_are_small_and_described() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.+?)\]\((docs/images/.+?)\)", text)
    assert len(pictures) == 2
    for words, path in pictures:
        assert len(words) > 30
        assert (ROOT / path).stat().st_size < 200_000
        Image.open(ROOT / path).verify()


@pytest.mark.parametrize("page", ["README.md", "docs/model-card.md"])
def test_the_notice_stands_where_people_look_first(page: str) -> None:
    assert "**Research use, not a medical device.**" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/explanation.md", "CITATION.cff"])
def test_the_paper_and_the_data_are_credited(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert all(doi in text for doi in DOIS)


def rows(page: str) -> dict[str, list[str]]:
    """The table between the scores' marks: the other cells of each row by its first."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text[text.index("<!-- scores -->") : text.index("<!-- /scores -->")]
    cells = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("|")]
    return {first.strip(" `"): [cell.strip() for cell in others] for first, *others in cells}


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    """What `sonoseg evaluate` wrote of the shipped network on the paper's test images."""
    return json.loads((ROOT / "results/sonoseg-1/test/metrics.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("row", "folder"),
    [
        ("sonoseg-1, the one inside", "sonoseg-1"),
        ('`smp.Unet("efficientnet-b0")`, 45 epochs at 224 pixels', "peer"),
        ("everything is lesion (`all-foreground`)", "all-foreground"),
    ],
)
def test_the_scores_in_the_readme_are_those_that_were_measured(row: str, folder: str) -> None:
    metrics = json.loads((ROOT / "results" / folder / "test" / "metrics.json").read_text())
    scores, normals = metrics["conventions"], metrics["normals"]
    false = f"{round(normals['false_lesion'] * normals['images'])} of {normals['images']}"
    expected = [*(f"{scores[name]['dice']:.3f}" for name in ("paper", "lesion", "all")), false]
    assert rows("README.md")[row.strip(" `")][1:] == expected


@pytest.mark.parametrize("convention", ["paper", "lesion", "all"])
def test_the_scores_on_the_model_card_are_those_that_were_measured(
    metrics: dict[str, Any], convention: str
) -> None:
    scores = metrics["conventions"][convention]
    low, high = scores["dice_interval"]
    expected = [f"{scores[name]:.3f}" for name in ("precision", "recall", "iou", "dice")]
    assert rows("docs/model-card.md")[convention] == [*expected, f"{low:.3f} to {high:.3f}"]


def test_the_false_lesions_on_the_model_card_are_those_that_were_measured(
    metrics: dict[str, Any],
) -> None:
    normals = metrics["normals"]
    count, pixel, lesion = (
        round(share * normals["images"])
        for share in (1, normals["any_false_positive"], normals["false_lesion"])
    )
    said = (
        f"Of the {count} images without lesion, {pixel} have a false-positive pixel and {lesion} a false lesion "
        f"(0.1 % of the image or more). AUC over pixels {metrics['auc']:.3f}."
    )
    assert said in (ROOT / "docs/model-card.md").read_text(encoding="utf-8")


def test_the_threshold_on_the_model_card_is_that_of_the_shipped_network() -> None:
    card = sonoseg.load().card
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    assert f"lesion from {card.threshold:g} on" in text
    assert f"resized to {card.size[1]} × {card.size[0]}" in text


def test_the_tables_on_the_page_of_what_reproduced_are_those_of_the_report() -> None:
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    jobs = plan(parse_models("1-20,swin-unet,mrfe-cnn,adu-net,ddra-net,dpnet"), ("paper",), (0,))
    subsets: dict[str, list[Case]] = {name: [] for name in SUBSETS}
    for file in busi_images().values():
        subsets[file.paper].append(Case(file.name, Path(file.path), (), "unknown", file.group))
    tables = all_tables(
        read_rows(ROOT / "results/reproduction", jobs), {"paper": leaked(subsets, "test")}
    )
    report = {each.title: markdown_table(*shown(each)) for each in tables}
    blocks = re.findall(r"<!-- report: (.+?) -->\n\n(.+?)\n\n<!-- /report -->", text, re.DOTALL)
    assert len(blocks) >= 6
    for title, table in blocks:
        assert table == report[title], title
    assert "Does the paper hold? Split paper" in dict(blocks)
    assert "cut off at epoch 32" in dict(blocks)["Table 1, split paper, convention paper"]


def test_the_prose_on_that_page_is_what_its_tables_say() -> None:
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    runs = {}
    for folder in (ROOT / "results/reproduction/runs").iterdir():
        result = json.loads((folder / "result.json").read_text())
        metrics = json.loads((folder / "test/metrics.json").read_text())
        runs[result["model"]] = (result["cut_off_at"], metrics["conventions"]["paper"]["dice"])
    assert {name: cut for name, (cut, _) in runs.items()} == {
        "model-1": 32,
        "model-2": 32,
        "model-3": None,
        "model-4": 11,
        "model-7": 34,
        "model-8": 34,
        "model-19": 37,
        "model-20": 37,
    }
    assert f"ours is {0.6140 - runs['model-1'][1]:.3f} lower" in text
    alike = [runs[name][1] for name in ("model-1", "model-2", "model-7", "model-8")]
    assert f"lie within {max(alike) - min(alike) + 0.0005:.2f} of each other" in text
    stand_ins = ROOT / "results/reproduction/stand-ins"
    for name in ("resnet18", "densenet121", "efficientnet_b0"):
        about = json.loads((stand_ins / name / "about.json").read_text())
        assert f"{about['scores']['busi']['dice']:.3f}" in text


def test_what_near_copies_are_worth_is_what_was_measured() -> None:
    text = (ROOT / "docs/explanation.md").read_text(encoding="utf-8")
    table = text[text.index("<!-- copies -->") : text.index("<!-- /copies -->")]
    rows = json.loads((ROOT / "results/benchmarks/copies.json").read_text())["rows"]
    assert len(rows) == 3
    for row in rows:
        cells = [
            f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()
        ]
        assert f"| {' | '.join(cells)} |" in table
    copied, _, over_all = (round(float(row["difference"].split()[0]), 2) for row in rows)
    worth = f"worth {copied:.2f} Dice on the images that have one, {over_all:.2f} over all"
    assert worth in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_speed_in_the_readme_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "results/benchmarks/reader_speed.json").read_text())["rows"]
    told = {row["what"]: row for row in rows}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    torch, onnx = (f"smp.Unet efficientnet-b0, {engine}" for engine in ("PyTorch", "ONNX Runtime"))
    ratios = [told[f"{name}, frame to mask"]["times our frame to mask"] for name in (torch, onnx)]
    assert f"the reader is {ratios[0]:.1f} times as fast as `smp" in text
    assert f"and {ratios[1]:.1f} times as fast as that in ONNX Runtime" in text
    alone = [told[name]["times our network alone"] for name in (torch, onnx)]
    assert "network against network it is {:.1f} and {:.1f} times".format(*alone) in text


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert [int(n) for n in re.findall(r"^   (\d)\. ", text, re.MULTILINE)] == list(range(1, 10))
