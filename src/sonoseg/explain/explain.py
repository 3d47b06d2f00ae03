"""`sonoseg explain`: draws original, ground truth, prediction and Grad-CAM of each image side by side."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import count
from sonoseg.core.metrics import image_scores
from sonoseg.core.paths import list_images
from sonoseg.core.resize import resize_probability
from sonoseg.data.case import Case
from sonoseg.data.load import scan_pictures
from sonoseg.data.scan import images_in, mask_stem, name_key
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.predictors import predicted_mask
from sonoseg.explain.gradcam import DEFAULT_LAYER, check_layer, run_with_grad_cams
from sonoseg.explain.score import score_command
from sonoseg.files import atomic_path, is_folder, output_folder
from sonoseg.progress import track
from sonoseg.report.explanation_figures import explanation_panels
from sonoseg.train.run_folder import find_run

_logger = logging.getLogger(__name__)


def explain_command(
    model: Path,
    images: Sequence[Path] = (),
    *,
    layer: str | None = None,
    out: Path = Path("explained"),
    score: bool = False,
    data: Path | None = None,
    split: str = "all",
    subset: str = "test",
) -> tuple[str, int]:
    """Draws pictures of the images, or with `score` measures the heat maps on a data set.

    Returns:
        Text for the terminal, and the exit code (see `explain_files`).

    Raises:
        InputError: as `explain_files` and `score_command`, or the arguments contradict each other.
    """
    if score:
        _require_run(model)
        return score_command(model, images, layer, out, data, split, subset), 0
    if data is not None:
        raise InputError("--data", "is for --score", "add --score, or leave --data out")
    if not images:
        hint = "name some images, or use --score with --data DIR"
        raise InputError("explain", "there is nothing to explain", hint)
    return explain_files(model, images, out, layer or DEFAULT_LAYER)


def explain_files(
    model: Path | str,
    images: Sequence[Path | str],
    out: Path | str,
    layer: str = DEFAULT_LAYER,
) -> tuple[str, int]:
    """Writes `STEM_explained.png` into `out` for every image: four panels with a colour scale.

    An image that cannot be explained is logged. The others are still done.

    Args:
        model: a run folder, or "default" for the bundled model. A bundle file cannot be used, because it has the
            gradients of one layer only.
        images: files and folders (see `sonoseg.core.paths.list_images`).
        out: the folder to write to.
        layer: see `gradcam.grad_cam`.

    Returns:
        Text for the terminal, and the exit code: 0, 1 if an image could not be explained, or 2 if none could.

    Raises:
        InputError: before any work starts: `model` is not a run folder, the layer or an image does not exist, two
            images have the same name, or `out` cannot be written to.
    """
    _require_run(model)
    predictor = RunPredictor(Path(model))
    check_layer(predictor.model, layer)
    paths = list_images(images)
    folder = output_folder(out)
    failed = 0
    cases_in = functools.cache(cases_of)
    for path in track(paths, "explaining", len(paths), "image", leave=True):
        try:
            known = find_case(path, cases_in)
            case = known or Case(path.name, path, (), "unknown", path.name)
            explain_case(predictor, case, folder / f"{path.stem}_explained.png", layer)
        except InputError as error:
            failed += 1
            _logger.warning("sonoseg: %s", error)
    done = f"{len(paths) - failed} of {len(paths)} images explained"
    text = f"{folder}: {done}, layer {layer}"
    if failed == len(paths):
        return text, 2
    return text, 1 if failed else 0


def cases_of(folder: Path) -> list[Case]:
    """Returns the cases of a data set of pictures; none if the folder is no such data set, or a damaged one."""
    try:
        found = scan_pictures(folder)
    except InputError:
        return []
    return found.cases if found else []


def find_case(
    image: Path, cases_in: Callable[[Path], list[Case]] = cases_of
) -> Case | None:
    """Returns the image with its ground truth, if it is part of a known data set or has masks beside it.

    Args:
        image: an image file, in BUSI's, BUS-BRA's or a plain images/ folder, or with NAME_mask.png,
            NAME_mask_1.png, … beside it.
        cases_in: returns the cases of a data set; it may remember them.

    Returns:
        None if the truth is not known. A normal image without a mask is known to have no lesion.
    """
    image = image.absolute()
    for case in cases_in(image.parent.parent):
        if case.image.absolute() == image and case.has_truth:
            return case
    stem = name_key(image.stem)
    neighbours = images_in(image.parent)
    masks = tuple(
        path for path in neighbours if name_key(mask_stem(path) or "") == stem
    )
    if not masks:
        return None
    return Case(image.name, image, masks, "unknown", image.name)


def _require_run(model: Path | str) -> None:
    if not is_folder(find_run(model)):
        hint = "give default, or a folder that sonoseg train made"
        raise InputError(
            model, "is not a run, and Grad-CAM needs the gradients of a run", hint
        )


def explain_case(predictor: RunPredictor, case: Case, target: Path, layer: str) -> None:
    """Draws four panels of `case` to `target`. Without masks and label its truth is unknown.

    Raises:
        InputError: the image or a mask cannot be read, or `target` cannot be written to.
    """
    image = case.read_image()
    truth = case.read_mask() if case.has_truth else None
    # One forward pass for both: the heat map explains the very prediction that is shown.
    logits, heats = run_with_grad_cams(
        predictor.model, predictor.tensor([image]), [layer]
    )
    (own_map,) = predictor.to_probability(logits).cpu().numpy()
    prediction = predicted_mask(predictor, resize_probability(own_map, image.shape))
    heat = resize_probability(heats[layer], image.shape)
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
    """The Dice of a prediction as a caption; "" if there is no lesion or the truth is unknown."""
    if truth is None or not truth.any():
        return ""
    scores = image_scores(count(prediction, truth), "lesion")
    return f"Dice {scores['dice'][0]:.2f}"
