"""The near-copy test against scikit-learn and numpy's own correlation."""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image
from scipy.fft import dctn

from sonoseg.data import copies
from sonoseg.data.copies import (
    SAME_LOOK,
    connected,
    fingerprint,
    near_copies,
    thumbnail,
)


def _images(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    coarse = rng.integers(0, 256, (count, 9, 11), np.uint8)
    return [
        np.asarray(Image.fromarray(one).resize((200, 150), Image.Resampling.BICUBIC))
        for one in coarse
    ]


def test_dot_product_of_thumbnails_is_the_correlation_of_area_means() -> None:
    a, b = (
        np.random.default_rng(seed).integers(0, 256, (128, 192), np.uint8)
        for seed in (1, 2)
    )
    b = (b // 2 + a // 2).astype(np.uint8)
    means = [x.reshape(64, 2, 64, 3).mean(axis=(1, 3)).ravel() for x in (a, b)]
    expected = np.corrcoef(*means)[0, 1]
    assert (
        abs(float(thumbnail(a) @ thumbnail(b)) - expected) < 2e-3
    )  # Pillow rounds to whole grays


def test_near_copies_survive_brightness_size_and_noise_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    images = _images(rng, 6)
    darker = (images[1] * 0.6 + 10).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(images[2]).resize((90, 70)))
    noisy = np.clip(images[2] + rng.normal(0, 8, images[2].shape), 0, 255).astype(
        np.uint8
    )
    pairs = near_copies(
        [thumbnail(image) for image in [*images, darker, smaller, noisy]]
    )
    assert pairs == [(1, 6), (2, 7), (2, 8), (7, 8)]


def test_blocks_find_the_same_pairs_as_one_matrix(monkeypatch) -> None:
    images = _images(np.random.default_rng(1), 7)
    thumbnails = [thumbnail(image) for image in images + images[::-1]]
    whole = near_copies(thumbnails)
    monkeypatch.setattr(copies, "_ROWS", 3)
    assert sorted(near_copies(thumbnails)) == sorted(whole)
    assert len(whole) == 7


def test_flat_and_no_images_have_no_near_copies() -> None:
    flat = thumbnail(np.full((20, 20), 200, np.uint8))
    assert not flat.any()
    assert near_copies([flat, flat]) == []
    assert near_copies([]) == []


def test_connected_joins_chains_and_keeps_singles() -> None:
    assert connected(7, [(5, 1), (1, 3), (6, 4)]) == [[0], [1, 3, 5], [2], [4, 6]]
    assert connected(0, []) == []


def test_fingerprints_are_those_of_the_transform_of_scipy_and_survive_resizing() -> (
    None
):
    rng = np.random.default_rng(0)
    looks = []
    for _ in range(20):
        small = rng.integers(0, 256, (12, 16), np.uint8)
        image = np.asarray(Image.fromarray(small).resize((320, 256)))
        means = image.reshape(32, 8, 32, 10).mean(axis=(1, 3))
        signs = dctn(means)[1:9, 1:9].ravel() > 0
        look = fingerprint(image)
        bits = [bit == "1" for bit in f"{look:064b}"]
        # The area means are rounded to whole gray values.
        assert np.count_nonzero(bits != signs) <= 1
        resized = np.asarray(Image.fromarray(image).resize((100, 90)))
        assert (fingerprint(resized) ^ look).bit_count() <= SAME_LOOK
        looks.append(look)
    for one, other in itertools.combinations(looks, 2):
        assert (one ^ other).bit_count() > SAME_LOOK
