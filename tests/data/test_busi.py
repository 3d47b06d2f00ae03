"""BUSI's layout and the facts the package holds of its files."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sonoseg.data import load_cases, split_cases
from sonoseg.data.busi import busi_files, busi_images, find_busi, is_labelled, known
from sonoseg.data.check import check_folder
from sonoseg.data.copies import connected
from sonoseg.data.load import scan
from sonoseg.data.scan import Scan
from sonoseg.errors import InputError


def _kinds(found: Scan) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.files) for finding in found.findings]


def test_table_holds_1578_files_780_of_them_images() -> None:
    files = busi_files()
    assert len(files) == len({file.path for file in files}) == 1578
    assert all(len(file.sha256) == 64 for file in files)
    assert [file.path for file in files] == sorted(file.path for file in files)
    assert Counter(file.path.split("/")[0] for file in busi_images().values()) == {
        "benign": 437,
        "malignant": 210,
        "normal": 133,
    }
    assert all("_mask" not in name for name in busi_images())


def test_table_has_the_published_copies_and_the_suspects_in_one_group() -> None:
    images = busi_images()
    sizes = Counter(file.group for file in images.values())
    assert (len(sizes), sum(size > 1 for size in sizes.values())) == (585, 153)
    assert images["benign (433).png"].group == images["malignant (145).png"].group
    assert images["benign (435).png"].group == images["benign (433).png"].group
    assert (
        len({images[f"malignant ({number}).png"].group for number in range(3, 10)}) == 1
    )


def test_every_near_copy_pair_of_the_real_images_is_within_a_group(busi_copies) -> None:
    cases, pairs = busi_copies
    assert len(pairs) == 211  # 212 on the files in full size
    assert all(cases[a].group == cases[b].group for a, b in pairs)
    assert sum(len(group) > 1 for group in connected(len(cases), pairs)) == 126


def test_all_780_cases_load_with_their_masks(real_data: Path) -> None:
    cases = load_cases(real_data / "busi")
    assert [case.name for case in cases] == list(busi_images())
    assert Counter(case.label for case in cases) == {
        "benign": 437,
        "malignant": 210,
        "normal": 133,
    }
    assert sum(len(case.masks) for case in cases) == 798
    assert sum(len(case.masks) > 1 for case in cases) == 17
    for case in cases:
        image, mask = case.read()
        assert image.shape == mask.shape
        assert mask.any() == (case.label != "normal"), case.name


def test_published_masks_of_every_mode_merge(real_data: Path) -> None:
    cases = load_cases(real_data / "busi_original_sample")
    assert len(cases) == 13
    modes = Counter(Image.open(path).mode for case in cases for path in case.masks)
    assert set(modes) == {"1", "RGB", "RGBA"}
    for case in cases:
        expected = np.zeros(case.read_image().shape, bool)
        for path in case.masks:
            pixels = np.asarray(Image.open(path).convert("RGBA"))[..., :3]
            expected |= pixels.any(axis=-1)
        np.testing.assert_array_equal(case.read_mask(), expected)
        assert expected.any() == (case.label != "normal")
    assert {case.name: len(case.masks) for case in cases}["benign (195).png"] == 3


def test_published_folder_is_found_one_level_down(
    tmp_path: Path, write, write_mask
) -> None:
    write("Dataset_BUSI_with_GT/benign/benign (1).png")
    write_mask("Dataset_BUSI_with_GT/benign/benign (1)_mask.png")
    (case,) = load_cases(tmp_path)
    assert (case.name, case.label, case.group) == (
        "benign (1).png",
        "benign",
        "benign (1).png",
    )
    assert find_busi(tmp_path) == tmp_path / "Dataset_BUSI_with_GT"
    assert find_busi(tmp_path / "elsewhere") is None


def test_order_is_that_of_the_paths_as_strings(
    tmp_path: Path, write, write_mask
) -> None:
    for name in ("benign (10)", "benign (2)", "benign (1)"):
        write(f"benign/{name}.png")
        write_mask(f"benign/{name}_mask.png")
    write("normal/a.png")
    names = [case.name for case in load_cases(tmp_path)]
    assert names == ["benign (1).png", "benign (10).png", "benign (2).png", "a.png"]


def test_image_that_is_not_busis_is_its_own_group(
    tmp_path: Path, write, write_mask
) -> None:
    write("malignant/new.png")
    write_mask("malignant/new_mask.png")
    assert load_cases(tmp_path)[0].group == "new.png"


def _own_data(write, write_mask) -> None:
    """Noise in BUSI's layout and under its names."""
    names = list(busi_images())
    for name in names[:20] + names[437:457]:  # of benign and of malignant
        folder = name.split(" ")[0]
        write(f"{folder}/{name}")
        write_mask(f"{folder}/{name.removesuffix('.png')}_mask.png")


def test_own_images_with_names_of_busi_are_own_data(
    tmp_path: Path, write, write_mask, caplog: pytest.LogCaptureFixture
) -> None:
    _own_data(write, write_mask)
    cases = load_cases(tmp_path)
    assert [case.group for case in cases] == [case.name for case in cases]
    assert all(is_labelled(case) for case in cases)
    assert (
        f"{tmp_path}: 40 images named as in BUSI do not look like" in caplog.messages[0]
    )
    with pytest.raises(InputError, match="these images are not from BUSI"):
        split_cases(cases, "paper")
    for fold in range(5):
        test = split_cases(cases, f"grouped-{fold}")["test"]
        assert Counter(case.label for case in test) == {"benign": 4, "malignant": 4}


def test_one_image_of_busi_does_not_make_busi_of_own_ones(
    tmp_path: Path, write, write_mask, real_data: Path
) -> None:
    _own_data(write, write_mask)
    shutil.copy(real_data / "busi/benign/benign (1).png", tmp_path / "benign")
    cases = load_cases(tmp_path)
    assert [case for case in cases if known(case)] == []


def _letterboxed(image: Image.Image) -> Image.Image:
    side = max(image.size)
    square = Image.new("L", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _cropped(image: Image.Image) -> Image.Image:
    x, y = image.width // 20, image.height // 20
    return image.crop((x, y, image.width - x, image.height - y))


PREPARED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "letterboxed": _letterboxed,
    "equalised": ImageOps.equalize,
    "cropped": _cropped,
    "brightened": lambda image: image.point(lambda value: 255 * (value / 255) ** 0.5),
}


@pytest.mark.parametrize("kind", PREPARED)
def test_busi_is_known_after_it_was_prepared_for_a_network(
    tmp_path: Path, real_data: Path, kind: str
) -> None:
    images = list(busi_images().values())[::17]
    for file in images:
        path = tmp_path / file.path
        path.parent.mkdir(exist_ok=True)
        image = PREPARED[kind](Image.open(real_data / "busi" / file.path).convert("L"))
        image.save(path)
        Image.new("L", image.size).save(path.with_name(f"{path.stem}_mask.png"))
    groups = {case.name: case.group for case in load_cases(tmp_path)}
    assert groups == {file.name: file.group for file in images}


@pytest.mark.parametrize("layout", ["BUSI", "plain"])
def test_busi_is_known_however_its_images_are_saved(
    tmp_path: Path, real_data: Path, layout: str
) -> None:
    save = {
        "full.png": lambda image, path: image.save(path),
        "small.png": lambda image, path: image.resize((128, 128)).save(path),
        "wide.bmp": lambda image, path: image.resize((256, 256)).save(path),
        "photo.jpg": lambda image, path: image.convert("RGB").save(path, quality=50),
    }
    images = list(busi_images().values())[::97]
    for kind, write in save.items():
        root = tmp_path / kind
        for file in images:
            image = Image.open(real_data / "busi" / file.path)
            path = root / (file.path if layout == "BUSI" else f"images/{file.name}")
            path = path.with_suffix(Path(kind).suffix)
            mask = path.with_name(f"{path.stem}_mask.png")
            if layout == "plain":
                mask = root / "masks" / f"{path.stem}.png"
            for place in (path, mask):
                place.parent.mkdir(parents=True, exist_ok=True)
            write(image, path)
            Image.new("L", image.size).save(mask)
        groups = {Path(case.name).stem: case.group for case in load_cases(root)}
        assert groups == {Path(file.name).stem: file.group for file in images}


def test_lesion_image_without_mask_is_refused_and_a_normal_one_is_not(
    tmp_path: Path, write
) -> None:
    write("normal/n.png")
    assert not load_cases(tmp_path)[0].read_mask().any()
    for number in (1, 2, 3):
        write(f"benign/b{number}.png")
    with pytest.raises(
        InputError,
        match=r"benign/b1\.png: there is no mask for it, and 2 more such; add",
    ):
        load_cases(tmp_path)


def test_second_masks_of_any_case_are_united_and_are_no_normal_images(
    tmp_path: Path, write, write_mask
) -> None:
    write("normal/n.png")
    write_mask("normal/n_Mask.png", lesion=False)
    write("Benign/b.png")
    write_mask("Benign/b_mask.png")
    second = np.zeros((24, 32), np.uint8)
    second[20:22, 20:30] = 255
    write("Benign/B_MASK2.PNG", second)
    benign, normal = load_cases(tmp_path)
    assert [(case.name, case.label) for case in (benign, normal)] == [
        ("b.png", "benign"),
        ("n.png", "normal"),
    ]
    assert (benign.read_mask().sum(), normal.read_mask().sum()) == (55, 0)


@pytest.mark.parametrize(
    "name",
    [
        *("n_gt", "n_Seg", "n-segmentation", "n_annotation_1", "n_Mask_final"),
        *("n_mask (1)", "n_mask - Copy", "n-mask copy", "n_mask - Kopie"),
    ],
)
def test_mask_of_another_name_is_no_normal_image(
    tmp_path: Path, write, write_mask, name: str
) -> None:
    write("normal/n.png")
    write_mask(f"normal/{name}.png")
    with pytest.raises(
        InputError,
        match=re.escape(f"normal/{name}.png: is named like a mask; end its name in _"),
    ):
        load_cases(tmp_path)


def test_a_normal_image_may_have_the_word_mask_in_its_name(
    tmp_path: Path, write
) -> None:
    for name in ("n", "mask", "nose_mask (1)", "n2_mask - Copy"):
        write(f"normal/{name}.png")
    assert len(load_cases(tmp_path)) == 4


def test_two_class_folders_of_one_name_are_refused(tmp_path: Path, write) -> None:
    write("normal/a.png")
    write("Normal/b.png")
    with pytest.raises(
        InputError, match="there is also the folder normal; put both into one"
    ):
        load_cases(tmp_path)


def test_one_name_in_two_class_folders_is_refused(tmp_path: Path, write) -> None:
    write("normal/a.png")
    write("benign/a.png")
    with pytest.raises(
        InputError, match=r"benign/a\.png: has the same name as normal/a\.png"
    ):
        load_cases(tmp_path)


def test_orphan_masks_stop_loading_and_hidden_files_do_not(
    tmp_path: Path, write, write_mask
) -> None:
    write("benign/b.png")
    write_mask("benign/b_mask.png")
    (tmp_path / "benign" / "._b.png").write_bytes(b"x")
    (tmp_path / "benign" / "notes.txt").write_text("x")
    assert [case.name for case in load_cases(tmp_path)] == ["b.png"]
    write_mask("benign/gone_mask_1.png")
    with pytest.raises(
        InputError, match=r"benign/gone_mask_1\.png: there is no image for it; rename"
    ):
        load_cases(tmp_path)
    assert ("mask without image", ("benign/gone_mask_1.png",)) in _kinds(scan(tmp_path))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_class_without_images_is_reported(
    tmp_path: Path, write, write_mask, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    for label in ("Benign", "normal"):
        write(f"{label}/{label}.png")
        write_mask(f"{label}/{label}_mask.png", lesion=label != "normal")
    if is_there:
        write_mask("malignant/.hidden_mask.png")
    report = check_folder(tmp_path)
    problem = "is missing or empty, so there are no malignant images"
    assert [(one.kind, *one.files, one.message) for one in report.findings] == [
        ("class without images", "malignant", problem)
    ]
    assert len(load_cases(tmp_path)) == 2
    assert caplog.messages == [
        f"{tmp_path / 'malignant'}: {problem}; see sonoseg data check"
    ]
