"""Every command and every Python block of README.md and docs/ is run, in order, on small synthetic data."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.cli import main
from sonoseg.data.phantom import write_phantoms
from sonoseg.reader.video_writer import video_writer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/get-started.md",
    "docs/how-to.md",
    "docs/reference.md",
    "docs/explanation.md",
]
OTHERS = ["make demo", "make test", "pip install .", "pip install '.[lab]'"]
QUICK = {"--epochs": "1", "--size": "64", "--batch": "4", "--encoder-weights": "none"}
"""What training is given instead of what the page says or leaves to the defaults."""


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page that can be run, as (language, text)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(console|bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(page: str) -> list[str]:
    """The commands of a page."""
    return [
        line
        for language, text in blocks(page)
        if language != "python"
        for line in text.splitlines()
        if line
    ]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name: scan.png, clip.mp4, scans/, my-images/ and a small BUSI/, all synthetic."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sonoseg.data.fetch.fetch_busi",
        lambda folder, **_: f"{folder}: 780 images, had it been run",
    )
    write_phantoms("my-images", 12, seed=50, size=(128, 160))
    write_phantoms("scans", 3, size=(128, 160))
    for path in Path("scans/images").iterdir():
        path.rename(Path("scans") / path.name)
    shutil.rmtree("scans/images")
    shutil.rmtree("scans/masks")
    shutil.copy("scans/synthetic_00.png", "scan.png")
    with video_writer(Path("clip.mp4"), Fraction(10), Fraction(1, 10)) as clip:
        for tick, path in enumerate(sorted(Path("scans").glob("*.png"))):
            clip.write(np.asarray(Image.open(path).convert("RGB")), tick)
    small_busi()
    return tmp_path


def small_busi() -> None:
    """Nine phantoms in BUSI's layout, and busi.csv, a split of them."""
    rows = []
    for number, path in enumerate(sorted(Path("my-images/images").iterdir())[:9]):
        label = ("malignant", "benign", "benign", "normal")[number % 4]
        name = f"{label} ({number + 24})"
        Path("BUSI", label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, f"BUSI/{label}/{name}.png")
        shutil.copy(Path("my-images/masks") / path.name, f"BUSI/{label}/{name}_mask.png")
        rows.append((f"{name}.png", ("train", "train", "validation", "test")[number // 2 % 4]))
    with Path("busi.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "subset"), *rows])


def shortened(line: str) -> list[str]:
    """The words of a command, with the light network, settings and split that a test can afford."""
    words = shlex.split(line)
    if "BUSI" in words and "--split" in words:
        words[words.index("--split") + 1] = "busi.csv"
    if words[1] == "sweep":
        grid = [place for place, word in enumerate(words) if word == "--grid"]
        words = [
            word for place, word in enumerate(words) if place not in grid and place - 1 not in grid
        ]
        words[2:3] = [
            "sonoseg-1",
            "--grid",
            "batch=4",
            "--epochs",
            "1",
            "--size",
            "32",
            "--encoder-weights",
            "none",
        ]
    if words[1] == "reproduce":
        out = words[words.index("--out") + 1 :][:1] if "--out" in words else ["reproduction"]
        words = [
            "sonoseg",
            "reproduce",
            "--data",
            "BUSI",
            "--split",
            "busi.csv",
            "--out",
            *out,
            "--models",
            "15",
        ]
        words += [
            "--size",
            "32",
            "--epochs",
            "1",
            "--batch",
            "2",
            "--encoder-weights",
            "none",
            "--explain",
            "0",
        ]
    if words[1] == "train":
        if "--out" not in words:
            words += ["--out", "runs/model-1-paper"]
        words[2] = "sonoseg-1"
        for option, value in QUICK.items():
            if option in words:
                words[words.index(option) + 1] = value
            else:
                words += [option, value]
    return words


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(page: str, workplace: Path) -> None:
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            if line.startswith("sonoseg "):
                assert main(shortened(line)[1:]) == 0, line


def test_every_command_that_there_is_stands_in_the_readme() -> None:
    used = {shlex.split(line)[1] for line in lines("README.md") if line.startswith("sonoseg ")}
    assert used == {
        "segment",
        "data",
        "models",
        "train",
        "reproduce",
        "evaluate",
        "explain",
        "export",
    }


def test_the_pages_have_no_other_commands_than_those_that_are_checked() -> None:
    others = [line for page in PAGES for line in lines(page) if not line.startswith("sonoseg ")]
    assert others == [*OTHERS, "make demo", "pip install '.[video]'"]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert blocks("README.md")[0] == ("console", "make demo\nmake test\n")
    assert (ROOT / "README.md").read_text(encoding="utf-8").index("make demo") < 400


def test_what_pip_is_told_to_install_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "lab" in project["optional-dependencies"]
    assert not any("torch" in requirement for requirement in project["dependencies"])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "steps"),
    [
        ("demo", ["/sonoseg demo"]),
        ("test", ["/ruff check", "/ruff format --check", "/mypy", "/lint-imports", "-m pytest"]),
        (
            "bench",
            [
                "benchmarks/reader_speed.py",
                "benchmarks/reader_start.py",
                "benchmarks/training_speed.py",
            ],
        ),
    ],
)
def test_make_runs_what_the_readme_says(target: str, steps: list[str]) -> None:
    said = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    installs = [line for line in said.splitlines() if "pip install" in line]
    assert all(("lab" in line) == (target != "demo") for line in installs)
