"""`sonoseg explain`: four panels for each image, original, ground truth, prediction and Grad-CAM."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sonoseg.data.case import Case
from sonoseg.data.load import scan
from sonoseg.errors import InputError
from sonoseg.evaluation.counts import count
from sonoseg.evaluation.metrics import image_scores
from sonoseg.evaluation.predictors import predicted_mask, resize_probability
from sonoseg.evaluation.run_predictor import RunPredictor
from sonoseg.explain.gradcam import DEFAULT_LAYER, check_layer, grad_cam
from sonoseg.files import atomic_path, output_folder
from sonoseg.reader.paths import list_images
from sonoseg.report.figures import explanation_panels


def explain_files(model: Path | str, images: Sequence[Path | str], out: Path | str, layer: str = DEFAULT_LAYER) -> int:
    """Writes `STEM_explained.png` into `out` for every image: four panels with a colour scale.

    An image that cannot be explained is reported on stderr; the rest are done.

    Args:
        model: a run folder; a bundle holds no gradients.
        images: files and folders (see `reader.paths.list_images`).
        out: the folder to write to.
        layer: see `gradcam.grad_cam`.

    Returns:
        The exit code: 0, or 1 if an image could not be explained.

    Raises:
        InputError: before any work starts: `model` is not a run folder, there is no such layer or image, two
            images share a name, or `out` cannot be written to.
    """
    if not Path(model).is_dir():
        raise InputError(model, "Grad-CAM needs the gradients of a run", "give a folder that sonoseg train made")
    predictor = RunPredictor(Path(model))
    check_layer(predictor.model, layer)
    paths = list_images(images)
    folder = output_folder(out)
    failed = 0
    for path in tqdm(paths, "explaining", unit="image"):
        try:
            _explain(predictor, path, folder / f"{path.stem}_explained.png", layer)
        except InputError as error:
            failed += 1
            tqdm.write(f"sonoseg: {error}", file=sys.stderr)
    print(f"{folder}: {len(paths) - failed} of {len(paths)} images explained, layer {layer}")
    return 1 if failed else 0


def find_case(image: Path) -> Case | None:
    """The image with its ground truth, if it lies in a data set whose layout is known or has masks beside it.

    Args:
        image: an image file, in BUSI's, BUS-BRA's or a plain images/ folder, or with NAME_mask.png,
            NAME_mask_1.png, … beside it.

    Returns:
        None where the truth is not known. A normal image without a mask is known to hold nothing.
    """
    image = image.absolute()
    try:
        cases = scan(image.parent.parent).cases
    except InputError:  # no data set whose layout is known
        cases = []
    for case in cases:
        if case.image.absolute() == image and (case.masks or case.label == "normal"):
            return case
    name = re.compile(re.escape(image.stem) + r"_mask(_\d+)?\.\w+")
    masks = tuple(path for path in sorted(image.parent.iterdir()) if name.fullmatch(path.name))
    return Case(image.name, image, masks, "unknown", image.name) if masks else None


def _explain(predictor: RunPredictor, path: Path, target: Path, layer: str) -> None:
    case = find_case(path)
    known = case or Case(path.name, path, (), "unknown", path.name)
    image = known.read_image()
    truth = known.read_mask() if case else None
    (own,) = predictor.probability([image])
    prediction = predicted_mask(predictor, resize_probability(own, image.shape))
    heat = resize_probability(grad_cam(predictor.model, predictor.tensor([image]), layer), image.shape)
    with atomic_path(target) as temporary:
        explanation_panels(
            temporary,
            image,
            truth,
            prediction,
            heat,
            layer=layer,
            title=f"{path.name} · {predictor.name}",
            note=_dice(prediction, truth),
        )


def _dice(prediction: NDArray[np.bool_], truth: NDArray[np.bool_] | None) -> str:
    """The Dice of a prediction as a caption; none where it says nothing."""
    if truth is None or not truth.any():
        return ""
    return f"Dice {image_scores(count(prediction, truth), 'lesion')['dice'][0]:.2f}"
