"""Masks and probabilities that another program has written, evaluated like a network."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

import sonoseg
from sonoseg.cli import main
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import make_phantom, write_phantoms
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluate import evaluate, evaluate_command
from sonoseg.evaluate.predictors import load_predictor, predict

Mask = NDArray[np.bool_]
Gray = NDArray[np.uint8]
SHAPE = (128, 160)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four synthetic images, of which some have no lesion."""
    folder = tmp_path / "data"
    write_phantoms(folder, 4, seed=3, size=SHAPE)
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "théirs"
    folder.mkdir()
    return folder


def truths(data: Path) -> dict[str, Mask]:
    return {Path(case.name).stem: case.read_mask() for case in load_cases(data)}


def save(path: Path, pixels: NDArray[Any]) -> None:
    Image.fromarray(pixels).save(path)


def nnunet(path: Path, lesion: NDArray[np.float64]) -> None:
    """As `nnUNetv2_predict --save_probabilities` writes it, with two kinds of lesion."""
    classes = np.stack([1 - lesion, lesion / 4, lesion * 3 / 4])[:, None]
    np.savez_compressed(path, probabilities=classes.astype(np.float16))


def found_in(folder: Path, data: Path) -> dict[str, NDArray[Any]]:
    cases = load_cases(data)
    images = [case.read_image() for case in cases]
    maps = predict(load_predictor(str(folder)), cases, images)
    return {Path(case.name).stem: one for case, one in zip(cases, maps, strict=True)}


def test_the_reference_masks_themselves_score_one(data: Path, masks: Path) -> None:
    for name, mask in truths(data).items():
        save(masks / f"{name}.png", mask.astype(np.uint8) * 255)
    out = masks.parent / "out"
    text = evaluate_command(str(masks), data, out=out)
    assert "théirs on all/test, 4 images" in text
    assert "4 images with masks: AUC, calibration" in text
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["model"]["name"] == "théirs"
    assert metrics["about"]["trained_on"] is None
    assert metrics["conventions"]["lesion"]["dice"] == 1
    assert metrics["conventions"]["all"]["iou"] == 1
    assert metrics["normals"]["any_false_positive"] == 0
    assert metrics["surface"]["hd95"] == 0
    assert metrics["sizes"]["longest_diameter"]["percent"]["bias"] == 0


def test_scores_are_those_counted_by_hand(data: Path, masks: Path) -> None:
    true = truths(data)
    for name, mask in true.items():
        save(masks / f"{name}.png", np.roll(mask, 9, axis=1))
    cases = load_cases(data)
    out = masks.parent / "out"
    evaluate(load_predictor(str(masks)), cases, out, size=SHAPE, pictures=False)
    with (out / "cases.csv").open() as file:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    for name, mask in true.items():
        moved = np.roll(mask, 9, axis=1)
        assert int(rows[name]["tp"]) == (moved & mask).sum()
        assert int(rows[name]["fp"]) == (moved & ~mask).sum()
        assert int(rows[name]["fn"]) == (~moved & mask).sum()


def test_what_segment_has_written_is_evaluated_as_its_network(
    data: Path, masks: Path
) -> None:
    """Of 224 × 224 pixels, so that nothing is scaled but by the network's own way."""
    images = data / "images"
    for path in [*images.iterdir(), *(data / "masks").iterdir()]:
        Image.open(path).resize((224, 224), Image.Resampling.NEAREST).save(path)
    assert main(["segment", str(images), "--out", str(masks)]) == 0
    cases = load_cases(data)
    of_masks = evaluate(
        load_predictor(str(masks)), cases, masks.parent / "a", pictures=False
    )
    of_network = evaluate(
        load_predictor("default"), cases, masks.parent / "b", pictures=False
    )
    for key in ("conventions", "normals", "sizes"):
        assert of_masks[key] == of_network[key]
    assert any(mask.any() for mask in found_in(masks, data).values())
    assert sonoseg.segment(images / cases[0].name).mask.shape == (224, 224)


def as_palette(path: Path, gray: Gray) -> None:
    picture = Image.fromarray(gray, "P")
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.save(path)


def as_two_parts(path: Path, gray: Gray) -> None:
    """The first with the name of the image, the second with that of a further mask."""
    middle = len(gray) // 2
    upper, lower = gray.copy(), gray.copy()
    upper[middle:], lower[:middle] = 0, 0
    save(path.with_name(f"{path.stem}_mask.png"), upper * 255)
    save(path.with_name(f"{path.stem}_mask_1.png"), lower * 255)


def as_labels(path: Path, gray: Gray) -> None:
    """Two classes: one in the upper half."""
    half = len(gray) // 2
    save(path, np.vstack([gray[:half] * 2, gray[half:]]))


WAYS: dict[str, Callable[[Path, Gray], None]] = {
    "1": lambda path, gray: save(path, gray > 0),
    "0 and 1": save,
    "labels": as_labels,
    "16 bit": lambda path, gray: save(path, gray.astype(np.uint16) * 65535),
    "RGB": lambda path, gray: save(path, np.dstack([gray * 255] * 3)),
    "opaque": lambda path, gray: save(
        path, np.dstack([gray * 255] * 3 + [np.full_like(gray, 255)])
    ),
    "palette": as_palette,
    "parts": as_two_parts,
    "TIFF": lambda path, gray: save(path.with_suffix(".tif"), gray.astype(np.float32)),
    "float labels": lambda path, gray: save(
        path.with_suffix(".tif"), gray.astype(np.float32) * 2
    ),
    "16 bit of 255": lambda path, gray: save(path, gray.astype(np.uint16) * 255),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_save_a_mask_gives_its_pixels(
    data: Path, masks: Path, way: str
) -> None:
    true = truths(data)
    for name, mask in true.items():
        WAYS[way](masks / f"{name}.png", mask.astype(np.uint8))
    for name, found in found_in(masks, data).items():
        np.testing.assert_array_equal(found, true[name])


def test_a_network_may_call_everything_lesion(data: Path, masks: Path) -> None:
    for name, mask in truths(data).items():
        save(masks / f"{name}.png", np.full(mask.shape, 255, np.uint8))
    metrics = evaluate(
        load_predictor(str(masks)), load_cases(data), masks.parent / "a", pictures=False
    )
    other = evaluate(
        load_predictor("all-foreground"),
        load_cases(data),
        masks.parent / "b",
        pictures=False,
    )
    assert metrics["conventions"] == other["conventions"]


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_probabilities_go_before_masks_and_have_a_curve(
    data: Path, masks: Path, ending: str
) -> None:
    true = truths(data)
    rng = np.random.default_rng(0)
    wanted = {}
    for name, mask in true.items():
        wanted[name] = np.clip(mask * 0.4 + rng.random(mask.shape) * 0.55, 0, 1)
        save(masks / f"{name}.png", np.zeros(mask.shape, np.uint8))
        if ending == ".npy":
            np.save(masks / f"{name}.npy", wanted[name])
        else:
            nnunet(masks / f"{name}.npz", wanted[name])
            (masks / f"{name}.pkl").write_bytes(b"of nnU-Net")
    for name, probability in found_in(masks, data).items():
        assert probability.dtype == np.float32
        np.testing.assert_allclose(probability, wanted[name], atol=1e-3)
    text = evaluate_command(str(masks), data, out=masks.parent / "out")
    assert "with masks" not in text
    cases = load_cases(data)
    metrics = evaluate(
        load_predictor(str(masks)),
        cases,
        masks.parent / "own",
        size=SHAPE,
        pictures=False,
    )
    pixels = np.concatenate([true[name].ravel() for name in true])
    scores = np.concatenate([wanted[name].ravel() for name in true])
    assert metrics["auc"] == pytest.approx(roc_auc_score(pixels, scores), abs=1e-3)


def test_probabilities_may_be_over_1_by_rounding(data: Path, masks: Path) -> None:
    for name, mask in truths(data).items():
        over = np.where(mask, np.nextafter(np.float32(1), np.float32(2)), -1e-9)
        np.save(masks / f"{name}.npy", over.astype(np.float32))
    for name, found in found_in(masks, data).items():
        np.testing.assert_array_equal(found, truths(data)[name])


def test_masks_with_black_and_white_exchanged_are_asked_about(
    data: Path, masks: Path
) -> None:
    for name, mask in truths(data).items():
        save(masks / f"{name}.png", ~mask)
    text = evaluate_command(str(masks), data, out=masks.parent / "out")
    assert "are black and white exchanged?" in text
    for name, mask in truths(data).items():
        save(masks / f"{name}.png", np.ones_like(mask))  # a network that failed
    text = evaluate_command(str(masks), data, out=masks.parent / "out")
    assert "exchanged" not in text


@pytest.mark.parametrize("subset", ["test", "train"])
def test_a_file_that_may_be_of_two_images_is_refused(
    data: Path, masks: Path, subset: str
) -> None:
    """Also if the other image is in another subset."""
    first, second, *others = truths(data)
    for folder in ("images", "masks"):
        path = next((data / folder).glob(f"{second}*"))
        path.rename(path.with_name(f"{first}_mask.png"))
    (data / "labels.csv").unlink()
    rows = [f"{first}.png,{subset}", f"{first}_mask.png,test"]
    rows += [f"{name}.png,validation" for name in others]
    split = masks.parent / "split.csv"
    split.write_text("\n".join(["file,subset", *rows, ""]))
    for name in (first, f"{first}_mask"):
        save(masks / f"{name}.png", np.zeros(SHAPE, np.uint8))
    problem = f"{first}_mask.png: may be of {first}.png or of {first}_mask.png"
    with pytest.raises(InputError, match=problem):
        evaluate_command(str(masks), data, str(split), out=masks.parent / "out")


def test_the_bundled_network_goes_before_a_folder_of_its_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("default").mkdir()
    save(Path("default/a.png"), np.zeros(SHAPE, np.uint8))
    assert load_predictor("default").name == "sonoseg-1"
    assert load_predictor("./default").name == "default"


def test_scores_of_predictions_are_on_no_bundles_card(
    data: Path, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mask in truths(data).items():
        save(masks / f"{name}.png", mask)
    out = masks.parent / "out"
    evaluate(load_predictor(str(masks)), load_cases(data), out, pictures=False)
    scores = str(out / "metrics.json")
    bundle = str(out / "x.onnx")
    command = ["export", "default", "--threshold", "0.5", "--scores", scores]
    assert main([*command, "--out", bundle]) == 2
    assert "was measured with another network than default" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["s.dcm", "s.IMA", "s.dicom", "s"])
def test_a_prediction_for_dicom_has_the_name_without_ending(
    data: Path, masks: Path, name: str
) -> None:
    case = replace(load_cases(data)[0], name=name)
    save(masks / "s.png", case.read_mask())
    (found,) = predict(load_predictor(str(masks)), [case], [case.read_image()])
    np.testing.assert_array_equal(found, case.read_mask())


def test_missing_predictions_are_named_before_anything_is_read(
    data: Path, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*truths(data)]
    save(masks / f"{names[0]}.png", np.zeros(SHAPE, np.uint8))
    save(masks / "of another image.png", np.zeros((9, 9), np.uint8))
    monkeypatch.setattr("sonoseg.data.case.Case.read", lambda _: pytest.fail("read"))
    with pytest.raises(
        InputError, match=f"no mask for 3 of 4 images, first {names[1]}"
    ):
        evaluate_command(str(masks), data, out=masks.parent / "out")
    assert not (masks.parent / "out" / "metrics.json").exists()


HALF = np.full((2, 1, *SHAPE), 0.5, np.float16)


def shades() -> Gray:
    found = np.zeros(SHAPE, np.uint8)
    found[10:20], found[20:30] = 60, 120
    return found


def red() -> Gray:
    found = np.zeros((*SHAPE, 3), np.uint8)
    found[40:50, 40:50, 0] = 255
    return found


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def cut_npy(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros(SHAPE))
    cut(path.with_suffix(".npy"), 9)


def cut_npz(path: Path) -> None:
    npz(path, HALF)
    cut(path.with_suffix(".npz"), 99)


def npy(path: Path, array: Any) -> None:
    np.save(path.with_suffix(".npy"), array, allow_pickle=True)


def npz(path: Path, array: Any, name: str = "probabilities") -> None:
    np.savez(path.with_suffix(".npz"), **{name: array})


def renamed(path: Path, ending: str, other: str) -> None:
    (npy if ending == ".npy" else npz)(path, np.zeros(SHAPE))
    path.with_suffix(ending).rename(path.with_suffix(other))


def huge(path: Path) -> None:
    """A header that promises 4 TB."""
    npy(path, np.zeros(SHAPE))
    content = path.with_suffix(".npy").read_bytes()
    huger = content.replace(b"(128, 160), }       ", b"(999999, 999999), }", 1)
    path.with_suffix(".npy").write_bytes(huger.replace(b"\n", b" \n", 1))


def both(path: Path) -> None:
    npy(path, np.zeros(SHAPE))
    npz(path, HALF)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "shades": (
        lambda path: save(path, shades()),
        "is no mask: it has the values 0, 60, 120",
    ),
    "tall": (
        lambda path: save(path, np.zeros((129, 160), np.uint8)),
        "is 160 × 129 pixels, its image is 160 × 128",
    ),
    "colour": (lambda path: save(path, red()), "is coloured or transparent"),
    "see-through": (
        lambda path: save(path, np.dstack([red(), red()[..., 0]])),
        "is coloured or transparent",
    ),
    "image": (
        lambda path: save(path, make_phantom(1, size=SHAPE)[0]),
        "is no mask: it has the values",
    ),
    "negative": (
        lambda path: save(path.with_suffix(".tif"), np.full(SHAPE, -1, np.int32)),
        "is no mask: it has the values -1",
    ),
    "above 1": (lambda path: npy(path, np.full(SHAPE, 255.0)), "outside 0..1"),
    "nan": (lambda path: npy(path, np.full(SHAPE, np.nan)), "outside 0..1"),
    "volume": (
        lambda path: npy(path, np.zeros((1, *SHAPE))),
        r"array of shape \(1, 128, 160\)",
    ),
    "words": (lambda path: npy(path, np.full(SHAPE, "a")), "holds no numbers"),
    "pickle": (lambda path: npy(path, np.array([{}], object)), "cannot be read"),
    "cut npy": (cut_npy, "cannot be read"),
    "cut npz": (cut_npz, "cannot be read"),
    "npy tall": (
        lambda path: npy(path, np.zeros((129, 160))),
        "is 160 × 129 pixels, its image is 160 × 128",
    ),
    "softmax": (lambda path: npz(path, HALF, "softmax"), "no array probabilities"),
    "logits": (lambda path: npz(path, HALF * 7 - 4), "do not add up to 1"),
    "regions": (lambda path: npz(path, HALF * 1.5), "do not add up to 1"),
    "3d": (lambda path: npz(path, np.repeat(HALF, 3, axis=1)), "array of shape"),
    "both": (both, "has .+ and .+ for"),
    "renamed npy": (
        lambda path: renamed(path, ".npy", ".npz"),
        "holds an array, unlike its name",
    ),
    "renamed npz": (
        lambda path: renamed(path, ".npz", ".npy"),
        "holds an archive of arrays, unlike its name",
    ),
    "huge": (huge, "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_prediction_is_refused_by_name(
    data: Path, masks: Path, kind: str
) -> None:
    write, message = BAD[kind]
    names = [*truths(data)]
    for name in names[1:]:
        save(masks / f"{name}.png", np.zeros(SHAPE, np.uint8))
    write(masks / f"{names[0]}.png")
    with pytest.raises(InputError, match=message) as caught:
        evaluate_command(str(masks), data, out=masks.parent / "out")
    assert names[0] in str(caught.value)
    assert not (masks.parent / "out" / "metrics.json").exists()


def test_a_folder_without_predictions_is_told_what_to_hold(masks: Path) -> None:
    (masks / "plans.json").write_text("{}")
    with pytest.raises(InputError, match="no weights of a run, and no predicted masks"):
        load_predictor(str(masks))


def test_names_with_dots_of_dicom_frames_are_told_apart(
    data: Path, masks: Path
) -> None:
    """Such names have no ending: 1.2.3 and 1.2.4 are not both called 1.2."""
    cases = [
        replace(case, name=f"1.2.{number}")
        for number, case in enumerate(load_cases(data))
    ]
    for case in cases:
        save(masks / f"{case.name}.png", case.read_mask())
    images = [case.read_image() for case in cases]
    found = predict(load_predictor(str(masks)), cases, images)
    for case, mask in zip(cases, found, strict=True):
        np.testing.assert_array_equal(mask, case.read_mask())
