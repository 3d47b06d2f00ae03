"""Measures the heat maps of a network image by image and layer by layer (see `faithfulness` for each measure)."""

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

CURVES, RANDOM = ("deletion", "insertion"), "random"
SAMPLE = 4  # images that random networks take their batch statistics from
DRAWS = 3  # of random weights, which the images take in turn: no answer hangs on one draw's luck


@dataclass(frozen=True)
class ScoredMap:
    """What was measured of the heat map of one image at one layer.

    Attributes:
        case: the image.
        layer: the layer.
        measures: by name, see `measure_cases`; None where it is undefined.
        curves: `deletion`, `insertion`, `deletion_random` and `insertion_random`, each (STEPS + 1,) in 0..1; empty
            where no lesion is predicted.
    """

    case: Case
    layer: str
    measures: dict[str, float | None]
    curves: dict[str, NDArray[np.float64]]


def measure_cases(
    predictor: RunPredictor,
    cases: Sequence[Case],
    layers: Sequence[str],
    progress: bool = True,
    out: Path | None = None,
) -> list[ScoredMap]:
    """Measures the maps of every image at every layer, on the grid of the network.

    - Of images with a lesion: `share` of the heat in it, `pointing` (see `faithfulness.pointing`), `iou` and
      `border_distance` (pixels of the grid) of the hottest pixels and the mask, as many; `..._flat`, what a flat map
      gets; `..._gain`, the difference.
    - Of images in which a lesion is predicted: `deletion` and `insertion`, the areas under the curves of the mean
      probability over the pixels that are predicted on the whole image, while pixels are blurred or brought back in the
      order of their heat; `..._random`, in a random order; `..._gain`, how much better (deletion smaller, insertion
      larger) the order of heat is.
    - Of all: `similarity_LEVEL`, the rank correlation with the map of the network of which LEVEL is random (see
      `randomise.randomised_copies`), undefined for a flat map; and `empty`, 1 for a map that is zero everywhere.

    Args:
        predictor: of a run.
        cases: at least one.
        layers: at least one name that `gradcam.grad_cam` knows.
        progress: show a progress bar on stderr.
        out: made, and checked to be writable, before the work starts.

    Raises:
        InputError: before any work starts: no images, an unknown layer, an image or mask that cannot be read, or no
            place to write to; or a map with values that are not finite, of a network that has failed.
    """
    if not cases:
        raise InputError(
            "explain", "there are no images in this subset", "choose another --split or --subset"
        )
    for layer in layers:
        check_layer(predictor.model, layer)
    for case in cases:
        case.check_size(predictor.size[0], predictor.name)
    truths = [resize_mask(case.read_mask(), predictor.size) for case in cases]
    if out is not None:
        output_folder(out)
    sample = predictor.tensor([case.read_image() for case in cases[:: -(-len(cases) // SAMPLE)]])
    draws = [
        randomised_copies(predictor.model, sample, seed) for seed in range(min(DRAWS, len(cases)))
    ]
    bar = track(
        zip(cases, truths, strict=True), "scoring", len(cases), "image", progress, leave=True
    )
    return [
        scored
        for number, (case, truth) in enumerate(bar)
        for scored in _score(predictor, draws[number % len(draws)], case, truth, layers)
    ]


def _score(
    predictor: RunPredictor,
    copies: dict[str, SegmentationNetwork],
    case: Case,
    truth: NDArray[np.bool_],
    layers: Sequence[str],
) -> Iterator[ScoredMap]:
    """The maps of one image, a layer after the other; `truth` is on the grid."""
    image = predictor.tensor([case.read_image()])
    heats = grad_cams(predictor.model, image, layers)
    if not all(np.isfinite(heat).all() for heat in heats.values()):
        fault = f"gives numbers that are not finite for {case.name}"
        raise InputError(predictor.name, fault, "train it again or use another model")
    others = {level: grad_cams(model, image, layers) for level, model in copies.items()}
    ties = faithfulness.random_order(truth.shape, zlib.crc32(case.name.encode()))
    orders = {layer: faithfulness.heat_order(heat, ties) for layer, heat in heats.items()}
    curves = _curves(predictor, image, {RANDOM: ties, **orders})
    for layer, heat in heats.items():
        measures: dict[str, float | None] = {"empty": float(not heat.any())}
        measures |= _against_mask(heat, orders[layer], truth) if truth.any() else {}
        own = {name: curves[layer][name] for name in CURVES} if curves else {}
        own |= {f"{name}_{RANDOM}": curves[RANDOM][name] for name in CURVES} if curves else {}
        measures |= _areas(own) if own else {}
        similar = faithfulness.rank_correlations(heat, [maps[layer] for maps in others.values()])
        measures |= {
            f"similarity_{level}": value for level, value in zip(others, similar, strict=True)
        }
        yield ScoredMap(case, layer, measures, own)


def _against_mask(
    heat: NDArray[np.float32], order: NDArray[np.int64], truth: NDArray[np.bool_]
) -> dict[str, float]:
    """The measures of an image with a lesion, all (H, W)."""
    share, area = faithfulness.heat_share(heat, truth), float(truth.mean())
    hit, near = faithfulness.pointing(heat, truth)
    iou, distance = faithfulness.border_agreement(order, truth)
    measures = {"share": share, "share_flat": area, "share_gain": share - area}
    measures |= {"pointing": hit, "pointing_flat": near, "pointing_gain": hit - near}
    return measures | {"iou": iou, "border_distance": distance}


def _areas(curves: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """The areas under the curves, and how much better than random they are."""
    areas = {name: faithfulness.area_under(curve) for name, curve in curves.items()}
    areas["deletion_gain"] = areas["deletion_random"] - areas["deletion"]
    areas["insertion_gain"] = areas["insertion"] - areas["insertion_random"]
    return areas


def _curves(
    predictor: RunPredictor, image: torch.Tensor, orders: dict[str, NDArray[np.int64]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Order → curve's name → (STEPS + 1,); nothing where no lesion is predicted, since no answer is there to lose."""
    sharp = image[0, 0].cpu().numpy()
    blurred = faithfulness.blur(sharp)
    whole = _probability(predictor, sharp[None])
    predicted = whole[0] >= predictor.threshold
    if not predicted.any():
        return {}

    def answers(images: NDArray[np.float32]) -> NDArray[np.float64]:
        return (
            _probability(predictor, images)[:, predicted].mean(1).cpu().numpy().astype(np.float64)
        )

    first, last = float(whole[0][predicted].mean()), float(answers(blurred[None])[0])
    return {
        name: {
            "deletion": np.array(
                [first, *answers(faithfulness.exchanged(sharp, blurred, order)), last]
            ),
            "insertion": np.array(
                [last, *answers(faithfulness.exchanged(blurred, sharp, order)), first]
            ),
        }
        for name, order in orders.items()
    }


def _probability(predictor: RunPredictor, images: NDArray[np.float32]) -> torch.Tensor:
    """(N, H, W) in 0..1, N at most 16 → lesion probability (N, H, W)."""
    return predictor.answer(torch.from_numpy(images)[:, None].to(predictor.device))
