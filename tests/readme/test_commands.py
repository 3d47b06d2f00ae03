"""Every command and every Python block of README.md and docs/ is run, in order, on small synthetic data."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shlex
import shutil
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.evaluate.breast_set import write_breast
from tests.serve.server import Server
from tests.shallow import shallow_encoders

from sonoseg import cli
from sonoseg.cli import main
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import write_phantoms
from sonoseg.reader.bundle import default_bundle_path
from sonoseg.reader.video_writer import video_writer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/get-started.md",
    "docs/how-to.md",
    "docs/reference.md",
    "docs/explanation.md",
    "docs/dicom.md",
    "docs/serve.md",
    "docs/descriptors.md",
]
OTHERS = ["make demo", "make test", "pip install .", "pip install '.[lab]'"]
QUICK = {"--epochs": "1", "--size": "64", "--batch": "4", "--encoder-weights": "none"}
"""Options that training gets instead of those on the page, or of the defaults."""
QUICK_SWEEP = "sonoseg-1 --grid batch=4 --epochs 1 --size 32 --encoder-weights none"
"""The model and the grid of every sweep."""
QUICK_REPRODUCTION = (
    "sonoseg reproduce --data BUSI --split busi.csv --out reproduction --models 15 --size 32"
    " --epochs 1 --batch 2 --encoder-weights none --explain 0"
)
"""Every reproduction. They share a folder: the second one finds its work done."""
EXPORTED_ON = "README.md"
"""The page on which export runs, with shallow encoders. On the others a copy of the bundled model stands in."""


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page that can be run, as (language, text); continued lines are joined."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(
        r"^```(console|bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    return [(language, code.replace(" \\\n", " ")) for language, code in found]


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
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the pages name, all synthetic.

    It has scan.png, clip.mp4, scans/, my-images/, small BUSI/ and BREAST/, scan.dcm, study/, three DICOM files with
    masks, and model.onnx, a bundle.

    It is emptied afterwards: the runs of a page take hundreds of megabytes.
    """
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
    write_dicom_phantoms("study", 3)
    shutil.copy("study/images/synthetic_00_still.dcm", "scan.dcm")
    shutil.copy(default_bundle_path(), "model.onnx")
    small_busi()
    write_breast(Path("BREAST"), 8)
    yield tmp_path
    monkeypatch.undo()
    shutil.rmtree(tmp_path)


def small_busi() -> None:
    """Nine phantoms in BUSI's layout, and busi.csv, a split of them."""
    rows = []
    for number, path in enumerate(sorted(Path("my-images/images").iterdir())[:9]):
        label = ("malignant", "benign", "benign", "normal")[number % 4]
        name = f"{label} ({number + 24})"
        Path("BUSI", label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, f"BUSI/{label}/{name}.png")
        shutil.copy(
            Path("my-images/masks") / path.name, f"BUSI/{label}/{name}_mask.png"
        )
        rows.append(
            (f"{name}.png", ("train", "train", "validation", "test")[number // 2 % 4])
        )
    with Path("busi.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "subset"), *rows])


def shortened(line: str) -> list[str]:
    """The words of a command, with the light network, settings and split that a test can afford."""
    words = shlex.split(line)
    if "BUSI" in words and "--split" in words:
        words[words.index("--split") + 1] = "busi.csv"
    if words[1] == "descriptors":
        words += ["--folds", "2"]
    if words[1] == "sweep":
        grid = [place for place, word in enumerate(words) if word == "--grid"]
        words = [
            word
            for place, word in enumerate(words)
            if place not in grid and place - 1 not in grid
        ]
        words[2:3] = shlex.split(QUICK_SWEEP)
    if words[1] == "reproduce":
        words = shlex.split(QUICK_REPRODUCTION)
    if words[1] == "train":
        if "--out" not in words:
            words += ["--out", "runs/model-1-paper"]
        words[2] = "sonoseg-1"
        if "--start-from" not in words:
            words += ["--encoders", "resnet18"]  # exported in half the time
        for option, value in QUICK.items():
            if option in words:
                words[words.index(option) + 1] = value
            else:
                words += [option, value]
    return words


def check_serve(words: list[str]) -> None:
    """Starts the server, which would not end by itself, asks whether it works, and stops it."""
    server = Server(Path(words[0]), options=words[1:])
    with urllib.request.urlopen(f"{server.address}/healthz", timeout=30) as reply:
        assert reply.status == 200
    assert server.stop()[0] == 0


def skip_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sonoseg export` reads its options, and writes a copy of the bundled model as new.onnx instead of its own."""
    call = cli._call

    def call_or_copy(target: str, *arguments: Any, **options: Any) -> Any:
        if not target.startswith("sonoseg.deploy.export:"):
            return call(target, *arguments, **options)
        shutil.copy(default_bundle_path(), "new.onnx")
        return ""

    monkeypatch.setattr(cli, "_call", call_or_copy)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(
    page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        if page == EXPORTED_ON:
            stack.enter_context(shallow_encoders())
        else:
            skip_export(monkeypatch)
        run_page(page)


def test_the_block_on_metrics_prints_a_share_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = [code for _, code in blocks("docs/how-to.md") if "metrics.json" in code]
    scores = {"lesion": {"dice": 0.8, "dice_interval": [0.7, 0.9]}}
    normals = {"images": 16, "false_lesion": 0.1875}
    file = Path("evaluation/mine/metrics.json")
    file.parent.mkdir(parents=True)
    for normal in (normals, {"images": 0, "false_lesion": None}):
        file.write_text(json.dumps({"conventions": scores, "normals": normal}))
        exec(compile(code, "docs/how-to.md", "exec"), {})
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == third == "Dice 0.800, 95 % interval [0.7, 0.9]"
    assert second == "false lesion on 19% of the 16 images without one"


def run_page(page: str) -> None:
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            if not line.startswith("sonoseg "):
                continue
            words = shortened(line)
            if words[1] == "serve":
                check_serve(words[2:])
                continue
            assert main(words[1:]) == 0, line
            if words[1] == "export" and page != EXPORTED_ON:
                Path("new.onnx").rename(words[words.index("--out") + 1])


def test_the_readme_shows_the_main_commands() -> None:
    used = {
        shlex.split(line)[1]
        for line in lines("README.md")
        if line.startswith("sonoseg ")
    }
    assert {"segment", "train", "evaluate", "explain", "export", "reproduce"} <= used


def test_the_pages_have_no_other_commands_than_those_that_are_checked() -> None:
    others = [
        line
        for page in PAGES
        for line in lines(page)
        if not line.startswith("sonoseg ")
    ]
    assert others == [
        *OTHERS,
        "make demo",
        "pip install '.[video]'",
        "pip install '.[dicom]'",
        "pip install '.[serve]'",
    ]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert blocks("README.md")[0] == ("console", "make demo\nmake test\n")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("make demo") < text.index("\n## ")


def test_what_pip_is_told_to_install_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert "lab" in project["optional-dependencies"]
    assert not any("torch" in requirement for requirement in project["dependencies"])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "steps"),
    [
        ("demo", ["/sonoseg demo"]),
        (
            "test",
            [
                "/ruff check",
                "/ruff format --check",
                "/mypy",
                "/lint-imports",
                "-m pytest",
            ],
        ),
        ("coverage", ["-m pytest", "--cov=sonoseg"]),
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
