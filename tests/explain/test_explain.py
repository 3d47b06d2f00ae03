"""Explaining files: the pictures, the ground truth that is found, and what goes wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from sonoseg.data import load
from sonoseg.data.phantom import write_phantoms
from sonoseg.deploy import run_predictor
from sonoseg.errors import InputError
from sonoseg.explain import explain
from sonoseg.explain.explain import explain_files, find_case


class Dark(nn.Module):
    """Calls dark areas lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.bottleneck = nn.AvgPool2d(8)
        self.stages = nn.ModuleList([nn.Upsample(scale_factor=8)])

    def forward(self, image: Tensor) -> Tensor:
        dark: Tensor = self.stages[0](self.bottleneck(0.3 - image))
        return 10 * dark

    def explain_layers(self) -> dict[str, nn.Module]:
        return {"bottleneck": self.bottleneck, "stage1": self.stages[0]}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a run of `Dark`."""
    config = SimpleNamespace(model="dark", size=64, cases="")
    monkeypatch.setattr(
        run_predictor, "load_run", lambda folder: (Dark().eval(), config)
    )
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    write_phantoms(tmp_path / "phantoms", 4, size=(150, 190))
    return tmp_path / "phantoms"


def test_when_no_image_could_be_explained_the_exit_code_is_2(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    _, exit_code = explain_files(run, [tmp_path / "x.png"], tmp_path / "out")
    assert exit_code == 2


@pytest.mark.parametrize("layer", ["bottleneck", "fused"])
def test_every_image_of_a_folder_gets_a_wide_picture(
    run: Path, phantoms: Path, tmp_path: Path, layer: str
) -> None:
    for name in ("synthetic_01.png", "synthetic_02.png"):
        (phantoms / "images" / name).unlink()
        (phantoms / "masks" / name).unlink()
    text, exit_code = explain_files(run, [phantoms / "images"], tmp_path / "out", layer)
    assert exit_code == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"synthetic_0{n}_explained.png" for n in (0, 3)]
    for name in written:
        with Image.open(tmp_path / "out" / name) as picture:
            assert (
                picture.width > 2.5 * picture.height and np.asarray(picture).std() > 10
            )
    assert f"2 of 2 images explained, layer {layer}" in text


def test_an_image_is_seen_once_for_prediction_and_heat(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = Dark.forward
    monkeypatch.setattr(
        Dark, "forward", lambda self, image: seen.append(1) or forward(self, image)
    )
    image = phantoms / "images" / "synthetic_00.png"
    _, exit_code = explain_files(run, [image], tmp_path / "out")
    assert exit_code == 0
    assert len(seen) == 1


def test_a_bad_image_is_reported_and_the_rest_are_explained(
    run: Path, phantoms: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (phantoms / "images" / "synthetic_01.png").write_text("text")
    Image.new("L", (40, 40)).save(phantoms / "masks" / "synthetic_02.png")
    text, exit_code = explain_files(run, [phantoms / "images"], tmp_path / "out")
    assert exit_code == 1
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["synthetic_00_explained.png", "synthetic_03_explained.png"]
    lines = caplog.messages
    assert all(line.startswith("sonoseg: ") for line in lines)
    assert (
        len(lines) == 2
        and "synthetic_01.png" in lines[0]
        and "synthetic_02.png" in lines[1]
    )
    assert "2 of 4 images explained" in text


def test_what_cannot_be_explained_is_told_before_anything_is_made(
    run: Path, phantoms: Path, tmp_path: Path
) -> None:
    bundle, out = tmp_path / "model.onnx", tmp_path / "out"
    bundle.write_bytes(b"onnx")
    images = [phantoms / "images"]
    for arguments, words in (
        ((bundle, images, out), "needs the gradients of a run"),
        (
            ("nowhere", images, out),
            "needs the gradients of a run; give default, or a folder",
        ),
        (
            (run, images, out, "stage7"),
            "stage7: no such layer in this model; choose one of bottleneck, stage1",
        ),
        ((run, [phantoms / "nowhere.png"], out), "no such file"),
        ((run, [*images, phantoms / "masks"], out), "same name"),
        ((run, images, bundle), "not a folder"),
    ):
        with pytest.raises(InputError, match=words):
            explain_files(*arguments)  # type: ignore[arg-type]
    assert not out.exists()


def test_the_truth_is_found_in_each_layout(real_data: Path) -> None:
    sample = real_data / "busi_original_sample"
    for image in sorted((sample / "benign").glob("benign (*).png")):
        if "_mask" not in image.name:
            case = find_case(image)
            beside = sorted(image.parent.glob(f"{image.stem}_mask*.png"))
            assert case is not None and sorted(case.masks) == beside
            assert case.read_mask().any()
    several = find_case(sample / "benign" / "benign (195).png")
    assert several is not None and len(several.masks) == 3
    normal = find_case(real_data / "busi" / "normal" / "normal (1).png")
    assert normal is not None and not normal.read_mask().any()
    busbra = find_case(real_data / "busbra" / "Images" / "bus_0001-l.png")
    assert busbra is not None and busbra.read_mask().any()


def test_the_truth_of_a_loose_image_is_the_masks_beside_it(
    phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "loose" / "deep"
    folder.mkdir(parents=True)
    image = Path(
        shutil.copy(phantoms / "images" / "synthetic_00.png", folder / "scan [1].png")
    )
    assert find_case(image) is None
    shutil.copy(phantoms / "masks" / "synthetic_00.png", folder / "scan [1]_mask.png")
    shutil.copy(phantoms / "masks" / "synthetic_01.png", folder / "scan [1]_mask_1.png")
    shutil.copy(
        phantoms / "masks" / "synthetic_01.png", folder / "scan [1]_mask_old_mask.png"
    )
    case = find_case(image)
    assert case is not None and [path.name for path in case.masks] == [
        "scan [1]_mask.png",
        "scan [1]_mask_1.png",
    ]


def test_for_the_truth_of_an_image_no_other_folders_are_searched(
    run: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder above may be a home folder, or the whole disk."""
    folder = tmp_path / "home" / "scans"
    folder.mkdir(parents=True)
    for name in ("synthetic_00.png", "synthetic_01.png"):
        shutil.copy(phantoms / "images" / name, folder)

    def searched(folder: Path) -> Path:
        raise AssertionError(f"{folder} was searched")

    def looked_at(folder: Path) -> None:
        folders.append(folder)

    folders: list[Path] = []
    monkeypatch.setattr(load, "find_dicom", searched)
    assert find_case(folder / "synthetic_00.png") is None
    monkeypatch.setattr(explain, "scan_pictures", looked_at)
    assert explain_files(run, [folder], tmp_path / "out")[1] == 0
    assert folders == [tmp_path / "home"]


def test_an_image_of_a_plain_folder_finds_its_mask_by_its_relative_path(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(phantoms / "images")
    case = find_case(Path("synthetic_00.png"))
    assert case is not None and case.read_mask().any()
    normal = find_case(Path("synthetic_03.png"))
    assert normal is not None and not normal.read_mask().any()
