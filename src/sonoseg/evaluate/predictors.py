"""What can be evaluated: a run folder, a bundle, predicted masks, or one of two constant predictors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import drop_small
from sonoseg.core.resize import resize_mask, resize_probability
from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.evaluate.predicted_masks import NO_NETWORK, Map, PredictedMasks
from sonoseg.files import is_folder, is_there

CONSTANTS = {"all-foreground": 1.0, "all-background": 0.0}
_CONFIG = "config.json"  # of a run folder, whose module needs PyTorch


class Network(Protocol):
    """Something that returns probabilities for an image, with the rule that turns them into a mask.

    Attributes:
        name: its name in tables and pictures.
        threshold: the probability from which a pixel is called lesion.
        min_lesion_fraction: connected parts smaller than this share of the image are dropped; 0 keeps all parts.
    """

    @property
    def name(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def min_lesion_fraction(self) -> float: ...

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Returns one map (h, w) in 0..1 per image (H, W). A map covers the whole image, on a grid of its own."""


Predictor = Network | PredictedMasks


class ConstantPredictor:
    """Returns the same probability for every pixel: a baseline that a network must beat."""

    threshold = 0.5
    min_lesion_fraction = 0.0
    weights = NO_NETWORK

    def __init__(self, name: str) -> None:
        self.name = name

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [
            np.full(image.shape, CONSTANTS[self.name], dtype=np.float32)
            for image in images
        ]


class BundlePredictor:
    """A bundle with the threshold and the smallest lesion of its card, as the reader uses it.

    Attributes:
        weights, temperature: of its card, which tell its network from others.
    """

    def __init__(self, path: Path) -> None:
        from sonoseg.reader.segmenter import load

        self.segmenter = load(path)
        card = self.segmenter.card
        self.name = card.name
        self.threshold = card.threshold
        self.min_lesion_fraction = card.min_lesion_fraction
        self.size = card.size
        self.weights = card.weights
        self.temperature = card.temperature

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return list(self.segmenter.probability(images))


def load_predictor(model: str) -> Predictor:
    """Returns the predictor that a user names.

    Args:
        model: a run folder, a folder of predicted masks (see `PredictedMasks`), a bundle file (.onnx), the name of a
            bundled model such as `default`, `all-foreground` or `all-background`.

    Raises:
        InputError: there is no such model, or it cannot be used.
    """
    from sonoseg.reader.bundle import find_bundle, shipped_bundles

    if model in CONSTANTS:
        return ConstantPredictor(model)
    if is_folder(model) and model not in shipped_bundles():  # ./default is the folder
        if not is_there(Path(model) / _CONFIG):
            return PredictedMasks(Path(model))
        from sonoseg.deploy.run_predictor import RunPredictor

        return RunPredictor(Path(model))
    try:
        return BundlePredictor(find_bundle(model))
    except InputError as error:
        if is_there(model):
            raise
        bundled = ", ".join(shipped_bundles())
        choices = f"a run folder, one of masks, a bundle (.onnx), {bundled}, {' or '.join(CONSTANTS)}"
        raise InputError(model, "no such model", f"give {choices}") from error


def predict(
    predictor: Predictor, cases: Sequence[Case], images: list[NDArray[np.uint8]]
) -> Sequence[Map]:
    """Returns one map (h, w) in 0..1 per image, or mask (H, W) bool where only that is known.

    Args:
        predictor: see `load_predictor`.
        cases: of the images.
        images: (H, W) gray, in the order of `cases`.

    Raises:
        InputError: as `PredictedMasks.read`.
    """
    if not isinstance(predictor, PredictedMasks):
        return predictor.probability(images)
    return [
        predictor.read(case, case.full_shape(image.shape))
        for case, image in zip(cases, images, strict=True)
    ]


def on_grid(
    model: str, case: str, found: Map, size: tuple[int, ...]
) -> NDArray[np.float32]:
    """A prediction on a grid of `size` (H, W): a map is scaled as the reader does, a mask as reference masks are.

    Args:
        model, case: their names, for the message.
        found: see `predict`.
        size: of the grid, in pixels.

    Raises:
        InputError: it is no map of probabilities.
    """
    height, width = size
    if found.dtype == np.bool_:
        return resize_mask(found > 0, (height, width)).astype(np.float32)
    probability = found.astype(np.float32)
    is_map = probability.ndim == 2 and probability.size > 0
    # False for NaN too.
    if not (is_map and probability.min() >= 0 and probability.max() <= 1):
        reason = f"NaN, outside 0..1, or of shape {probability.shape}"
        problem = f"does not return one probability per pixel ({reason}) for {case}"
        raise InputError(model, problem, "train it again or use another model")
    return resize_probability(probability, (height, width))


def predicted_mask(
    predictor: Predictor, probability: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Returns the mask (H, W) that the predictor's rule makes of a map (H, W) in 0..1."""
    return mask_by_rule(probability, predictor.threshold, predictor.min_lesion_fraction)


def mask_by_rule(
    probability: NDArray[np.float32], threshold: float, min_lesion_fraction: float
) -> NDArray[np.bool_]:
    """Returns the mask (H, W) of pixels of at least `threshold`, without small connected parts.

    A part is small if it covers less than `min_lesion_fraction` of the image.
    """
    mask: NDArray[np.bool_] = probability >= threshold
    return drop_small(mask, min_lesion_fraction * mask.size)
