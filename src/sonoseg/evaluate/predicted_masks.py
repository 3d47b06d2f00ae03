"""Predictions that another program has written: a folder with a mask, or a map of probabilities, for each image."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import decode_samples
from sonoseg.core.mask import border_share
from sonoseg.core.paths import stem_of
from sonoseg.data.case import Case
from sonoseg.data.scan import entries, images_in, mask_stem, name_key
from sonoseg.errors import InputError, counted

NO_NETWORK = "none"
"""In place of the sha256 of its weights: what was predicted by no network that is known."""
MAPS = (".npz", ".npy")
_NNUNET = "probabilities"
_TOLERANCE = 0.01  # nnU-Net writes 16-bit numbers
_ROUNDING = 1e-3  # sums of probabilities may be a little over 1
_LABELS = 9  # the largest label of a class; what is brighter is a shade
_NAMES = "NAME.png or NAME_mask.png, or probabilities as NAME.npy or nnU-Net's NAME.npz"
Map = NDArray[np.float32] | NDArray[np.bool_]
"""Of one image: probabilities (h, w) in 0..1, or a mask (H, W)."""


class PredictedMasks:
    """A folder of predictions, each of the size of its image.

    The files of an image NAME.* are masks, NAME.*, NAME_mask.*, NAME_mask_1.*, … (their union counts), or, before
    them, a map of probabilities: NAME.npy, an array (H, W) of numbers in 0..1, or NAME.npz as nnU-Net 2 writes it with
    `--save_probabilities`: `probabilities` (classes, 1, H, W), the background first. Files of other images are not
    looked at.

    Attributes:
        name: that of the folder.
        threshold: 0.5, for maps of probabilities.
        min_lesion_fraction: 0: no part is dropped.
        weights: `NO_NETWORK`.
        masks_read: images so far that have masks, and no probabilities.
        inverted: images so far of which one of the masks may have black and white exchanged.

    Raises:
        InputError: the folder cannot be listed, or holds no file that could be a prediction.
    """

    threshold = 0.5
    min_lesion_fraction = 0.0
    weights = NO_NETWORK

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.masks_read = self.inverted = 0
        self._masks: dict[str, list[Path]] = {}
        self._maps: dict[str, list[Path]] = {}
        for path in images_in(folder):
            for stem in {path.stem, mask_stem(path) or path.stem}:
                self._masks.setdefault(name_key(stem), []).append(path)
        for path in entries(folder):
            if path.suffix.lower() in MAPS:
                self._maps.setdefault(name_key(path.stem), []).append(path)
        if not self._masks and not self._maps:
            problem = "has no weights of a run, and no predicted masks"
            raise InputError(
                folder, problem, f"give a run folder, or masks named {_NAMES}"
            )

    def check(self, cases: Sequence[Case]) -> None:
        """Checks that there is a prediction for each image, without reading it.

        Raises:
            InputError: an image has none, or more than one map, or see `check_names`.
        """
        self.check_names(cases)
        missing = []
        for case in cases:
            key = _key(case)
            maps = self._maps.get(key, [])
            if len(maps) > 1:
                names = " and ".join(path.name for path in maps)
                raise InputError(
                    self.folder, f"has {names} for {case.name}", "keep one of them"
                )
            if not maps and key not in self._masks:
                missing.append(case.name)
        if missing:
            problem = f"has no mask for {len(missing)} of {counted(len(cases), 'image')}, first {missing[0]}"
            raise InputError(self.folder, problem, f"in it, name each {_NAMES}")

    def check_names(self, cases: Sequence[Case]) -> None:
        """Checks that each file can be of one image only.

        Args:
            cases: all of the data set: the prediction for a.png may be named as that for another image, a_mask.png.

        Raises:
            InputError: two images have one name without ending, or a file can be of two of them.
        """
        owners: dict[str, str] = {}
        for case in cases:
            key = _key(case)
            if key in owners:
                problem = f"cannot tell {owners[key]} from {case.name}"
                raise InputError(self.folder, problem, "give the images other names")
            owners[key] = case.name
        for key, name in owners.items():
            for path in self._masks.get(key, []):
                own = name_key(path.stem)
                if own != key and own in owners:
                    problem = f"may be of {name} or of {owners[own]}"
                    raise InputError(path, problem, "give the images other names")

    def describe(self) -> list[str]:
        """Lines for the terminal: that masks have no probabilities, and that most may be inverted."""
        lines = []
        images = counted(self.masks_read, "image")
        if self.masks_read:
            lines.append(
                f"{images} with masks: AUC, calibration and curves take them for probabilities of 0 and 1"
            )
        if 2 * self.inverted > self.masks_read:
            lines.append(
                f"{self.inverted} of them have lesion on most of the border: are black and white exchanged?"
            )
        return lines

    def read(self, case: Case, shape: tuple[int, ...]) -> Map:
        """The prediction for an image: (H, W) bool of masks, or float32 in 0..1.

        Args:
            case: the image.
            shape: its height and width.

        Raises:
            InputError: a file cannot be read, is no mask or map of probabilities, or has another size than the image.
        """
        key = _key(case)
        if key in self._maps:
            path = self._maps[key][0]
            found: Map = _read_map(path)
            _check_size(path, found.shape, shape)
            return found
        self.masks_read += 1
        union = np.zeros(shape, np.bool_)
        for path in self._masks[key]:
            mask = _read_mask(path)
            _check_size(path, mask.shape, shape)
            union |= mask
        self.inverted += border_share(union) > 0.5 and not union.all()
        return union


def _key(case: Case) -> str:
    """What the names of predictions are compared with."""
    return name_key(stem_of(Path(case.name)))


def _check_size(path: Path, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if found != shape[:2]:
        problem = (
            f"is {found[1]} × {found[0]} pixels, its image is {shape[1]} × {shape[0]}"
        )
        raise InputError(path, problem, "save predictions with the size of the image")


def _read_mask(path: Path) -> NDArray[np.bool_]:
    """The pixels (H, W) that are called lesion: of 0 and the largest value, or of labels from 0.

    It is stricter than the reading of reference masks, which finds a cut between shades: what a network has called
    lesion is known. And it takes what no reference mask is, such as an image full of lesion.
    """
    samples = decode_samples(path)
    values = samples.colour if samples.indices is None else samples.indices
    hint = "save 0 and 255, or labels from 0; save probabilities as .npy"
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    is_clear = samples.alpha is None or (samples.alpha == samples.alpha.max()).all()
    if values.ndim == 3 or not is_clear:
        raise InputError(path, "is coloured or transparent", hint)
    if samples.top is not None:
        values = values // (255 // samples.top)
    found = np.unique(values)
    top = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1
    are_labels = found.max() <= _LABELS and (found == found.astype(np.int64)).all()
    is_mask = set(found) <= {0, top} or set(found) <= {0, 255} or are_labels
    if found.min() >= 0 and is_mask:
        return np.asarray(values > 0)
    shown = ", ".join(f"{value:g}" for value in found[:4].tolist())
    more = ", …" if len(found) > 4 else ""
    raise InputError(path, f"is no mask: it has the values {shown}{more}", hint)


def _read_map(path: Path) -> NDArray[np.float32]:
    """The probability that each pixel (H, W) is lesion."""
    hint = "save an array (height, width) of probabilities in 0..1"
    is_nnunet = path.suffix.lower() == ".npz"
    try:
        with path.open("rb") as file:
            found: Any = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray) == is_nnunet:
                kind = "an array" if is_nnunet else "an archive of arrays"
                raise InputError(path, f"holds {kind}, unlike its name", hint)
            array = found[_NNUNET] if is_nnunet else found
    except KeyError as error:
        raise InputError(path, f"has no array {_NNUNET}", hint) from error
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(path, "cannot be read as arrays of NumPy", hint) from error
    if array.dtype.kind not in "fbui":
        raise InputError(path, f"holds no numbers but {array.dtype}", hint)
    if is_nnunet:
        return _lesion_of_classes(path, array.astype(np.float32))
    if array.ndim != 2 or not array.size:
        raise InputError(path, f"holds an array of shape {array.shape}", hint)
    low, high = array.min(), array.max()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # false for NaN too
        problem = f"holds numbers outside 0..1, from {low:g} to {high:g}"
        raise InputError(path, problem, hint)
    probability: NDArray[np.float32] = np.clip(np.asarray(array, np.float32), 0, 1)
    return probability


def _lesion_of_classes(path: Path, classes: NDArray[np.float32]) -> NDArray[np.float32]:
    """One minus the probability of the background, of nnU-Net's (classes, 1, H, W)."""
    hint = "let nnU-Net write it for two-dimensional images, with the background first"
    if classes.ndim != 4 or classes.shape[0] < 2 or classes.shape[1] != 1:
        raise InputError(path, f"holds an array of shape {classes.shape}", hint)
    total = classes.sum(axis=0)
    if not (classes.min() >= 0 and np.all(np.abs(total - 1) <= _TOLERANCE)):
        problem = "the probabilities of its classes do not add up to 1"
        raise InputError(path, problem, hint)
    lesion: NDArray[np.float32] = np.clip(1 - classes[0, 0], 0, 1)
    return lesion
