"""`sonoseg descriptors`: fits the words for lesions, and measures how well they agree with a radiologist's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonoseg.data.load import data_name
from sonoseg.describe.descriptors import find_descriptors
from sonoseg.describe.questions import KINDS, QUESTIONS, Fitted
from sonoseg.errors import InputError
from sonoseg.evaluate.descriptor_scores import NAMES, Found, margin_of, score, true_word
from sonoseg.evaluate.fit_questions import (
    FOLDS,
    Answered,
    fit,
    fit_steepness,
    fold_of,
)
from sonoseg.evaluate.known_lesions import (
    KnownLesion,
    groups_of,
    read_lesions,
)
from sonoseg.evaluate.smallest_lesion import KEPT, find_smallest
from sonoseg.files import atomic_files, output_folder, write_json, write_text
from sonoseg.progress import track
from sonoseg.reader.segmenter import load
from sonoseg.report.tables import csv_text, interval_text


def descriptors_command(
    data: Path | str,
    model: Path | str = "default",
    folds: int = FOLDS,
    out: Path | str = "descriptors",
) -> str:
    """Fits on all patients, scores by cross-validation, and writes both.

    Writes descriptors.json (what was fitted, the form of `sonoseg.describe.questions.FITTED`), metrics.json and
    cases.csv (one row for each outline).

    Raises:
        InputError: the data set, its table or the model cannot be read, the model outlines none of the lesions, there
            are fewer patients than folds, or `out` cannot be written to.
    """
    segmenter = load(model)
    lesions = read_lesions(data, segmenter)
    if not any("own" in lesion.features for lesion in lesions):
        problem = f"outlines none of the {len(lesions)} lesions"
        raise InputError(model, problem, "give another --model")
    patients = len(set(groups_of(lesions)))
    if not 2 <= folds <= patients:
        problem = f"{folds} folds of {patients} patients cannot be made"
        raise InputError("folds", problem, f"choose 2 to {patients}")
    folder = output_folder(out)
    found = cross_validate(lesions, folds)
    known = fit_all(lesions)
    sizes = find_smallest(lesions, known)
    scores = score(lesions, found)
    not_said = _no_better_than_chance(scores["descriptors"])
    about = {
        "data": data_name(data),
        "model": segmenter.card.name,
        "model_sha256": segmenter.sha256,
        "lesions": len(lesions),
        "patients": patients,
        "outlined": sum("own" in lesion.features for lesion in lesions),
        "folds": folds,
    }
    metrics = {"about": about, **scores, "sizes": sizes, "not_said": not_said}
    questions = {name: one.to_dict() for name, one in known.regressions.items()}
    values = {
        "about": about,
        "steepness": known.steepness,
        "smallest": sizes["smallest_radius"],
        "not_said": not_said,
        "questions": questions,
    }
    with atomic_files():
        write_json(folder / "descriptors.json", values)
        write_json(folder / "metrics.json", metrics)
        write_text(folder / "cases.csv", _table(lesions, found))
    return _text(metrics, folder)


def _no_better_than_chance(scores: Mapping[str, Any]) -> list[str]:
    """The descriptors whose κ on the network's own outlines is not above 0 with 95 % confidence."""
    found = []
    for name in NAMES:
        interval = scores[name].get("own", {}).get("kappa_interval")
        if interval is None or interval[0] <= 0:
            found.append(name)
    return found


def fit_all(lesions: Sequence[KnownLesion]) -> Fitted:
    """Fits all questions and the orientation. Each lesion counts once: half by each of its outlines."""
    regressions = {}
    for name, question in QUESTIONS.items():
        regressions[name] = fit(question, _answered(name, lesions))
    heights, own_heights = [], []
    for lesion in lesions:
        if "own" in lesion.features:
            heights.append(lesion.features["reference"]["shape.height_to_width"])
            own_heights.append(lesion.features["own"]["shape.height_to_width"])
    return Fitted(regressions, fit_steepness(own_heights, heights), 0.0)


def cross_validate(lesions: Sequence[KnownLesion], count: int = FOLDS) -> list[Found]:
    """The descriptors of each lesion by each outline, fitted on the patients of the other folds."""
    folds = fold_of(groups_of(lesions), count)
    numbers = [folds[group] for group in groups_of(lesions)]
    found: dict[int, Found] = {}
    for fold in track(range(count), "cross-validation", count, "fold"):
        rest = []
        for lesion, number in zip(lesions, numbers, strict=True):
            if number != fold:
                rest.append(lesion)
        known = fit_all(rest)
        for place, lesion in enumerate(lesions):
            if numbers[place] != fold:
                continue
            own = {}
            for outline, features in lesion.features.items():
                own[outline] = find_descriptors(features, known)
            found[place] = own
    return [found[place] for place in range(len(lesions))]


def _answered(name: str, lesions: Sequence[KnownLesion]) -> Answered:
    """The lesions that can answer a question, with the radiologist's answer."""
    features, words, weights, groups = [], [], [], []
    for lesion in lesions:
        word = _answer(name, lesion)
        if word is None:
            continue
        for one in lesion.features.values():
            features.append(one)
            words.append(word)
            weights.append(1 / len(lesion.features))
            groups.append(lesion.case.group)
    return Answered(features, words, np.array(weights), groups)


def _answer(name: str, lesion: KnownLesion) -> str | None:
    words = lesion.words
    if name == "irregular":
        return "irregular" if words.shape == "irregular" else "regular"
    if name == "round":
        return None if words.shape == "irregular" else words.shape
    if name == "circumscribed":
        return margin_of(lesion)
    if name in KINDS:
        if not words.margin or words.margin == ("circumscribed",):
            return None
        return "yes" if name in words.margin else "no"
    answer: str | None = getattr(words, name.replace(" ", "_"))
    return answer


def _table(lesions: Sequence[KnownLesion], found: Sequence[Found]) -> str:
    """One row for each outline: the words of the radiologist, and the most probable ones with their probability."""
    header = ["file", "outline", "iou"]
    for name in NAMES:
        column = name.replace(" ", "_")
        header += [f"{column}_radiologist", column, f"{column}_probability"]
    rows = []
    for lesion, one in zip(lesions, found, strict=True):
        for outline, descriptors in one.items():
            iou = "" if outline == "reference" else f"{lesion.iou:.4f}"
            row = [lesion.case.name, outline, iou]
            for name, descriptor in descriptors.named():
                row += [_radiologist(name, lesion), *_most(descriptor.probabilities)]
            rows.append(row)
    return csv_text(header, rows)


def _radiologist(name: str, lesion: KnownLesion) -> str:
    if name == "orientation":
        return ""
    if name == "margin":
        return "&".join(lesion.words.margin)
    return true_word(name, lesion) or ""


def _most(probabilities: Mapping[str, float]) -> tuple[str, str]:
    if not probabilities:
        return "", ""
    word = max(probabilities, key=lambda name: probabilities[name])
    return word, f"{probabilities[word]:.4f}"


def _text(metrics: Mapping[str, Any], folder: Path) -> str:
    """The table of agreement and κ for the terminal."""
    about = metrics["about"]
    lines = [
        f"{about['lesions']} lesions of {about['patients']} patients, {about['outlined']} outlined by {about['model']}",
        "",
        f"{'descriptor':20}{'outline':11}{'agreement (95 %)':24}{'kappa (95 %)':24}most frequent word",
    ]
    for name, scores in metrics["descriptors"].items():
        for outline, one in scores.items():
            if outline == "auto_birads_agreement":
                continue
            cells = [_with_interval(one, "agreement"), _with_interval(one, "kappa")]
            lines.append(
                f"{name:20}{outline:11}{cells[0]:24}{cells[1]:24}{one['most_frequent']:.2f}"
            )
    smallest = metrics["sizes"]["smallest_radius"]
    lines += [
        "",
        f"Lesions with a radius under {smallest} pixels are not described: fewer than {KEPT:.0%} of their words stay.",
        f"No word is said, as chance is as good: {', '.join(metrics['not_said']) or 'none'}.",
        f"{folder}: descriptors.json, metrics.json, cases.csv",
    ]
    return "\n".join(lines)


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    if scores[name] is None:
        return "–"
    return f"{scores[name]:.2f} ({interval_text(scores[f'{name}_interval'], '.2f')})"
