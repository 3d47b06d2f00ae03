"""The pages hold together: links lead somewhere, pictures are small, scores are as measured, credits stand."""

from __future__ import annotations

import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sonoseg
from sonoseg.data.busi import busi_images
from sonoseg.data.case import Case
from sonoseg.data.splits import SUBSETS, leaked
from sonoseg.describe.malignancy_head import logit, sigmoid
from sonoseg.report.tables import markdown_table
from sonoseg.reproduction.jobs import parse_models, plan
from sonoseg.reproduction.model_results import read_results
from sonoseg.reproduction.write_report import all_tables

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LONGEST_LINE = 120
MOST_README_LINES = 100
DOIS = ["10.1038/s41598-024-84504-y", "10.1016/j.dib.2019.104863", "10.1002/mp.16812"]


def anchors(page: Path) -> set[str]:
    """What can be linked to in a page: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_lines_are_short(page: Path) -> None:
    """Tables that a command copies from a report may be wider."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<!-- report: .*?<!-- /report -->", "", text, flags=re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > LONGEST_LINE] == []


def test_the_readme_fits_on_a_few_screens() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_README_LINES


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_pictures_are_small_and_described(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words, name in re.findall(r"!\[(.*?)\]\((.+?)\)", text):
        path = page.parent / name
        assert len(words) > 30
        assert path.stat().st_size < 200_000
        Image.open(path).verify()


def test_the_readme_shows_a_picture() -> None:
    assert "](docs/images/" in (ROOT / "README.md").read_text(encoding="utf-8")


CODE_PATH = re.compile(r"`((?:src/sonoseg|tests|benchmarks)/[\w./-]+\.py)`")
MODULE = re.compile(r"`(sonoseg(?:\.\w+)+)`")
BUNDLE_KEYS = {"sonoseg.card", "sonoseg.malignancy", "sonoseg.sha256"}
"""Metadata of a bundle, named like modules."""
PLACEHOLDER = "NAME"
HISTORY = ROOT / "CHANGELOG.md"
"""It names what was removed."""


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_code_that_a_page_names_is_there(page: Path) -> None:
    if page == HISTORY:
        return
    text = page.read_text(encoding="utf-8")
    for path in CODE_PATH.findall(text):
        assert PLACEHOLDER in path or (ROOT / path).is_file(), path
    for name in set(MODULE.findall(text)) - BUNDLE_KEYS:
        assert is_importable(name), name


CONTRIBUTING = ROOT / "CONTRIBUTING.md"
OWN_PATH = re.compile(r"`([\w./-]+(?:\.py|/))`")
"""A file or folder of the project, or of src/sonoseg/."""


def test_every_path_in_contributing_is_there() -> None:
    paths = OWN_PATH.findall(CONTRIBUTING.read_text(encoding="utf-8"))
    assert len(paths) > 60
    for path in paths:
        if PLACEHOLDER in path:
            continue
        places = (
            ROOT / path,
            ROOT / "src/sonoseg" / path,
            ROOT / "src/sonoseg/models" / path,
        )
        assert any(place.exists() for place in places), path


def test_the_walks_in_contributing_are_complete() -> None:
    """As many files as the text says; benchmarks/walk.py counts them."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    walks = text[text.index("<!-- walks -->") : text.index("<!-- /walks -->")]
    _, training, reader = walks.split("\n## ")
    for walk in (training, reader):
        files = re.findall(r"^\d+\. `([\w/]+\.py)`", walk, re.MULTILINE)
        count = re.search(r"(\d+) modules", walk)
        assert count is not None
        assert len(files) == len(set(files)) == int(count[1])


def is_importable(name: str) -> bool:
    """Whether `name` is a module of the project, or an attribute of one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("page", ["README.md", "docs/model-card.md"])
def test_the_notice_stands_where_people_look_first(page: str) -> None:
    assert "**Research use, not a medical device.**" in (ROOT / page).read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("page", ["README.md", "docs/explanation.md", "CITATION.cff"])
def test_the_paper_and_the_data_are_credited(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert all(doi in text for doi in DOIS)


def rows(page: str) -> dict[str, list[str]]:
    """The table between the scores' marks: the other cells of each row by its first."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text[text.index("<!-- scores -->") : text.index("<!-- /scores -->")]
    cells = [
        line.strip("| ").split("|")
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return {
        first.strip(" `"): [cell.strip() for cell in others] for first, *others in cells
    }


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    """What `sonoseg evaluate` wrote of the shipped network on the paper's test images."""
    return json.loads((ROOT / "results/sonoseg-1/test/metrics.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("row", "folder"),
    [
        ("sonoseg-1, the bundled model", "sonoseg-1"),
        ('`smp.Unet("efficientnet-b0")`', "peer"),
        ("every pixel is lesion", "all-foreground"),
    ],
)
def test_the_scores_in_the_readme_are_those_that_were_measured(
    row: str, folder: str
) -> None:
    metrics = json.loads(
        (ROOT / "results" / folder / "test" / "metrics.json").read_text()
    )
    scores, normals = metrics["conventions"], metrics["normals"]
    false = (
        f"{round(normals['false_lesion'] * normals['images'])} of {normals['images']}"
    )
    expected = [
        *(f"{scores[name]['dice']:.3f}" for name in ("paper", "lesion", "all")),
        false,
    ]
    assert rows("README.md")[row.strip(" `")][1:] == expected


@pytest.mark.parametrize("convention", ["paper", "lesion", "all"])
def test_the_scores_on_the_model_card_are_those_that_were_measured(
    metrics: dict[str, Any], convention: str
) -> None:
    scores = metrics["conventions"][convention]
    low, high = scores["dice_interval"]
    expected = [
        f"{scores[name]:.3f}" for name in ("precision", "recall", "iou", "dice")
    ]
    assert rows("docs/model-card.md")[convention] == [
        *expected,
        f"{low:.3f} to {high:.3f}",
    ]


def test_the_false_lesions_on_the_model_card_are_those_that_were_measured(
    metrics: dict[str, Any],
) -> None:
    normals = metrics["normals"]
    count, pixel, lesion = (
        round(share * normals["images"])
        for share in (1, normals["any_false_positive"], normals["false_lesion"])
    )
    told = rows("docs/model-card.md")
    assert f"on the {count} images without a lesion" in told
    assert told["with a false-positive pixel"] == [str(pixel)]
    assert told["with a false lesion (0.1 % of the image or more)"] == [str(lesion)]
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    under_the_curve = re.search(r"under the ROC curve.*?([\d.]+\d)", text, re.DOTALL)
    assert under_the_curve is not None
    assert under_the_curve[1] == f"{metrics['auc']:.3f}"


SIZES = {
    "`default`, BUSI, test": "default-busi-test",
    "`default`, BUS-BRA, fold 5": "default-busbra-fold5",
    "`default`, all of BrEaST": "default-breast",
    "`accurate`, BUSI, test": "accurate-busi-test",
    "`accurate`, BUS-BRA, fold 5": "accurate-busbra-fold5",
    "`accurate`, BrEaST, kept out": "accurate-breast-validation",
}
"""Row of the table of sizes → file of the evaluation."""


def test_the_sizes_on_the_model_card_are_as_they_were_measured() -> None:
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    for row, file in SIZES.items():
        path = ROOT / "results/sizes" / f"{file}.json"
        sizes = json.loads(path.read_text())["sizes"]
        percent = sizes["longest_diameter"]["percent"]
        bias, (low, high) = percent["bias"], percent["bias_interval"]
        bottom, top = percent["limits"]
        cells = [
            row,
            str(sizes["images"]),
            str(sizes["missed"]),
            f"{bias:.1f} % ({low:.1f} to {high:.1f})",
            f"{bottom:.0f} and {top:.0f} %",
            f"{percent['median_error']:.1f} %",
        ]
        assert f"| {' | '.join(cells)} |" in text
    file = ROOT / "results/sizes/default-breast.json"
    absolute = json.loads(file.read_text())["sizes"]["longest_diameter"]["absolute"]
    low, high = absolute["icc_interval"]
    assert f"off by {absolute['median_error']:.2f} mm in the median" in text
    bottom, top = absolute["limits"]
    assert f"the limits are {bottom:.1f} and {top:.1f} mm" in text
    assert f"{absolute['icc']:.3f} ({low:.3f} to {high:.3f})" in text


SAME_IMAGES = {
    "BUS-BRA, fold 5, 383 lesions": "busbra-fold5",
    "BrEaST, 24 lesions that neither was trained on": "breast-validation",
    "BUSI, validation, 63 lesions": "busi-validation",
    "BUSI, test, 62 lesions": "test",
}
"""Row of the table of the accurate model → folder of the evaluation."""


def test_the_accurate_model_on_the_model_card_is_as_it_was_measured() -> None:
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    start = text.index("## The accurate model")
    section = text[start : text.index("\n## ", start + 1)]
    told = dict(re.findall(r"^\| (.+?): Dice \| [\d.]+ \| ([\d.]+) \|$", section, re.M))
    assert told.keys() == SAME_IMAGES.keys()
    for row, folder in SAME_IMAGES.items():
        file = ROOT / "results/accurate" / folder / "metrics.json"
        metrics = json.loads(file.read_text())
        assert told[row] == f"{metrics['conventions']['lesion']['dice']:.3f}"
    # The last file is that of the test images.
    normals = metrics["normals"]
    false = round(normals["images"] * normals["false_lesion"])
    assert f" {false} of {normals['images']} |" in section
    times = []
    for name in ("reader_speed", "reader_speed_accurate"):
        file = ROOT / f"results/benchmarks/{name}.json"
        first = json.loads(file.read_text())["rows"][0]
        times.append(f"{first['median ms']:.0f} ms")
    assert f"| {' | '.join(times)} |" in section


def test_the_threshold_on_the_model_card_is_that_of_the_shipped_network() -> None:
    card = sonoseg.load().card
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    told = {
        line.split("|")[1].strip(): line
        for line in text.splitlines()
        if line.startswith("|")
    }
    assert f" {card.threshold:g} " in told["Output"]
    assert f"{card.size[1]} × {card.size[0]}" in told["Input"]


def test_the_tables_on_the_page_of_what_reproduced_are_those_of_the_report() -> None:
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    jobs = plan(
        parse_models("1-20,swin-unet,mrfe-cnn,adu-net,ddra-net,dpnet"), ("paper",), (0,)
    )
    subsets: dict[str, list[Case]] = {name: [] for name in SUBSETS}
    for file in busi_images().values():
        subsets[file.paper].append(
            Case(file.name, Path(file.path), (), "unknown", file.group)
        )
    tables = all_tables(
        read_results(ROOT / "results/reproduction", jobs),
        {"paper": leaked(subsets, "test")},
    )
    report = {each.title: markdown_table(*each.shown()) for each in tables}
    blocks = re.findall(
        r"<!-- report: (.+?) -->\n\n(.+?)\n\n<!-- /report -->", text, re.DOTALL
    )
    assert len(blocks) >= 6
    for title, table in blocks:
        assert table == report[title], title
    assert "Does the paper hold? Split paper" in dict(blocks)
    assert (
        "cut off at epoch 32" in dict(blocks)["Table 1, split paper, convention paper"]
    )


def test_the_prose_on_that_page_is_what_its_tables_say() -> None:
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    runs = {}
    for folder in (ROOT / "results/reproduction/runs").iterdir():
        result = json.loads((folder / "result.json").read_text())
        metrics = json.loads((folder / "test/metrics.json").read_text())
        runs[result["model"]] = (
            result.get("cut_off_at"),
            metrics["conventions"]["paper"]["dice"],
        )
    assert {name: cut for name, (cut, _) in runs.items()} == {
        "model-1": 32,
        "model-2": 32,
        "model-3": None,
        "model-4": 11,
        "model-5": None,
        "model-6": None,
        "model-7": 34,
        "model-8": 34,
        "model-10": None,
        "model-12": None,
        "model-13": None,
        "model-14": None,
        "model-15": None,
        "model-16": None,
        "model-17": None,
        "model-18": None,
        "model-19": 37,
        "model-20": 37,
        "swin-unet": None,
        "adu-net": 32,
    }
    prose = re.sub(r"<!-- report: .*?<!-- /report -->", "", text, flags=re.DOTALL)
    prose = " ".join(prose.split())
    assert f"{0.6140 - runs['model-1'][1]:.3f}" in prose
    failing = [f"{runs[name][1]:.3f}" for name in ("model-17", "model-18")]
    assert f"a Dice of {failing[0]} and {failing[1]}" in prose
    alike = [runs[name][1] for name in ("model-1", "model-2", "model-7", "model-8")]
    assert f"within {max(alike) - min(alike) + 0.0005:.2f}" in prose
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
            f"{value:.3f}" if isinstance(value, float) else str(value)
            for value in row.values()
        ]
        assert f"| {' | '.join(cells)} |" in table
    copied, _, over_all = (
        round(float(row["difference"].split()[0]), 2) for row in rows
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sentence = re.search(
        r"Training on them [^.]*?([\d.]+\d)[^.]*?([\d.]+\d)[^.]*\.", readme
    )
    assert sentence is not None
    assert [float(value) for value in sentence.groups()] == [copied, over_all]


def test_the_speed_in_the_readme_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "results/benchmarks/reader_speed.json").read_text())[
        "rows"
    ]
    told = {row["what"]: row for row in rows}
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    torch, onnx = (
        f"smp.Unet efficientnet-b0, {engine}" for engine in ("PyTorch", "ONNX Runtime")
    )
    ratios = [
        told[f"{name}, frame to mask"]["times our frame to mask"]
        for name in (torch, onnx)
    ]
    assert re.findall(r"([\d.]+) times as fast", text) == [
        f"{ratio:.1f}" for ratio in ratios
    ]


def test_how_long_an_archive_takes_is_what_was_measured() -> None:
    text = (ROOT / "docs/how-to.md").read_text(encoding="utf-8")
    start = text.index("### How long it takes")
    section = " ".join(text[start : text.index("\n## ", start)].split())
    rows = {}
    for part in ("run", "kills", "alone", "stages", "workers"):
        file = ROOT / f"results/benchmarks/archive_{part}.json"
        rows[part] = json.loads(file.read_text())["rows"]
    run, kills = (
        {row["what"]: row["value"] for row in rows[part]} for part in ("run", "kills")
    )
    assert run["images"] == kills["images"] == 100_000 and run["failed"] == 0
    assert (kills["lost"], kills["same"], kills["twice"]) == (0, True, 0)
    alone = {row["what"]: row["images_a_second"] for row in rows["alone"]}
    share = alone["archive"] / alone["network alone"]
    times = alone["archive"] / alone["plain loop, smp"]
    for words in (
        f"workers {run['seconds'] / 60:.0f} minutes",
        f"{run['images_an_hour']:,.0f} images an hour",
        f"{run['worker_mb']:.0f} MB of memory",
        f"{kills['workers']} times a worker was killed",
        f"{kills['commands']} times the command",
        f"segments {alone['archive']:.0f} images a second",
        f"{share:.2f} of what the network alone",
        f"{times:.1f} times as much as a plain loop",
        *(f"| {row['step']} | {row['ms']:.1f} |" for row in rows["stages"]),
        *(
            f"| {row['workers']} | {row['images_a_second']:.0f} | {row['efficiency']:.2f} |"
            for row in rows["workers"]
        ),
    ):
        assert words in section


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert [int(n) for n in re.findall(r"^   (\d)\. ", text, re.MULTILINE)] == list(
        range(1, 10)
    )


@pytest.mark.parametrize("model", ["default", "accurate"])
def test_the_page_says_what_the_bundled_heads_withhold(model: str) -> None:
    head = sonoseg.load(model).head
    assert head is not None
    middle, band = logit(head.rules.balanced), head.rules.band
    low, high = sigmoid(np.array([middle - band, middle + band]))
    page = (ROOT / "docs/malignancy.md").read_text()
    (said,) = re.findall(
        r"largest: (\S+) in the bundled networks, which withhold\s+from (\S+) to (\S+)\.",
        page,
    )
    numbers = [float(number) for number in said]
    assert numbers == pytest.approx([head.rules.balanced, low, high], abs=0.01)
