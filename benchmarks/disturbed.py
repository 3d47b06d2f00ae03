"""How much does a network lose on images that another machine might have made of the same patients?

    python benchmarks/disturbed.py BUSI paper-clean default another.onnx runs/mine
    python benchmarks/disturbed.py BUSBRA results/busbra-fold5.csv default

Mean Dice on the validation images with a lesion, of every model named (a bundle, a run folder, default), as they are
and as `sonoseg.train.augment` disturbs them at random: moved and stretched, with other gain, gamma, speckle,
sharpness, shadows, burnt-in marks and gray boxes. Every model gets the same disturbed images, three of each. A network
that was trained with these very disturbances has seen their like, which one trained without has not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import lesion_dice, report

from sonoseg.core.resize import resize_probability
from sonoseg.evaluate.predictors import Predictor, load_predictor, predicted_mask
from sonoseg.train.augment import augment_ultrasound
from sonoseg.train.dataset import InMemory, Pairs
from sonoseg.train.gather import gather
from sonoseg.train.losses import SMALLEST_LESION

SIDE, DRAWS = 256, 3


def disturbed(images: Pairs) -> Pairs:
    """A random draw of each image, (N, 1, H, W) uint8 as the images are; N is smaller where a lesion has gone."""
    changed, masks = augment_ultrasound(
        images.inputs.float() / 255, images.masks.float()
    )
    left = masks.sum((1, 2, 3)) > SMALLEST_LESION
    return Pairs(
        (255 * changed[left]).round().to(torch.uint8), masks[left].to(torch.uint8)
    )


def score(predictor: Predictor, images: Pairs) -> float:
    """Mean Dice over the images."""
    drawn = (
        predicted_mask(
            predictor,
            resize_probability(predictor.probability([image])[0], image.shape),
        )
        for image in images.inputs[:, 0].numpy()
    )
    return lesion_dice(drawn, images.masks[:, 0].numpy() > 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    predictors = {model: load_predictor(model) for model in options.models}
    _, cases = gather(options.data, options.split, [])
    images = InMemory(cases, SIDE)
    there = images.masks.amax((1, 2, 3)) > 0
    images = Pairs(images.inputs[there], images.masks[there])
    torch.manual_seed(0)
    draws = [disturbed(images) for _ in range(DRAWS)]
    rows = []
    for model, predictor in predictors.items():
        plain = score(predictor, images)
        worse = float(np.mean([score(predictor, draw) for draw in draws]))
        rows.append(
            {
                "model": Path(model).name,
                "as they are": round(plain, 4),
                "disturbed": round(worse, 4),
            }
        )
    report(
        f"disturbed-{options.data.name}",
        {"images": len(images), "size": SIDE, "draws": DRAWS},
        rows,
    )


if __name__ == "__main__":
    main()
