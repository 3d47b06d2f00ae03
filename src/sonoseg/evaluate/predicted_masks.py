"""Predictions that another program has written: a folder with a mask, or a map of probabilities, for each image."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import decode_samples
from sonoseg.core.paths import IMAGE_SUFFIXES
from sonoseg.data.case import Case
from sonoseg.data.scan import entries, images_in, mask_stem, name_key
from sonoseg.errors import InputError, counted

MAPS = (".npz", ".npy")
_NNUNET = "probabilities"
_TOLERANCE = 0.01  # nnU-Net writes 16-bit numbers
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
        masks_read: images so far that have masks, and no probabilities.

    Raises:
        InputError: the folder cannot be listed, or holds no file that could be a prediction.
    """

    threshold = 0.5
    min_lesion_fraction = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.masks_read = 0
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
            InputError: an image has none, or more than one map, or two images have one name without ending.
        """
        owners: dict[str, str] = {}
        missing = []
        for case in cases:
            key = _key(case)
            if key in owners:
                problem = f"cannot tell {owners[key]} from {case.name}"
                raise InputError(self.folder, problem, "give the images other names")
            owners[key] = case.name
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
            raise InputError(self.folder, problem, f"name each {_NAMES}")

    def describe(self) -> list[str]:
        """A line for the terminal if masks were read: they have no probabilities."""
        if not self.masks_read:
            return []
        images = counted(self.masks_read, "image")
        return [
            f"{images} with masks: AUC, calibration and curves take them for probabilities of 0 and 1"
        ]

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
        return union


def _key(case: Case) -> str:
    """What the names of predictions are compared with: a DICOM file's name may have dots and no ending."""
    path = Path(case.name)
    has_ending = path.suffix.lower() in {*IMAGE_SUFFIXES, ".dcm"}
    return name_key(path.stem if has_ending else path.name)


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
    is_whole = values.dtype.kind in "bui"
    top = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1
    if set(found) <= {0, top} or (is_whole and 0 <= found[0] <= found[-1] <= _LABELS):
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
            array = found[_NNUNET] if is_nnunet else found
    except KeyError as error:
        raise InputError(path, f"has no array {_NNUNET}", hint) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(path, "cannot be read as arrays of NumPy", hint) from error
    if array.dtype.kind not in "fbui":
        raise InputError(path, f"holds no numbers but {array.dtype}", hint)
    if is_nnunet:
        return _lesion_of_classes(path, array.astype(np.float32))
    if array.ndim != 2 or not array.size:
        raise InputError(path, f"holds an array of shape {array.shape}", hint)
    if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
        raise InputError(path, "holds numbers outside 0..1", hint)
    return np.asarray(array, np.float32)


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
