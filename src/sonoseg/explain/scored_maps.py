"""Scores the heat maps of a network image by image and layer by layer (see `faithfulness` for each measure)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.explain import faithfulness
from sonoseg.explain.gradcam import check_layer, grad_cams
from sonoseg.explain.randomise import randomised_copies
from sonoseg.files import output_folder
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track

CURVES = ("deletion", "insertion")
RANDOM = "random"
SAMPLE = 4
"""Number of images for the batch statistics of random networks."""
DRAWS = 3
"""Number of draws of random weights. The images take them in turn, so that no single draw decides the result."""


@dataclass(frozen=True)
class ScoredMap:
    """The scores of the heat map of one image at one layer.

    Attributes:
        case: the image.
        layer: the layer.
        measures: name → value, see `score_maps`; None if it is undefined.
        curves: `deletion`, `insertion`, `deletion_random` and `insertion_random`, each (STEPS + 1,) in 0..1; empty
            where no lesion is predicted.
    """

    case: Case
    layer: str
    measures: dict[str, float | None]
    curves: dict[str, NDArray[np.float64]]


def score_maps(
    predictor: RunPredictor,
    cases: Sequence[Case],
    layers: Sequence[str],
    progress: bool = True,
    out: Path | None = None,
) -> list[ScoredMap]:
    """Scores the maps of every image at every layer, on the grid of the network.

    - Images with a lesion: `share` of the heat in the lesion, `pointing` (see `faithfulness.pointing`), and of as many
      hottest pixels as the mask has, `iou` with the mask and `border_distance` to it (pixels of the grid). `..._flat`
      is the value of a flat map, `..._gain` the difference.
    - Images in which a lesion is predicted: `deletion` and `insertion`, the areas under two curves. A curve is the mean
      probability over the predicted pixels while pixels are blurred (or restored) in the order of their heat.
      `..._random` is the value for a random order. `..._gain` is how much better the order of heat is: a smaller
      deletion, a larger insertion.
    - All images: `similarity_LEVEL`, the rank correlation with the map of a network of which LEVEL is random (see
      `randomise.randomised_copies`), undefined for a flat map; and `empty`, 1 for a map that is zero everywhere.

    Args:
        predictor: of a run.
        cases: at least one.
        layers: at least one name that `gradcam.grad_cam` knows.
        progress: show a progress bar on stderr.
        out: a folder that is made, and checked to be writable, before the work starts.

    Raises:
        InputError: before any work starts: there are no images, a layer is unknown, an image or mask cannot be read, or
            `out` cannot be written to. Later: a map has values that are not finite, because the network is broken.
    """
    if not cases:
        hint = "choose another --split or --subset"
        raise InputError("explain", "there are no images in this subset", hint)
    for layer in layers:
        check_layer(predictor.model, layer)
    for case in cases:
        case.check_resizable(predictor.size[0], predictor.name)
    truths = [resize_mask(case.read_mask(), predictor.size) for case in cases]
    if out is not None:
        output_folder(out)
    step = -(-len(cases) // SAMPLE)  # rounded up
    sample = predictor.tensor([case.read_image() for case in cases[::step]])
    seeds = range(min(DRAWS, len(cases)))
    draws = [randomised_copies(predictor.model, sample, seed) for seed in seeds]
    pairs = zip(cases, truths, strict=True)
    bar = track(pairs, "scoring", len(cases), "image", progress, leave=True)
    scored: list[ScoredMap] = []
    for number, (case, truth) in enumerate(bar):
        copies = draws[number % len(draws)]
        scored += _score(predictor, copies, case, truth, layers)
    return scored


def _score(
    predictor: RunPredictor,
    copies: dict[str, SegmentationNetwork],
    case: Case,
    truth: NDArray[np.bool_],
    layers: Sequence[str],
) -> Iterator[ScoredMap]:
    """The scored maps of one image, one layer after the other; `truth` is on the grid."""
    image = predictor.tensor([case.read_image()])
    heats = grad_cams(predictor.model, image, layers)
    if not all(np.isfinite(heat).all() for heat in heats.values()):
        problem = f"returns numbers that are not finite for {case.name}"
        raise InputError(predictor.name, problem, "train it again or use another model")
    random_heats = {
        level: grad_cams(copy, image, layers) for level, copy in copies.items()
    }
    ties = faithfulness.random_order(truth.shape, zlib.crc32(case.name.encode()))
    orders = {
        layer: faithfulness.heat_order(heat, ties) for layer, heat in heats.items()
    }
    curves = _curves(predictor, image, {RANDOM: ties, **orders})
    for layer, heat in heats.items():
        measures: dict[str, float | None] = {"empty": float(not heat.any())}
        if truth.any():
            measures |= _against_mask(heat, orders[layer], truth)
        own_curves: dict[str, NDArray[np.float64]] = {}
        if curves:
            for name in CURVES:
                own_curves[name] = curves[layer][name]
            for name in CURVES:
                own_curves[f"{name}_{RANDOM}"] = curves[RANDOM][name]
            measures |= _areas(own_curves)
        others = [maps[layer] for maps in random_heats.values()]
        similarities = faithfulness.rank_correlations(heat, others)
        for level, similarity in zip(random_heats, similarities, strict=True):
            measures[f"similarity_{level}"] = similarity
        yield ScoredMap(case, layer, measures, own_curves)


def _against_mask(
    heat: NDArray[np.float32], order: NDArray[np.int64], truth: NDArray[np.bool_]
) -> dict[str, float]:
    """The measures of an image with a lesion. All arrays are (H, W)."""
    share = faithfulness.heat_share(heat, truth)
    share_flat = float(truth.mean())
    pointing, pointing_flat = faithfulness.pointing(heat, truth)
    iou, distance = faithfulness.border_agreement(order, truth)
    return {
        "share": share,
        "share_flat": share_flat,
        "share_gain": share - share_flat,
        "pointing": pointing,
        "pointing_flat": pointing_flat,
        "pointing_gain": pointing - pointing_flat,
        "iou": iou,
        "border_distance": distance,
    }


def _areas(curves: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """The areas under the curves, and how much better they are than those of a random order."""
    areas = {name: faithfulness.area_under(curve) for name, curve in curves.items()}
    areas["deletion_gain"] = areas["deletion_random"] - areas["deletion"]
    areas["insertion_gain"] = areas["insertion"] - areas["insertion_random"]
    return areas


def _curves(
    predictor: RunPredictor, image: torch.Tensor, orders: dict[str, NDArray[np.int64]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Name of an order → name of a curve → (STEPS + 1,).

    It is empty if no lesion is predicted: there is no answer that exchanged pixels could change.
    """
    sharp = image[0, 0].cpu().numpy()
    blurred = faithfulness.blur(sharp)
    whole = _probability(predictor, sharp[None])
    predicted = whole[0] >= predictor.threshold
    if not predicted.any():
        return {}

    def answers(images: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, H, W) → the mean probability over the predicted pixels (N,)."""
        probability = _probability(predictor, images)[:, predicted]
        return probability.mean(1).cpu().numpy().astype(np.float64)

    of_sharp = float(whole[0][predicted].mean())
    of_blurred = float(answers(blurred[None])[0])
    curves: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, order in orders.items():
        deleted = answers(faithfulness.exchanged(sharp, blurred, order))
        inserted = answers(faithfulness.exchanged(blurred, sharp, order))
        curves[name] = {
            "deletion": np.concatenate([[of_sharp], deleted, [of_blurred]]),
            "insertion": np.concatenate([[of_blurred], inserted, [of_sharp]]),
        }
    return curves


def _probability(predictor: RunPredictor, images: NDArray[np.float32]) -> torch.Tensor:
    """Images (N, H, W) in 0..1, N at most 16 → lesion probability (N, H, W)."""
    return predictor.answer(torch.from_numpy(images)[:, None].to(predictor.device))
