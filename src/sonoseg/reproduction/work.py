"""One job: trains, evaluates on every subset, explains, and draws. What is done already is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sonoseg.data.case import Case
from sonoseg.data.load import data_name
from sonoseg.data.pack import is_pack
from sonoseg.data.splits import SUBSETS
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluate import evaluate
from sonoseg.evaluate.predictors import Predictor, load_predictor
from sonoseg.explain.explain import explain_case
from sonoseg.explain.gradcam import DEFAULT_LAYER
from sonoseg.explain.score import score_explanations
from sonoseg.files import is_there, output_folder, write_json
from sonoseg.models.catalog import find_experiment
from sonoseg.reader.bundle import default_bundle_path
from sonoseg.reproduction.jobs import (
    BUNDLED_MODEL,
    EXPLANATIONS,
    FAILED,
    PICTURES,
    RESULT,
    SETTINGS,
    Job,
)
from sonoseg.reproduction.material import Material
from sonoseg.reproduction.settings import ReproductionSettings
from sonoseg.reproduction.training import first_weights_for, train_job
from sonoseg.train.configure import check_recipe
from sonoseg.train.differences import differences
from sonoseg.train.run_folder import file_hash

OTHER_BUNDLE = "a result of another version of it"


def settings_of(
    job: Job, settings: ReproductionSettings, material: Material
) -> dict[str, Any]:
    """Returns what decides the numbers of a job, for result.json. A result with other settings is not reused."""
    entries: dict[str, Any] = {
        "data": data_name(settings.data),
        "pixels": material.pixels[job.split],
        "cases": material.cases[job.split],
    }
    if job.model == BUNDLED_MODEL:
        return entries | {"bundle": file_hash(default_bundle_path())}
    entries["size"] = settings.size
    entries["recipe"] = asdict(settings.recipe_of(job.model))
    entries["departures"] = settings.departures()
    return entries


def check(
    jobs: Sequence[Job], settings: ReproductionSettings, material: Material
) -> None:
    """Refuses, before work starts, what cannot end in a useful result.

    Raises:
        InputError: a size or recipe is out of range, encoders would be frozen with random weights although the user
            did not ask for that, or the output folder has results of other settings.
    """
    for job in jobs:
        check_settings(job, settings, material)
    models = dict.fromkeys(job.model for job in jobs)
    if BUNDLED_MODEL in models and is_pack(settings.data):
        problem = (
            "includes default, which needs images of another size than the pack has"
        )
        hint = "give --models 1-20, or the folder as --data"
        raise InputError(f"--models {settings.models}", problem, hint)
    for model in models:
        if model != BUNDLED_MODEL:
            check_recipe(settings.recipe_of(model))
            _check_frozen_encoders(model, settings.encoder_weights)


def _check_frozen_encoders(model: str, encoder_weights: str) -> None:
    """Refuses to freeze random encoders unless the user asked for random ones."""
    network = find_experiment(model).network
    weights = first_weights_for(network, encoder_weights)
    if network.frozen and weights == "none" and encoder_weights != "none":
        encoders = ", ".join(network.encoders)
        problem = f"lacks the encoders that {model} keeps frozen ({encoders})"
        hint = "give a run that has them"
        raise InputError(f"--encoder-weights {encoder_weights}", problem, hint)


def check_settings(
    job: Job, settings: ReproductionSettings, material: Material
) -> None:
    """Refuses a folder in which the job was done or begun with other settings or data.

    Raises:
        InputError: it was; the message names what differs.
    """
    result = job.result(settings.out) or {}
    there = result.get("settings") or job.settings(settings.out)
    if there is None:
        return
    asked = json.loads(json.dumps(settings_of(job, settings, material)))
    differing = differences(there, asked)
    found = []
    if changed_data := data_changes(there, job, material):
        found.append(changed_data)
    if there.get("bundle") != asked.get("bundle"):
        found.append(OTHER_BUNDLE)
    # The hashes themselves would tell nobody anything.
    hashes = ("pixels", "cases", "bundle")
    changed = [each for each in differing if not each.startswith(hashes)]
    if changed:
        found.append(f"other settings: {' and '.join(changed)}")
    if found:
        problem = f"holds {job.model} with {', and '.join(found)}"
        hint = "choose another --out, or the same options and data"
        if found == [OTHER_BUNDLE]:
            hint = "delete this folder: it is evaluated again in minutes"
        raise InputError(job.folder(settings.out), problem, hint)


def data_changes(there: Mapping[str, Any], job: Job, material: Material) -> str:
    """What differs between the data of `material` and that of a result, in words; "" if nothing does.

    Args:
        there: the `settings_of` the result. Those of the first results have no `cases`.
        job: of the result.
        material: the images.
    """
    if there.get("pixels") != material.pixels[job.split]:
        return "other images or masks"
    cases = material.cases[job.split]
    if there.get("cases", cases) != cases:
        return "other labels, groups or spacings"
    return ""


def check_data(
    jobs: Sequence[Job], settings: ReproductionSettings, material: Material
) -> None:
    """Refuses to report results with other data than theirs. Where the data lies, and its name, may have changed.

    Raises:
        InputError: the data differs.
    """
    for job in jobs:
        there = (job.result(settings.out) or {}).get("settings", {})
        if found := data_changes(there, job, material):
            problem = f"has {found} than {job.name}, a result of {there.get('data')}"
            hint = "give the data that the results are of"
            raise InputError(f"--data {settings.data}", problem, hint)


def do_job(job: Job, settings: ReproductionSettings, material: Material) -> None:
    """Does the part of a job that is not done yet, and writes result.json at the end.

    Raises:
        InputError: it cannot be done, for example for lack of memory or of weights.
    """
    folder = output_folder(job.folder(settings.out))
    subsets = material.subsets[job.split]
    check_settings(job, settings, material)
    own_settings = settings_of(job, settings, material)
    write_json(folder / SETTINGS, own_settings)
    result: dict[str, Any] = {**asdict(job), "settings": own_settings}
    if job.model == BUNDLED_MODEL:
        _evaluate(job, load_predictor(BUNDLED_MODEL), subsets, settings)
    else:
        result |= train_job(job, settings)
        predictor = RunPredictor(folder)
        _evaluate(job, predictor, subsets, settings)
        _draw_pictures(predictor, folder, material.pictures)
        _measure_explanations(predictor, folder, subsets["test"], settings.explain)
    write_json(folder / RESULT, result)
    (folder / FAILED).unlink(missing_ok=True)


def _evaluate(
    job: Job,
    predictor: Predictor,
    subsets: dict[str, list[Case]],
    settings: ReproductionSettings,
) -> None:
    """Evaluates on the subsets that have no metrics.json yet."""
    for name in SUBSETS:
        folder = job.folder(settings.out) / name
        if is_there(folder / "metrics.json"):
            continue
        about = {
            "data": data_name(settings.data),
            "split": Path(job.split).name,
            "subset": name,
        }
        evaluate(
            predictor,
            subsets[name],
            folder,
            progress=False,
            about=about,
            pictures=False,
        )


def _draw_pictures(
    predictor: RunPredictor, folder: Path, cases: Sequence[Case]
) -> None:
    for case in cases:
        target = output_folder(folder / PICTURES) / f"{Path(case.name).stem}.png"
        if not is_there(target):
            explain_case(predictor, case, target, DEFAULT_LAYER)


def _measure_explanations(
    predictor: RunPredictor, folder: Path, test: Sequence[Case], limit: int
) -> None:
    """Measures the heat maps on at most `limit` test images with a lesion."""
    if not limit or is_there(folder / EXPLANATIONS):
        return
    with_lesion = [case for case in test if case.label != "normal"]
    scores = score_explanations(predictor, with_lesion, limit=limit, progress=False)
    write_json(folder / EXPLANATIONS, scores)
