"""The demo with the shipped network: all of it is written, scored rightly, called synthetic, and replaced next time."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

import sonoseg
from sonoseg.cli import main
from sonoseg.core.counts import count
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import make_phantom, write_phantoms
from sonoseg.demo import _verdict, demo_command, run_demo
from sonoseg.errors import InputError
from sonoseg.serve.limits import Limits
from sonoseg.serve.pool import Pool
from sonoseg.serve.records import Finding
from sonoseg.serve.session import Session

COUNT = 4  # three with a lesion, one without


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo of four images."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    run_demo(folder, COUNT, "default")
    return folder


@pytest.fixture(scope="module")
def results(demo: Path) -> dict[str, Any]:
    return json.loads((demo / "results.json").read_text())  # type: ignore[no-any-return]


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def expected(count: int) -> set[str]:
    stems = [f"synthetic_{n:02d}" for n in range(count)]
    pictures = {f"{room}/{stem}.png" for room in ("images", "masks") for stem in stems}
    pictures |= {
        f"segmented/{stem}_{kind}.png" for kind in ("mask", "overlay") for stem in stems
    }
    return pictures | {"labels.csv", "results.json", "report.html"}


def mask(path: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    pixels = np.asarray(Image.open(path))
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels > 0


def test_the_demo_writes_all_its_files_and_no_others(demo: Path) -> None:
    assert files(demo) == expected(COUNT)


def test_the_demo_leaves_a_data_set_that_can_be_loaded(demo: Path) -> None:
    assert [case.label for case in load_cases(demo)] == [
        "unknown",
        "unknown",
        "unknown",
        "normal",
    ]
    assert np.array_equal(load_cases(demo)[0].read_image(), make_phantom(0)[0])


def test_results_name_files_that_are_there_with_one_size(
    demo: Path, results: dict[str, Any]
) -> None:
    assert len(results["images"]) == COUNT
    for entry in results["images"]:
        for kind in ("file", "truth", "mask"):
            assert Image.open(demo / entry[kind]).size == (
                entry["width"],
                entry["height"],
            )
        assert Image.open(demo / entry["overlay"]).mode == "RGB"


def test_a_result_says_how_many_were_outlined_where_no_lesion_is() -> None:
    normal = np.zeros((9, 9), np.bool_)
    outlined = normal.copy()
    outlined[2, 2] = outlined[6, 6] = True
    assert _verdict(count(outlined, normal), 2) == "no lesion, but 2 outlined"
    assert _verdict(count(outlined, normal), 1) == "no lesion, but one outlined"
    assert _verdict(count(normal, normal), 0) == "no lesion, none outlined"


def test_scores_equal_those_recomputed_from_the_written_masks(
    demo: Path, results: dict[str, Any]
) -> None:
    metrics = {
        "precision": precision_score,
        "recall": recall_score,
        "f1": f1_score,
        "iou": jaccard_score,
    }
    recomputed: dict[str, list[float]] = {name: [] for name in metrics}
    for entry in results["images"]:
        truth, outlined = (
            mask(demo / entry["truth"]).ravel(),
            mask(demo / entry["mask"]).ravel(),
        )
        assert entry["tp"] == np.sum(truth & outlined)
        assert entry["fp"] == np.sum(~truth & outlined)
        assert entry["tp"] + entry["fp"] + entry["fn"] + entry["tn"] == truth.size
        if not truth.any():
            assert [entry[name] for name in (*metrics, "dice")] == [None] * 5
            continue
        for name, metric in metrics.items():
            recomputed[name].append(metric(truth, outlined, zero_division=0))
            assert entry[name] == pytest.approx(recomputed[name][-1], abs=1e-12)
        assert entry["dice"] == entry["f1"]
    assert len(recomputed["f1"]) == 3
    for name, values in recomputed.items():
        assert results["conventions"]["lesion"][name] == pytest.approx(np.mean(values))
        assert results["conventions"]["paper"][name] == pytest.approx(
            np.sum(values) / COUNT
        )


def test_the_shipped_network_outlines_synthetic_lesions(
    results: dict[str, Any],
) -> None:
    assert results["conventions"]["lesion"]["dice"] > 0.5


def test_true_sizes_are_those_of_the_known_masks(
    demo: Path, results: dict[str, Any]
) -> None:
    for entry in results["images"]:
        area = mask(demo / entry["truth"]).sum() * 0.1**2
        assert sum(lesion["area"] for lesion in entry["true_lesions"]) == pytest.approx(
            area, abs=1e-3
        )
        assert entry["unit"] == "mm"
        assert entry["spacing"] == {
            "mm_per_pixel": [0.1, 0.1],
            "source": "synthetic image",
        }


def test_everything_it_shows_says_synthetic(
    demo: Path, results: dict[str, Any]
) -> None:
    assert results["synthetic"] is True
    assert "synthetic" in results["notice"]
    assert "not a medical device" in results["notice"]
    report = (demo / "report.html").read_text()
    assert report.count('alt="Synthetic ultrasound: ') == report.count("<img ") == COUNT
    assert "Every image here is synthetic" in report
    assert all("synthetic" in name for name in files(demo) if name.endswith(".png"))
    for entry in results[
        "images"
    ]:  # the corner where the overlay says so holds white letters on a dark plate
        corner = np.asarray(Image.open(demo / entry["overlay"]).convert("L"))[
            4:30, 4:110
        ]
        assert corner.max() > 240
        assert np.median(corner) < 100


def test_the_printed_table_says_synthetic_and_where_to_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "new" / "demo"
    with caplog.at_level(logging.INFO, "sonoseg"):
        lines = demo_command(out, 4).splitlines()
    assert lines[0].startswith("synthetic image")
    assert [line.split()[0] for line in lines[2:6]] == [
        f"synthetic_{n:02d}" for n in range(4)
    ]
    assert "on 3 synthetic images with a lesion." in lines[7]
    assert lines[8].startswith("A false lesion on ")
    assert lines[9] == "Research use, not a medical device."
    assert f"open {out / 'report.html'};" in caplog.text
    assert caplog.messages[-1].endswith(f": sonoseg serve {out}")


def test_without_the_extra_it_is_said_how_to_install_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonoseg.demo.importlib.util.find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, "sonoseg"):
        demo_command(tmp_path / "a b", 1)
    words = f"sonoseg serve '{tmp_path / 'a b'}'"
    assert (
        f"pip install '.[serve]' in the source folder, then {words}"
        in caplog.messages[-1]
    )


def test_repeating_the_demo_replaces_the_earlier_one_and_gives_the_same(
    tmp_path: Path,
) -> None:
    first = run_demo(tmp_path, 3, "default")
    (tmp_path / ".DS_Store").write_bytes(b"a file manager's")
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "segmented" / "synthetic_02_mask.png").write_text("broken")
    second = run_demo(tmp_path, 2, "default")
    assert second["images"] == first["images"][:2]
    assert files(tmp_path) == expected(2) | {".DS_Store"}
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_what_was_drawn_on_the_page_stays(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    run_demo(out, 2, "default")
    limits = Limits()
    session = Session(out, sonoseg.load(), Pool(limits), limits)
    identifier = session.entries("reader")[0]["id"]
    shot = session.album.shot(identifier)
    session.write_finding(shot, "reader", Finding("uncertain"))
    session.accept(shot, "reader", 0)
    session.close()
    drawn = {
        path: path.read_bytes()
        for path in (out / "annotations" / "reader").rglob("*.*")
    }
    assert drawn
    run_demo(out, 1, "default")
    assert {path: path.read_bytes() for path in drawn} == drawn
    assert len(load_cases(out)) == 1


@pytest.mark.parametrize(
    "foreign",
    ["thesis.txt", "images/patient.png", "segmented/notes/a.png", "results.csv"],
)
def test_a_folder_with_other_files_is_left_as_it_is(
    tmp_path: Path, foreign: str
) -> None:
    own = {"images/synthetic_00.png", "results.json", foreign}
    for name in own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with pytest.raises(
        InputError,
        match=r"has other files in it, such as .*; choose a new or an empty folder",
    ):
        run_demo(tmp_path, 2, "default")
    assert files(tmp_path) == own
    assert all((tmp_path / name).read_text() == name for name in own)


def test_a_data_set_that_no_demo_made_is_left_as_it_is(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 2)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    with pytest.raises(
        InputError,
        match="has a data set that was not made by sonoseg demo; choose a new or an empty folder",
    ):
        run_demo(tmp_path, 2, "default")
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_a_network_that_cannot_be_run_leaves_an_earlier_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_demo(tmp_path, 1, "default")
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}

    def failing(*_: Any) -> None:
        raise InputError("model.onnx", "its network cannot be run", "take another")

    monkeypatch.setattr("sonoseg.reader.bundle.run_network", failing)
    with pytest.raises(InputError, match="its network cannot be run"):
        run_demo(tmp_path, 1, "default")
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_a_demo_that_was_stopped_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        write_phantoms(tmp_path, 1)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr("sonoseg.demo.write_phantoms", stop)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path, 2, "default")
    assert len(run_demo(tmp_path, 2, "default")["images"]) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("results.json", '{"sonoseg": "0.1", "images": [], "clips": [], "failed": []}'),
        ("report.html", "<html>"),
        ("labels.csv", "file,label\npatient.png,benign\n"),
        ("labels.csv", "name\nx\n"),
    ],
)
def test_a_file_of_others_that_is_named_as_the_demos_is_left_as_it_is(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(
        InputError,
        match=f"has other files in it, such as {name}; choose a new or an empty folder",
    ):
        run_demo(tmp_path, 2, "default")
    assert (tmp_path / name).read_text() == text


def test_a_link_into_a_folder_of_others_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "synthetic_00.png").write_text("not the demo's")
    out = tmp_path / "out"
    out.mkdir()
    (out / "masks").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InputError, match="has other files in it, such as masks"):
        run_demo(out, 1, "default")
    assert (elsewhere / "synthetic_00.png").read_text() == "not the demo's"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "no-such"],
            'no-such: no such model; give "accurate", "default" or the path of a bundle',
        ),
        (
            ["--count", "0"],
            "--count 0: is not a number of images for a demo; ask for 1 to 1000",
        ),
        (["--count", "1001"], "--count 1001: is not a number of images"),
        (
            ["--count", "9" * 30],
            "--count 999999999999999999999999999999: is not a number of images",
        ),
        (["--count", "-3"], "--count -3: is not a number of images"),
        (["--model", "text.onnx"], "text.onnx: is not a sonoseg bundle"),
    ],
)
def test_bad_options_are_told_in_one_line_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("text")
    assert main(["demo", *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith("sonoseg: ")
    assert message in told
    assert told.count("\n") == 1
    assert files(tmp_path) == {"text.onnx"}


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(
        InputError, match="this is a file, not a folder; choose another folder"
    ):
        run_demo(tmp_path / "demo", 1, "default")
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="no permission to write here"):
        run_demo(tmp_path / "locked" / "demo", 1, "default")


def test_a_disk_that_fills_up_leaves_no_half_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    write = Path.write_text

    def failing(self: Path, text: str, **options: Any) -> int:
        if self.suffix == ".html":
            write(self, text[:100], **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, text, **options)

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(InputError, match=r"report\.html: the disk is full"):
        run_demo(tmp_path, 1, "default")
    assert files(tmp_path) == expected(1) - {"report.html"}


def test_the_demo_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from sonoseg.cli import main; status = main(['demo']);"
        "heavy = {'torch', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules);"
        "print(status, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    assert files(tmp_path / "demo") == expected(12)
    assert all(line.startswith("open ") for line in done.stderr.splitlines())
