"""`sonoseg explain --score`: are the heat maps true? Means over images, a table, and a picture of the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.data.case import Case
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.splits import split_cases
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.explain import faithfulness
from sonoseg.explain.gradcam import check_layer
from sonoseg.explain.randomise import ALL, DECODER
from sonoseg.explain.scored_maps import CURVES, DRAWS, RANDOM, ScoredMap, measure_cases
from sonoseg.explain.verdict import QUESTIONS, claim_rows
from sonoseg.files import atomic_files, atomic_path, write_json, write_text
from sonoseg.report.explanation_figures import faithfulness_figure
from sonoseg.report.tables import Cell, csv_number, csv_text, text_table

if TYPE_CHECKING:
    from sonoseg.cli import Explain

MEASURES = (
    *(
        "share",
        "share_flat",
        "share_gain",
        "pointing",
        "pointing_flat",
        "pointing_gain",
        "iou",
        "border_distance",
    ),
    *(
        "deletion",
        "deletion_random",
        "deletion_gain",
        "insertion",
        "insertion_random",
        "insertion_gain",
        "empty",
    ),
)
"""What faithfulness.json always has of each layer; the similarities follow."""
_COLUMNS = {
    "heat in lesion": "share",
    "(flat)": "share_flat",
    "pointing": "pointing",
    "(chance)": "pointing_flat",
    "IoU": "iou",
    "border, px": "border_distance",
    "deletion": "deletion",
    "(random)": "deletion_random",
    "insertion": "insertion",
    "(random) ": "insertion_random",
    "ρ decoder": f"similarity_{DECODER}",
    "ρ all": f"similarity_{ALL}",
    "empty": "empty",
}


def score_command(options: Explain) -> int:
    """`sonoseg explain --score`: checks the input, measures, writes, prints; returns the exit code, 0."""
    if options.images:
        raise InputError("--score", "takes its images from --data", "leave the names of images out")
    if options.data is None:
        raise InputError("--score", "needs images whose lesions are known", "add --data DIR")
    predictor = RunPredictor(options.model)
    layers = [options.layer] if options.layer else list(predictor.model.explain_layers())
    check_layer(predictor.model, layers[0])
    cases = split_cases(load_cases(options.data), options.split)[options.subset]
    about = {
        "data": data_name(options.data),
        "split": Path(options.split).name,
        "subset": options.subset,
    }
    maps = measure_cases(predictor, cases, layers, out=options.out)
    result = {"about": about, **summarise(predictor, maps)}
    write_scores(options.out, maps, result)
    print(
        f"{predictor.name} on {options.split}/{options.subset}, {result['images']} images\n\n{describe(result)}\n"
    )
    print(f"{options.out}: faithfulness.json, faithfulness.csv, faithfulness.png")
    return 0


def score_explanations(
    predictor: RunPredictor,
    cases: Sequence[Case],
    layers: Sequence[str] | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures how true the Grad-CAM maps of a network are: `measure_cases`, then `summarise`.

    Args:
        predictor: of a run.
        cases: at least one.
        layers: names of layers; by default all of `explain_layers()`.
        limit: at most so many images, spread evenly over `cases`.
        progress: show a progress bar on stderr.

    Raises:
        InputError: as `measure_cases`.
    """
    if limit is not None and len(cases) > limit:
        cases = [
            cases[place] for place in np.linspace(0, len(cases) - 1, limit).round().astype(int)
        ]
    names = layers or list(predictor.model.explain_layers())
    return summarise(predictor, measure_cases(predictor, cases, names, progress))


def summarise(predictor: RunPredictor, maps: Sequence[ScoredMap]) -> dict[str, Any]:
    """Means over images with their 95 % intervals, as in faithfulness.json.

    Args:
        predictor: whose maps they are.
        maps: of the same images at each layer; at least one.

    Returns:
        `model`, its name; `grid` [H, W]; `images`, how many; `settings`, what the measures depend on; `layers`: by
        layer and measure `mean`, `interval` [low, high] (groups drawn whole) and `n`, the images for which it is
        defined (mean and interval None where there are none); `curves`: by layer, and under `random` for a random
        order, the mean `deletion` and `insertion` curve (STEPS + 1 values; empty if no image has one).
    """
    layers = list(dict.fromkeys(scored.layer for scored in maps))
    by_layer = {layer: [scored for scored in maps if scored.layer == layer] for layer in layers}
    names = list(dict.fromkeys([*MEASURES, *(name for scored in maps for name in scored.measures)]))
    first = by_layer[layers[0]]
    curves = {RANDOM: {name: _mean_curve(first, f"{name}_{RANDOM}") for name in CURVES}}
    curves |= {
        layer: {name: _mean_curve(some, name) for name in CURVES}
        for layer, some in by_layer.items()
    }
    return {
        "model": predictor.name,
        "grid": list(predictor.size),
        "images": len(first),
        "settings": {
            "steps": faithfulness.STEPS,
            "pointing_tolerance": faithfulness.TOLERANCE,
            "random_order_block": faithfulness.BLOCK,
            "blur_deviation": faithfulness.BLUR,
            "random_weights_draws": DRAWS,
        },
        "layers": {
            layer: {name: _mean(some, name) for name in names} for layer, some in by_layer.items()
        },
        "curves": curves,
    }


def _mean(maps: Sequence[ScoredMap], name: str) -> dict[str, Any]:
    """Mean, interval and number of the images for which the measure `name` is defined."""
    found = [
        (value, scored.case.group)
        for scored in maps
        if (value := scored.measures.get(name)) is not None
    ]
    if not found:
        return {"mean": None, "interval": None, "n": 0}
    values = np.array([value for value, _ in found])
    interval = bootstrap_interval(values, [group for _, group in found])
    return {"mean": float(values.mean()), "interval": list(interval), "n": len(found)}


def _mean_curve(maps: Sequence[ScoredMap], name: str) -> list[float]:
    curves = [scored.curves[name] for scored in maps if scored.curves]
    return [float(value) for value in np.mean(curves, axis=0)] if curves else []


def write_scores(folder: Path, maps: Sequence[ScoredMap], result: dict[str, Any]) -> None:
    """Writes faithfulness.json, .csv (a row an image and layer, empty where undefined) and .png into `folder`."""
    measures = list(next(iter(result["layers"].values())))
    rows = [
        [scored.case.name, scored.case.label, scored.case.group, scored.layer]
        + [csv_number(scored.measures.get(name)) for name in measures]
        for scored in maps
    ]
    curves = dict(result["curves"])
    with atomic_files():
        write_text(
            folder / "faithfulness.csv",
            csv_text(["file", "label", "group", "layer", *measures], rows),
        )
        with atomic_path(folder / "faithfulness.png") as temporary:
            faithfulness_figure(
                curves, curves.pop(RANDOM), temporary, title=f"{result['model']}, Grad-CAM"
            )
        write_json(folder / "faithfulness.json", result)


def describe(result: dict[str, Any]) -> str:
    """The means of `summarise` as a table for the terminal, and below it whether the claim holds."""
    rows: list[list[Cell]] = [
        [layer, *(measures.get(key, {}).get("mean") for key in _COLUMNS.values())]
        for layer, measures in result["layers"].items()
    ]
    table = text_table(["layer", *(name.strip() for name in _COLUMNS)], rows)
    answers = text_table(["layer", *QUESTIONS], [row[1:] for row in claim_rows([result])])
    first = next(iter(result["layers"].values()))
    counts = f"{first['share']['n']} images with a lesion, {first['deletion']['n']} in which one is predicted"
    return f"{table}\n\n{counts}; ρ: with the map of random weights\n\n{answers}"
