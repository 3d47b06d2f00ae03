"""Synthetic breast ultrasound with known lesion masks, for demonstrations and tests without patient data.

Tissue is drawn as a map of echo strength in dB; speckle follows the usual model: random scatterers of that
strength, blurred by the beam, their envelope log-compressed (Bamber & Dickinson, Physics in Medicine and
Biology 25 (1980) 463).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.data.phantom_tissue import (
    Floats,
    Frame,
    draw_lesion,
    draw_lobules,
    draw_shadows,
    draw_tissue,
)
from sonoseg.data.scan import entries
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, is_there, output_folder, write_text

SPACING = 0.1  # mm per pixel
WITHOUT_LESION = 4  # every fourth phantom
MOST = 100_000  # images of one set
_RANGE = 58.0  # dB from black to white
_MEAN_SPECKLE = 8.0  # dB that blurring takes from the mean of the log envelope


def make_phantom(
    seed: int, lesion: bool = True, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One synthetic ultrasound image: skin, fat, gland, muscle, distractors, and a dark lesion if asked for.

    Args:
        seed: the same seed gives the same image.
        lesion: whether there is a lesion.
        size: (H, W), each at least 128; by default 320 to 460 by 400 to 560, chosen by the seed.

    Returns:
        image (H, W) uint8 gray and mask (H, W) bool, True in the lesion.

    Raises:
        InputError: `size` is too small, or the seed is below 0.
    """
    _check_seed(seed)
    rng = np.random.default_rng(seed)
    drawn = (int(rng.integers(320, 461)), int(rng.integers(400, 561)))
    height, width = size or drawn
    if min(height, width) < 128:
        raise InputError(
            "phantom",
            f"a size of {width} × {height} is too small",
            "give at least 128 × 128",
        )
    frame = Frame(
        rng,
        np.arange(height, dtype=np.float32)[:, None],
        np.arange(width, dtype=np.float32)[None, :],
    )
    echo, gland = draw_tissue(frame)
    echo += draw_lobules(frame, gland)
    mask = np.zeros(frame.shape, np.bool_)
    if lesion:
        echo, mask = draw_lesion(frame, echo, gland)
    return _speckled(frame, echo + draw_shadows(frame)), mask


def write_phantoms(
    folder: Path | str, count: int, seed: int = 0, size: tuple[int, int] | None = None
) -> None:
    """Writes `count` phantoms as a data set: images/, masks/ and labels.csv; every fourth has no lesion.

    Args:
        folder: made if need be; an earlier set of phantoms of the same names is replaced.
        count: at least 1.
        seed: phantom i is `make_phantom(seed + i)`.
        size: as for `make_phantom`.

    Raises:
        InputError: `count`, `seed` or `size` is too small, or `count` over `MOST`; the folder has other images or
            labels, or cannot be written to.
    """
    folder = Path(folder)
    if count < 1:
        raise InputError(
            "phantoms", f"{count} is not a number of images", "ask for at least 1"
        )
    if count > MOST:
        raise InputError(
            "phantoms", f"{count} images are too many", f"ask for at most {MOST}"
        )
    _check_seed(seed)
    names = [f"synthetic_{i:02d}.png" for i in range(count)]
    images, masks = output_folder(folder / "images"), output_folder(folder / "masks")
    there = {path.name for path in entries(images)}
    if there - set(names) or (is_there(folder / "labels.csv") and not there):
        raise InputError(
            folder, "already has other images or labels", "choose an empty folder"
        )
    rows = ["file,label,group,spacing"]
    for i, name in enumerate(names):
        lesion = i % WITHOUT_LESION != WITHOUT_LESION - 1
        image, mask = make_phantom(seed + i, lesion, size)
        _write_png(images / name, image)
        _write_png(masks / name, mask.astype(np.uint8) * 255)
        rows.append(f"{name},{'unknown' if lesion else 'normal'},{name},{SPACING}")
    write_text(folder / "labels.csv", "\n".join(rows) + "\n")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise InputError(
            "--seed", f"{seed} is below 0", "give 0 or a positive whole number"
        )


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)


def _speckled(frame: Frame, echo: Floats) -> NDArray[np.uint8]:
    """From echo strength to the gray picture: attenuation, speckle, log compression."""
    depth = frame.y / frame.shape[0]
    focus = frame.between(0.25, 0.55)
    echo = (
        echo
        - frame.between(10, 34) * np.maximum(depth - focus, 0) ** 1.3
        - 3 * np.abs(depth - focus)
    )
    scatter = frame.rng.standard_normal(
        (2, *frame.shape), dtype=np.float32
    ) * np.float32(10) ** (echo / 20)
    field = _blurred(
        _blurred(scatter, frame.between(0.8, 1.1), 1), frame.between(1.2, 2.0), 2
    )
    one_look = (
        20 * np.log10(np.hypot(field[0], field[1]) + np.float32(1e-6)) + _MEAN_SPECKLE
    )
    # Scanners average several looks and smooth: their speckle is less than half as strong as one look's.
    gray = 255 * (
        1
        + (_blurred(0.4 * one_look + 0.6 * echo, 0.6, 0) - frame.between(5, 12))
        / _RANGE
    )
    pixels: NDArray[np.uint8] = np.clip(gray, 0, 255).astype(np.uint8)
    return pixels


def _blurred(field: Floats, sigma: float, axis: int) -> Floats:
    """Gaussian blur along one axis; borders wrap around."""
    reach = int(np.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    total = np.zeros_like(field)
    for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
        total += np.float32(weight) * np.roll(field, offset, axis)
    return total
