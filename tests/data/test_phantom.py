"""Phantoms are deterministic, varied, and what they say they are."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from sonoseg.data import load_cases
from sonoseg.data.check import check_folder
from sonoseg.data.phantom import make_phantom, write_phantoms
from sonoseg.errors import InputError


def test_same_seed_gives_the_same_phantom_and_another_seed_another() -> None:
    first, second, other = make_phantom(3), make_phantom(3), make_phantom(4)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()


def test_phantoms_have_the_documented_types_and_sizes() -> None:
    sizes = set()
    for seed in range(6):
        image, mask = make_phantom(seed)
        assert (image.dtype, mask.dtype, image.shape) == (
            np.uint8,
            np.bool_,
            mask.shape,
        )
        assert 320 <= image.shape[0] <= 460 and 400 <= image.shape[1] <= 560
        sizes.add(image.shape)
    assert len(sizes) > 3
    assert make_phantom(0, size=(200, 300))[0].shape == (200, 300)


@pytest.mark.parametrize("seed", range(12))
def test_lesion_is_one_dark_part_inside_the_image(seed: int) -> None:
    image, mask = make_phantom(seed)
    assert label(mask).max() == 1
    assert 0.005 < mask.mean() < 0.35
    assert not (
        mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    )
    rows = mask.any(axis=1)
    assert image[mask].mean() < 0.65 * image[rows][~mask[rows]].mean()


def test_phantom_without_lesion_has_an_empty_mask() -> None:
    image, mask = make_phantom(5, lesion=False)
    assert not mask.any()
    assert image.std() > 20


def test_gray_levels_are_those_of_real_ultrasound(real_data: Path) -> None:
    real = [case.read_image() for case in load_cases(real_data / "busi")[::20]]
    synthetic = [make_phantom(seed, lesion=seed % 4 != 3)[0] for seed in range(12)]
    for statistic, tolerance in ((np.mean, 35), (np.std, 20)):
        a, b = (
            np.mean([statistic(image) for image in images])
            for images in (real, synthetic)
        )
        assert abs(a - b) < tolerance, statistic


def test_speckle_is_correlated_further_across_than_along_the_beam() -> None:
    image = make_phantom(0, lesion=False)[0].astype(float)
    fine = image[40:-40] - (image[38:-42] + image[42:-38]) / 2
    across = np.corrcoef(fine[:, :-1].ravel(), fine[:, 1:].ravel())[0, 1]
    assert 0.5 < across < 0.98


def test_phantom_takes_a_fraction_of_a_second() -> None:
    make_phantom(0)
    began = time.process_time()
    for seed in range(5):
        make_phantom(seed)
    assert (time.process_time() - began) / 5 < 0.3  # 0.08 s on an idle machine


@pytest.mark.parametrize("size", [(127, 300), (300, 10)])
def test_phantom_of_a_tiny_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="too small"):
        make_phantom(0, size=size)


def test_smallest_and_odd_phantoms_can_be_made() -> None:
    for seed, size in enumerate([(128, 128), (129, 601), (500, 131)]):
        image, mask = make_phantom(seed, size=size)
        assert image.shape == size
        assert mask.any()


def test_written_phantoms_load_as_a_data_set_without_findings(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "phantoms"
    write_phantoms(folder, 8, seed=7, size=(160, 200))
    cases = load_cases(folder)
    assert [case.name for case in cases] == [f"synthetic_{i:02d}.png" for i in range(8)]
    assert [case.label for case in cases] == (["unknown"] * 3 + ["normal"]) * 2
    assert all(case.spacing == 0.1 for case in cases)
    for i, case in enumerate(cases):
        image, mask = make_phantom(7 + i, i % 4 != 3, (160, 200))
        np.testing.assert_array_equal(case.read_image(), image)
        np.testing.assert_array_equal(case.read_mask(), mask)
    assert Image.open(folder / "masks" / "synthetic_00.png").getextrema() == (0, 255)
    assert check_folder(folder, "grouped").findings == ()
    write_phantoms(folder, 8, seed=8, size=(160, 200))
    assert len(load_cases(folder)) == 8


def test_phantoms_never_mix_with_other_images(tmp_path: Path, write) -> None:
    write("images/patient.png")
    with pytest.raises(
        InputError, match="already has other images or labels; choose an empty folder"
    ):
        write_phantoms(tmp_path, 2)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["patient.png"]
    (tmp_path / "images" / "patient.png").unlink()
    (tmp_path / "labels.csv").write_text("file\npatient.png\n")
    with pytest.raises(InputError, match="already has other images or labels"):
        write_phantoms(tmp_path, 2)
    assert (tmp_path / "labels.csv").read_text() == "file\npatient.png\n"


def test_no_phantoms_or_a_file_for_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 is not a number of images"):
        write_phantoms(tmp_path / "a", 0)
    with pytest.raises(
        InputError, match="1000000000 images are too many; ask for at most"
    ):
        write_phantoms(tmp_path / "a", 10**9)
    for make in (
        lambda: write_phantoms(tmp_path / "a", 1, seed=-1),
        lambda: make_phantom(-1),
    ):
        with pytest.raises(InputError, match="--seed: -1 is below 0; give 0 or"):
            make()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="choose another folder"):
        write_phantoms(tmp_path / "file", 1)
