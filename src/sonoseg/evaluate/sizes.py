"""The sizes of outlines and reference masks: measured on a case, as text for the terminal, and for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.limits import percent_of_mean
from sonoseg.core.resize import resize_probability
from sonoseg.core.sizes import Sizes, measure_sizes
from sonoseg.data.case import Case
from sonoseg.errors import counted
from sonoseg.evaluate.predicted_masks import Map
from sonoseg.evaluate.predictors import Predictor, predicted_mask
from sonoseg.evaluate.surface import pixel_size
from sonoseg.report.evaluation_figures import SizePanel
from sonoseg.report.tables import interval_text


def case_sizes(
    predictor: Predictor,
    case: Case,
    truth: NDArray[np.bool_],
    own_map: Map,
) -> Sizes:
    """Measures one lesion at the size of its image.

    Args:
        predictor: whose rule makes a mask of the map.
        case: the image.
        truth: its reference mask, (H, W).
        own_map: what the predictor returned of it, (h, w) in 0..1, or (H, W) bool.
    """
    height, width = truth.shape
    probability = resize_probability(own_map.astype(np.float32), (height, width))
    prediction = predicted_mask(predictor, probability)
    full = case.full_shape(truth.shape)
    pixel = pixel_size(case, full, truth.shape)
    stretch = full[0] / height, full[1] / width  # of a pack; 1 for files
    return measure_sizes(prediction, truth, pixel or stretch, pixel is not None)


def size_panels(sizes: Sequence[Sizes], table: dict[str, Any]) -> list[SizePanel]:
    """The two diameters for `sizes_figure`: in mm, of the images where that is known; else in percent, of all images.

    Args:
        sizes: of N images.
        table: their `sizes_summary`.
    """
    in_mm = bool(table["images_metric"])
    found = [
        (one.reference, one.outline)
        for one in sizes
        if one.reference and one.outline and one.is_metric == in_mm
    ]
    panels = []
    for name in ("longest_diameter", "perpendicular_diameter"):
        reference = np.array([getattr(one, name) for one, _ in found])
        outline = np.array([getattr(one, name) for _, one in found])
        difference = (
            outline - reference if in_mm else percent_of_mean(reference, outline)
        )
        panels.append(
            SizePanel(
                title=name.replace("_", " "),
                mean=(reference + outline) / 2,
                difference=difference,
                unit="mm" if in_mm else "pixels",
                difference_unit="mm" if in_mm else "%",
                limits=table[name]["absolute" if in_mm else "percent"],
                left_out=table["images"] - len(found),
            )
        )
    return panels


def describe_sizes(table: dict[str, Any]) -> list[str]:
    """Returns `sizes_summary` as lines for the terminal: the longest diameter."""
    missed = f"nothing outlined of {table['missed']}"
    if not table["images"]:
        return [f"longest diameter: no lesion is outlined; {missed}"]
    diameter = table["longest_diameter"]
    images = counted(table["images"], "image")
    lines = [
        f"longest diameter over {images}: {_words(diameter['percent'], ' %', '.1f')}; {missed}"
    ]
    absolute = diameter["absolute"]
    if absolute:
        icc = "–" if absolute["icc"] is None else f"{absolute['icc']:.3f}"
        icc_interval = interval_text(absolute["icc_interval"])
        words = _words(absolute, f" {absolute['unit']}", ".2f")
        images = counted(table["images_metric"], "image")
        lines.append(
            f"longest diameter over {images}: {words}; ICC {icc} ({icc_interval})"
        )
    return lines


def _words(table: dict[str, Any], unit: str, digits: str) -> str:
    """Bias, its interval and the limits of agreement."""
    bias = f"bias {table['bias']:+{digits}}{unit}"
    interval = interval_text(table["bias_interval"], digits)
    if table["limits"] is None:
        return f"{bias} ({interval})"
    low, high = table["limits"]
    return f"{bias} ({interval}), limits of agreement {low:{digits}} and {high:{digits}}{unit}"
