"""The whole command line on bad input: one line with subject, problem and hint, exit code 2, nothing left behind."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from sonoseg import cli
from sonoseg.cli import main
from sonoseg.data.phantom import make_phantom, write_phantoms

LONG = "n" * 300
NOISE = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)


@pytest.fixture
def scan(tmp_path):
    """A good image."""
    path = tmp_path / "scan.png"
    Image.fromarray(make_phantom(0)[0]).save(path)
    return path


def bad_image(folder, kind):
    path = folder / f"{kind}.{'tif' if kind == 'nan' else 'png'}"
    if kind == "text":
        path.write_text("this is no picture")
    elif kind == "truncated":
        Image.fromarray(NOISE).save(path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "one_pixel":
        Image.new("L", (1, 1)).save(path)
    elif kind == "huge":
        Image.new("1", (20000, 20000)).save(path)
    elif kind == "nan":
        Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(path)
    elif kind == "empty_folder":
        path.mkdir()
    return path  # "missing": there is none


BAD_IMAGES = (
    "text",
    "truncated",
    "one_pixel",
    "huge",
    "nan",
    "empty_folder",
    "missing",
)


def complaint(capsys):
    """The one line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("sonoseg: ")
    assert "; " in lines[0], "no hint"
    return lines[0]


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_segment_names_the_bad_image_and_writes_nothing(tmp_path, capsys, kind):
    path = bad_image(tmp_path, kind)
    assert main(["segment", str(path), "--out", str(tmp_path / "out")]) == 2
    assert kind in complaint(capsys)
    assert not (tmp_path / "out").exists()


def test_one_bad_image_among_many_is_reported_and_the_rest_done(tmp_path, scan, capsys):
    bad_image(tmp_path, "truncated")
    assert main(["segment", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "truncated" in complaint(capsys)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["file"] for entry in results["images"]] == [str(scan)]
    assert [entry["file"] for entry in results["failed"]] == [
        str(tmp_path / "truncated.png")
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "scan_mask.png",
        "scan_overlay.png",
        "results.json",
    }


def test_two_images_of_one_name_are_refused(tmp_path, scan, capsys):
    Image.open(scan).save(tmp_path / "scan.bmp")
    assert main(["segment", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "scan" in complaint(capsys)


@pytest.mark.parametrize("content", [None, b"", b"no network", b"\x08\x07" * 4000])
def test_a_model_that_is_none_is_refused(tmp_path, scan, capsys, content):
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    assert (
        main(
            [
                "segment",
                str(scan),
                "--model",
                str(model),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 2
    )
    assert "model.onnx" in complaint(capsys)


def test_an_altered_bundle_is_refused(tmp_path, scan, capsys):
    from sonoseg.reader.bundle import default_bundle_path

    content = bytearray(default_bundle_path().read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "altered.onnx").write_bytes(content)
    out = tmp_path / "out"
    assert (
        main(
            [
                "segment",
                str(scan),
                "--model",
                str(tmp_path / "altered.onnx"),
                "--out",
                str(out),
            ]
        )
        == 2
    )
    assert "altered" in complaint(capsys)
    assert not out.exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_takes_nothing_is_an_input_error_with_nothing_half_written(
    tmp_path, scan, capsys, monkeypatch, error
):
    def refuse(self, target):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    assert main(["segment", str(scan), "--out", str(tmp_path / "out")]) == 2
    assert "out" in complaint(capsys)
    assert (
        list((tmp_path / "out").glob("*")) == list((tmp_path / "out").glob(".*")) == []
    )


def test_an_output_folder_that_is_a_file_is_refused(tmp_path, scan, capsys):
    assert main(["segment", str(scan), "--out", str(scan)]) == 2
    assert "is a file, not a folder" in complaint(capsys)


REFUSED = [
    ("demo --model nowhere.onnx", "nowhere.onnx: no such model"),
    ("demo --count 0", "--count 0: "),
    ("segment nowhere.png", "nowhere.png: no such file"),
    ("segment scan.png --spacing -1", "spacing: -1"),
    ("segment scan.png --spacing 0.1,8mm", "spacing: '0.1,8mm' is not a pixel size"),
    (
        "segment --spacing 0.1,0.2,0.3 scan.png",
        "spacing: '0.1,0.2,0.3' is not a pixel size",
    ),
    ("segment scan.png --model nowhere.onnx", "nowhere.onnx: no such model"),
    (
        "serve DATA --host 0.0.0.0",
        "--host 0.0.0.0: other machines could reach the server",
    ),
    ("serve DATA --model nowhere.onnx", "nowhere.onnx: no such model"),
    ("compare-readers DATA", "DATA: nothing that readers have accepted"),
    ("watch 127.0.0.1:8042", "URL: does not begin with http:// or https://"),
    ("serve DATA --token-file nowhere", "nowhere: no such file"),
    ("explain nowhere DATA/images", "nowhere: "),
    ("explain default nowhere.png", "nowhere.png: no such file"),
    ("evaluate nonsense --data DATA", "nonsense: "),
    (
        "evaluate default --data DATA --split nonsense",
        "nonsense: there is no such split",
    ),
    (
        "evaluate default --data DATA --split paper",
        "paper: this split is only for BUSI",
    ),
    ("evaluate default --data nowhere", "nowhere: there is no such folder"),
    (
        "evaluate default --data DATA --subset train",
        "there are no images in this subset",
    ),
    ("compare nowhere elsewhere", "nowhere"),
    (
        "cross DATA --models sonoseg-1",
        "sonoseg cross: at least two data sets of different names are needed",
    ),
    ("descriptors --data nowhere", "nowhere/clinical.csv: no such file"),
    ("malignancy nowhere --data DATA", "nowhere"),
    ("malignancy default --data DATA", "default: the head of the bundled model"),
    ("descriptors --data DATA --model nowhere.onnx", "nowhere.onnx: no such model"),
    ("train model-99 --data DATA", "model-99: no such model"),
    ("train model-1 --data nowhere", "nowhere: there is no such folder"),
    ("sweep model-99 --data DATA", "model-99: no such model"),
    ("average nowhere", "an average needs at least two"),
    ("average nowhere elsewhere", "nowhere"),
    ("ensemble nowhere", "an ensemble needs at least two different ones"),
    ("ensemble nowhere elsewhere", "nowhere"),
    ("slim nowhere --data DATA --split all", "nowhere"),
    ("calibrate nowhere --data DATA --split all", "nowhere"),
    ("malignancy nowhere --data DATA --split all", "nowhere"),
    ("reproduce --data nowhere", "nowhere: there is no such folder"),
    ("reproduce --data DATA --models 99 --split all", "model-99: no such model"),
    ("export nowhere", "nowhere"),
    ("data check nowhere", "nowhere: there is no such folder"),
    ("data phantom DATA/labels.csv", "DATA/labels.csv"),
    ("data pack nowhere", "nowhere: there is no such folder"),
    (
        "data pack DATA --size 100",
        "--size 100: is not a multiple of 32 from 32 to 1024",
    ),
    (
        "data pack DATA --out DATA/labels.csv",
        "DATA/labels.csv: a pack's name ends in .safetensors",
    ),
    ("data fetch busi --zip nowhere.zip", "nowhere.zip: no such file"),
    ("segment scan.png --model DATA", "make a bundle of a run: sonoseg export DATA"),
    ("data phantom new --seed -1", "--seed: -1 is below 0"),
    ("data phantom new --seed -1 --dicom", "--seed: -1 is below 0"),
    ("dicom seg-to-mask nowhere new", "nowhere: no such file"),
    ("dicom info nowhere", "nowhere: no such file"),
    ("compare DATA DATA --out .", ".: is a folder, not a file"),
    ("export default --out DATA", "DATA: is a folder, not a file"),
    (f"segment {LONG}", LONG),
    (f"segment scan.png --model {LONG}", "no such model"),
    (f"segment scan.png --out {LONG}", "the file name is too long"),
    (f"evaluate default --data {LONG}", "there is no such folder"),
    (f"evaluate {LONG} --data DATA", "no such model"),
    (f"evaluate default --data DATA --split {LONG}.csv", "no such file"),
    (f"train model-1 --data DATA --split all --also {LONG}", "there is no such folder"),
    (f"data check {LONG}", "there is no such folder"),
    (f"data pack {LONG}", "there is no such folder"),
    (f"data pack DATA --out {LONG}.safetensors", LONG),
    (f"data fetch busi --folder new --zip {LONG}", "no such file"),
    (f"compare {LONG} {LONG}", "not the scores of an evaluation"),
    (f"explain {LONG} scan.png", "needs the gradients of a run"),
    (f"average {LONG} {LONG}", "not the config of a sonoseg run"),
    (f"ensemble {LONG} {LONG}-2", "not the config of a sonoseg run"),
    (f"export {LONG}", "not the config of a sonoseg run"),
]
"""Words of the command line, and what the one line must contain: the subject, and the problem if it is our message."""


@pytest.mark.parametrize(("words", "problem"), REFUSED)
def test_every_command_refuses_what_is_not_there(
    tmp_path, monkeypatch, capsys, scan, words, problem
):
    write_phantoms(tmp_path / "DATA", 4, size=(128, 128))
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(words.split()) == 2
    assert problem in complaint(capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [["segment", ""], ["segment", "a.png", "--out", ""]])
def test_an_empty_path_is_not_taken_for_this_folder(
    tmp_path, monkeypatch, capsys, words
):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert "is empty" in complaint(capsys)
    assert not list(tmp_path.iterdir())


def word_of(command):
    """The word of a command's class: compare-readers of CompareReaders."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", command.__name__).lower()


def test_no_command_is_left_out_above():
    takes_no_input = {"models"}
    tried = {words.split()[0] for words, _ in REFUSED}
    tried |= {words.split()[1] for words, _ in REFUSED if words.startswith("data ")}
    parts = [*get_args(cli.Command), *get_args(get_type_hints(cli.Data)["action"])]
    assert tried == {word_of(part) for part in parts} - takes_no_input


def test_training_refuses_an_image_without_mask(tmp_path, capsys):
    write_phantoms(tmp_path / "data", 6, size=(128, 128))
    next((tmp_path / "data" / "masks").iterdir()).unlink()
    assert (
        main(
            [
                "train",
                "sonoseg-1",
                "--data",
                str(tmp_path / "data"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 2
    )
    assert "mask" in complaint(capsys)
    assert not (tmp_path / "out").exists()


def test_check_reports_everything_at_once_and_says_so_by_its_exit_code(
    tmp_path, capsys
):
    write_phantoms(tmp_path, 6, size=(128, 128))
    assert main(["data", "check", str(tmp_path)]) == 0
    images = sorted((tmp_path / "images").iterdir())
    images[0].write_bytes(b"no picture")
    images[2].write_bytes(images[1].read_bytes())
    capsys.readouterr()
    assert main(["data", "check", str(tmp_path)]) == 1
    report = capsys.readouterr().out
    assert images[0].name in report
    assert images[2].name in report


WITHOUT_LAB = """
import sys

class NoLab:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning_fabric", "timm"):
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, NoLab())
from sonoseg.cli import main
sys.exit(main(["train", "sonoseg-1", "--data", sys.argv[1]]))
"""


def test_without_the_lab_its_commands_say_what_to_install(tmp_path):
    write_phantoms(tmp_path, 6, size=(128, 128))
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_LAB, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "pip install '.[lab]'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_help_imports_nothing_heavy_and_lists_the_commands():
    code = "import sys; from sonoseg.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'numpy', 'PIL', 'onnxruntime', 'matplotlib'} & set(sys.modules)))"
    started = time.perf_counter()
    text = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    print(
        f"--help took {time.perf_counter() - started:.2f} s"
    )  # shown with -s; no test asserts a time
    assert text.rstrip().endswith("[]")
    listed = [
        line.split("•")[1].split()[0] for line in text.splitlines() if "•" in line
    ]
    assert listed == [word_of(part) for part in get_args(cli.Command)]


def test_a_wrong_word_gets_help_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["segmnt"])
    assert stopped.value.code == 2
