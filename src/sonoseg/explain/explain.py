"""`sonoseg explain`: four panels for each image, original, ground truth, prediction and Grad-CAM; or measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import count
from sonoseg.core.metrics import image_scores
from sonoseg.core.paths import list_images
from sonoseg.core.resize import resize_probability
from sonoseg.data.case import Case
from sonoseg.data.load import scan
from sonoseg.data.scan import list_images as list_pictures
from sonoseg.data.scan import mask_stem, name_key
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.predictors import predicted_mask
from sonoseg.explain.gradcam import DEFAULT_LAYER, check_layer, grad_cam
from sonoseg.explain.score import score_command
from sonoseg.files import atomic_path, is_folder, output_folder
from sonoseg.progress import note, track
from sonoseg.report.explanation_figures import explanation_panels
from sonoseg.train.run_folder import find_run

if TYPE_CHECKING:
    from sonoseg.cli import Explain


def explain_command(options: Explain) -> int:
    """`sonoseg explain`: pictures of the images that are named, or with --score measures; returns the exit code.

    Raises:
        InputError: as `explain_files` and `score.measure_cases`, or the options do not go together.
    """
    if options.score:
        _require_run(options.model)
        return score_command(options)
    if options.data is not None:
        raise InputError("--data", "is for --score", "add --score, or leave --data out")
    if not options.images:
        raise InputError(
            "explain",
            "there is nothing to explain",
            "name some images, or use --score with --data DIR",
        )
    return explain_files(options.model, options.images, options.out, options.layer or DEFAULT_LAYER)


def explain_files(
    model: Path | str, images: Sequence[Path | str], out: Path | str, layer: str = DEFAULT_LAYER
) -> int:
    """Writes `STEM_explained.png` into `out` for every image: four panels with a colour scale.

    An image that cannot be explained is reported on stderr; the rest are done.

    Args:
        model: a run folder, or "default", the one inside; a bundle holds only the gradients of one layer.
        images: files and folders (see `reader.paths.list_images`).
        out: the folder to write to.
        layer: see `gradcam.grad_cam`.

    Returns:
        The exit code: 0, 1 if an image could not be explained, or 2 if none could.

    Raises:
        InputError: before any work starts: `model` is not a run folder, there is no such layer or image, two
            images share a name, or `out` cannot be written to.
    """
    _require_run(model)
    predictor = RunPredictor(Path(model))
    check_layer(predictor.model, layer)
    paths = list_images(images)
    folder = output_folder(out)
    failed = 0
    for path in track(paths, "explaining", len(paths), "image", leave=True):
        try:
            case = find_case(path) or Case(path.name, path, (), "unknown", path.name)
            explain_case(predictor, case, folder / f"{path.stem}_explained.png", layer)
        except InputError as error:
            failed += 1
            note(f"sonoseg: {error}")
    print(f"{folder}: {len(paths) - failed} of {len(paths)} images explained, layer {layer}")
    if failed == len(paths):
        return 2
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
        if case.image.absolute() == image and case.has_truth:
            return case
    stem = name_key(image.stem)
    masks = tuple(
        path for path in list_pictures(image.parent) if name_key(mask_stem(path) or "") == stem
    )
    return Case(image.name, image, masks, "unknown", image.name) if masks else None


def _require_run(model: Path | str) -> None:
    if not is_folder(find_run(model)):
        mend = "give default, or a folder that sonoseg train made"
        raise InputError(model, "Grad-CAM needs the gradients of a run", mend)


def explain_case(predictor: RunPredictor, case: Case, target: Path, layer: str) -> None:
    """Draws four panels of `case` to `target`; without masks and label its truth counts as unknown.

    Raises:
        InputError: the image or a mask cannot be read, or there is no place to write to.
    """
    image = case.read_image()
    truth = case.read_mask() if case.has_truth else None
    (own,) = predictor.probability([image])
    prediction = predicted_mask(predictor, resize_probability(own, image.shape))
    heat = resize_probability(
        grad_cam(predictor.model, predictor.tensor([image]), layer), image.shape
    )
    with atomic_path(target) as temporary:
        explanation_panels(
            temporary,
            image,
            truth,
            prediction,
            heat,
            layer=layer,
            title=f"{case.name} · {predictor.name}",
            note=_dice(prediction, truth),
        )


def _dice(prediction: NDArray[np.bool_], truth: NDArray[np.bool_] | None) -> str:
    """The Dice of a prediction as a caption; none where it says nothing."""
    if truth is None or not truth.any():
        return ""
    return f"Dice {image_scores(count(prediction, truth), 'lesion')['dice'][0]:.2f}"
