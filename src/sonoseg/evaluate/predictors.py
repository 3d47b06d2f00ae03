"""What can be evaluated: a run folder, a bundle, a shipped name, or one of two constant answers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import drop_small
from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there

CONSTANTS = {"all-foreground": 1.0, "all-background": 0.0}


class Predictor(Protocol):
    """Something that answers an image with probabilities, and the rule that makes a mask of them.

    Attributes:
        name: as it stands in tables and pictures.
        threshold: the probability from which a pixel is called lesion.
        min_lesion_fraction: connected parts smaller than this share of the image are dropped; 0 drops none.
    """

    @property
    def name(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def min_lesion_fraction(self) -> float: ...

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Images (H, W) of any sizes → as many maps (h, w) in 0..1 over the whole image, on its own grid."""


class ConstantPredictor:
    """Answers every pixel of every image with one probability: the floor that a network must beat."""

    threshold = 0.5
    min_lesion_fraction = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [np.full(image.shape, CONSTANTS[self.name], dtype=np.float32) for image in images]


class BundlePredictor:
    """A bundle, its threshold and smallest lesion as its card says: what the reader would draw."""

    def __init__(self, path: Path) -> None:
        from sonoseg.reader.segmenter import load

        self._segmenter = load(path)
        card = self._segmenter.card
        self.name = card.name
        self.threshold = card.threshold
        self.min_lesion_fraction = card.min_lesion_fraction
        self.size = card.size

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return list(self._segmenter.probability(images))


def load_predictor(model: str) -> Predictor:
    """The predictor that a user names.

    Args:
        model: a run folder, a bundle file (.onnx), a shipped name such as `default`, `all-foreground` or
            `all-background`.

    Raises:
        InputError: no such model, or it cannot be used.
    """
    from sonoseg.reader.bundle import find_bundle

    if model in CONSTANTS:
        return ConstantPredictor(model)
    if is_folder(model):
        from sonoseg.deploy.run_predictor import RunPredictor

        return RunPredictor(Path(model))
    try:
        return BundlePredictor(find_bundle(model))
    except InputError as error:
        if is_there(model):
            raise
        choices = f"a run folder, a bundle (.onnx), default, {' or '.join(CONSTANTS)}"
        raise InputError(model, "no such model", f"give {choices}") from error


def predicted_mask(predictor: Predictor, probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The mask (H, W) that the predictor's rule makes of a map (H, W)."""
    return mask_by_rule(probability, predictor.threshold, predictor.min_lesion_fraction)


def mask_by_rule(
    probability: NDArray[np.float32], threshold: float, min_lesion_fraction: float
) -> NDArray[np.bool_]:
    """Pixels (H, W) of at least `threshold`, without connected parts under `min_lesion_fraction` of the image."""
    mask: NDArray[np.bool_] = probability >= threshold
    return drop_small(mask, min_lesion_fraction * mask.size)
