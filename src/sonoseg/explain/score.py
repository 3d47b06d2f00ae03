"""`sonoseg explain --score`: how faithful the heat maps are. Means over images, a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from sonoseg.explain.scored_maps import CURVES, DRAWS, RANDOM, ScoredMap, score_maps
from sonoseg.explain.verdict import QUESTIONS, claim_rows
from sonoseg.files import atomic_files, atomic_path, write_json, write_text
from sonoseg.report.explanation_figures import faithfulness_figure
from sonoseg.report.tables import Cell, csv_number, csv_text, text_table

MEASURES = (
    "share",
    "share_flat",
    "share_gain",
    "pointing",
    "pointing_flat",
    "pointing_gain",
    "iou",
    "border_distance",
    "deletion",
    "deletion_random",
    "deletion_gain",
    "insertion",
    "insertion_random",
    "insertion_gain",
    "empty",
)
"""Measures that faithfulness.json has of each layer. The similarities follow them."""
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
"""Column of the table for the terminal → measure. Spaces at the end of a name are not shown."""


def score_command(
    model: Path,
    images: Sequence[Path],
    layer: str | None,
    out: Path,
    data: Path | None,
    split: str,
    subset: str,
) -> str:
    """Scores the heat maps of a run on a data set, writes the scores, and returns them as text for the terminal.

    Args:
        model: the run folder.
        images: must be empty.
        layer: the only layer to score; None scores all.
        out: the folder to write to.
        data: folder of the data set, or a pack.
        split: name of a split, or a CSV file.
        subset: train, validation or test.

    Raises:
        InputError: as `score_maps`, or `images` are given, or `data` is missing.
    """
    if images:
        raise InputError(
            "--score", "takes its images from --data", "leave the names of images out"
        )
    if data is None:
        raise InputError(
            "--score", "needs images with reference masks", "add --data DIR"
        )
    predictor = RunPredictor(model)
    layers = [layer] if layer else list(predictor.model.explain_layers())
    check_layer(predictor.model, layers[0])
    cases = split_cases(load_cases(data), split)[subset]
    about = {"data": data_name(data), "split": Path(split).name, "subset": subset}
    maps = score_maps(predictor, cases, layers, out=out)
    result = {"about": about, **summarise(predictor, maps)}
    write_scores(out, maps, result)
    title = f"{predictor.name} on {split}/{subset}, {result['images']} images"
    files = f"{out}: faithfulness.json, faithfulness.csv, faithfulness.png"
    return f"{title}\n\n{describe(result)}\n\n{files}"


def score_explanations(
    predictor: RunPredictor,
    cases: Sequence[Case],
    layers: Sequence[str] | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores how faithful the Grad-CAM maps of a network are: `score_maps`, then `summarise`.

    Args:
        predictor: of a run.
        cases: at least one.
        layers: names of layers; by default all of `explain_layers()`.
        limit: at most so many images, spread evenly over `cases`.
        progress: show a progress bar on stderr.

    Raises:
        InputError: as `score_maps`.
    """
    if limit is not None and len(cases) > limit:
        places = np.linspace(0, len(cases) - 1, limit).round().astype(int)
        cases = [cases[place] for place in places]
    names = layers or list(predictor.model.explain_layers())
    return summarise(predictor, score_maps(predictor, cases, names, progress))


def summarise(predictor: RunPredictor, maps: Sequence[ScoredMap]) -> dict[str, Any]:
    """Returns means over images with their 95 % intervals, as in faithfulness.json.

    Args:
        predictor: the predictor of the maps.
        maps: of the same images at each layer; at least one.

    Returns:
        `model`, its name; `grid` [H, W]; `images`, how many; `settings`, what the measures depend on; `layers`: by
        layer and measure `mean`, `interval` [low, high] (see `bootstrap_interval`), `n`, the images for which it is
        defined (mean and interval None without any), and `groups`, how many these are of; `curves`: by layer, and under
        `random` for a random order, the mean `deletion` and `insertion` curve (STEPS + 1 values; empty if no
        image has one).
    """
    by_layer: dict[str, list[ScoredMap]] = {}
    names = dict.fromkeys(MEASURES)
    for scored in maps:
        by_layer.setdefault(scored.layer, []).append(scored)
        names |= dict.fromkeys(scored.measures)
    first = next(iter(by_layer.values()))
    curves = {RANDOM: {name: _mean_curve(first, f"{name}_{RANDOM}") for name in CURVES}}
    layers: dict[str, dict[str, Any]] = {}
    for layer, of_layer in by_layer.items():
        curves[layer] = {name: _mean_curve(of_layer, name) for name in CURVES}
        layers[layer] = {name: _mean(of_layer, name) for name in names}
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
        "layers": layers,
        "curves": curves,
    }


def _mean(maps: Sequence[ScoredMap], name: str) -> dict[str, Any]:
    """Mean, interval, and numbers of images and groups for which the measure `name` is defined."""
    values: list[float] = []
    groups: list[str] = []
    for scored in maps:
        value = scored.measures.get(name)
        if value is not None:
            values.append(value)
            groups.append(scored.case.group)
    if not values:
        return {"mean": None, "interval": None, "n": 0, "groups": 0}
    found = np.array(values)
    interval = bootstrap_interval(found, groups)
    return {
        "mean": float(found.mean()),
        "interval": interval and list(interval),
        "n": len(values),
        "groups": len(set(groups)),
    }


def _mean_curve(maps: Sequence[ScoredMap], name: str) -> list[float]:
    curves = [scored.curves[name] for scored in maps if scored.curves]
    if not curves:
        return []
    return [float(value) for value in np.mean(curves, axis=0)]


def write_scores(
    folder: Path, maps: Sequence[ScoredMap], result: dict[str, Any]
) -> None:
    """Writes faithfulness.json, .csv (one row per image and layer, empty if undefined) and .png into `folder`."""
    measures = list(next(iter(result["layers"].values())))
    rows = []
    for scored in maps:
        row = [scored.case.name, scored.case.label, scored.case.group, scored.layer]
        row += [csv_number(scored.measures.get(name)) for name in measures]
        rows.append(row)
    table = csv_text(["file", "label", "group", "layer", *measures], rows)
    curves = dict(result["curves"])
    chance = curves.pop(RANDOM)
    with atomic_files():
        write_text(folder / "faithfulness.csv", table)
        with atomic_path(folder / "faithfulness.png") as temporary:
            title = f"{result['model']}, Grad-CAM"
            faithfulness_figure(curves, chance, temporary, title=title)
        write_json(folder / "faithfulness.json", result)


def describe(result: dict[str, Any]) -> str:
    """Returns the means of `summarise` as a table for the terminal, and below it the answers of `claim_rows`."""
    header = ["layer", *(name.strip() for name in _COLUMNS)]
    rows: list[list[Cell]] = []
    for layer, measures in result["layers"].items():
        row: list[Cell] = [layer]
        row += [measures.get(key, {}).get("mean") for key in _COLUMNS.values()]
        rows.append(row)
    answer_rows = [row[1:] for row in claim_rows([result])]
    answers = text_table(["layer", *QUESTIONS], answer_rows)
    first = next(iter(result["layers"].values()))
    with_lesion = f"{first['share']['n']} images with a lesion"
    counts = f"{with_lesion}, {first['deletion']['n']} in which one is predicted"
    table = text_table(header, rows)
    return f"{table}\n\n{counts}; ρ: with the map of random weights\n\n{answers}"
