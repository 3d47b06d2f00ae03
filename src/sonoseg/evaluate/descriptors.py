"""`sonoseg descriptors`: fits the words for lesions, and measures how well they agree with a radiologist's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.data.load import data_name
from sonoseg.describe.descriptors import Descriptors, find_descriptors
from sonoseg.describe.questions import KINDS, QUESTIONS, Fitted
from sonoseg.evaluate.agreement import agreement
from sonoseg.evaluate.described_lesions import (
    OUTLINES,
    DescribedLesion,
    groups_of,
    read_lesions,
)
from sonoseg.evaluate.fit_questions import (
    FOLDS,
    Answered,
    fit,
    fit_steepness,
    fold_of,
)
from sonoseg.evaluate.smallest_lesion import KEPT, find_smallest
from sonoseg.files import atomic_files, output_folder, write_json, write_text
from sonoseg.inputs import guard_cell
from sonoseg.progress import track
from sonoseg.reader.segmenter import load

YARDSTICK = {
    "shape": 0.93,
    "orientation": 0.90,
    "margin": 0.84,
    "echo pattern": 0.69,
    "posterior features": 0.76,
}
"""Agreement with experts that Auto BI-RADS (2023) reports, on other images."""
_NAMES = ("shape", "orientation", "margin", "echo pattern", "posterior features")
Found = Mapping[str, Descriptors]


def descriptors_command(
    data: Path | str, model: Path | str = "default", out: Path | str = "descriptors"
) -> str:
    """Fits on all patients, scores by cross-validation, and writes both.

    Writes descriptors.json (what was fitted, the form of `sonoseg.describe.questions.FITTED`), metrics.json and
    cases.csv (one row for each outline).

    Raises:
        InputError: the data set, its table or the model cannot be read, or `out` cannot be written to.
    """
    segmenter = load(model)
    lesions = read_lesions(data, segmenter)
    folder = output_folder(out)
    found = cross_validate(lesions)
    known = fit_all(lesions)
    sizes = find_smallest(lesions, known)
    known = replace(known, smallest=float(sizes["smallest_radius"]))
    about = {
        "data": data_name(data),
        "model": segmenter.card.name,
        "model_sha256": segmenter.sha256,
        "lesions": len(lesions),
        "patients": len(set(groups_of(lesions))),
        "outlined": sum("own" in lesion.features for lesion in lesions),
        "folds": FOLDS,
    }
    metrics = {"about": about, **score(lesions, found), "sizes": sizes}
    questions = {name: one.to_dict() for name, one in known.regressions.items()}
    values = {
        "about": about,
        "steepness": known.steepness,
        "smallest": known.smallest,
        "questions": questions,
    }
    with atomic_files():
        write_json(folder / "descriptors.json", values)
        write_json(folder / "metrics.json", metrics)
        write_text(folder / "cases.csv", _table(lesions, found))
    return _text(metrics, folder)


def fit_all(lesions: Sequence[DescribedLesion]) -> Fitted:
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


def cross_validate(lesions: Sequence[DescribedLesion]) -> list[Found]:
    """The descriptors of each lesion by each outline, fitted on the patients of the other folds."""
    folds = fold_of(groups_of(lesions), FOLDS)
    numbers = [folds[group] for group in groups_of(lesions)]
    found: dict[int, Found] = {}
    for fold in track(range(FOLDS), "cross-validation", FOLDS, "fold"):
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
                own[outline] = find_descriptors(features, math.inf, known)
            found[place] = own
    return [found[place] for place in range(len(lesions))]


def _answered(name: str, lesions: Sequence[DescribedLesion]) -> Answered:
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


def _answer(name: str, lesion: DescribedLesion) -> str | None:
    words = lesion.words
    if name == "irregular":
        return "irregular" if words.shape == "irregular" else "regular"
    if name == "round":
        return None if words.shape == "irregular" else words.shape
    if name == "circumscribed":
        return _margin_of(lesion)
    if name in KINDS:
        if not words.margin or words.margin == ("circumscribed",):
            return None
        return "yes" if name in words.margin else "no"
    answer: str | None = getattr(words, name.replace(" ", "_"))
    return answer


def _margin_of(lesion: DescribedLesion) -> str | None:
    if not lesion.words.margin:
        return None
    is_clear = lesion.words.margin == ("circumscribed",)
    return "circumscribed" if is_clear else "not circumscribed"


def score(lesions: Sequence[DescribedLesion], found: Sequence[Found]) -> dict[str, Any]:
    """How well each descriptor agrees, on each kind of outline; see `agreement`.

    `orientation` compares the outline of the network with the reference mask, both by the definition; `margin` is
    circumscribed or not; `margin kind` counts the lesions that are not circumscribed.
    """
    scores: dict[str, Any] = {name: {} for name in _NAMES}
    kinds = {}
    for outline in OUTLINES:
        for name in _NAMES:
            rows = _rows(name, outline, lesions, found)
            if name == "orientation" and outline == "reference":
                continue
            words, probabilities, said, groups = zip(*rows, strict=True)
            scores[name][outline] = agreement(words, probabilities, groups)
            scores[name][outline] |= _withheld(words, said)
        kinds[outline] = _score_kinds(outline, lesions, found)
    for name in _NAMES:
        scores[name]["auto_birads_agreement"] = YARDSTICK[name]
    return {"descriptors": scores, "margin_kinds": kinds}


def _rows(
    name: str,
    outline: str,
    lesions: Sequence[DescribedLesion],
    found: Sequence[Found],
) -> list[tuple[str, Mapping[str, float], str | None, str]]:
    """For each lesion that can be compared: its word, the probabilities, the word that is said, its patient."""
    rows = []
    for lesion, one in zip(lesions, found, strict=True):
        word = _true_word(name, lesion)
        if word is None or outline not in one:
            continue
        descriptor = dict(one[outline].named())[name]
        probabilities, said = descriptor.probabilities, descriptor.word
        if not probabilities:
            continue
        if name == "margin":
            clear = probabilities["circumscribed"]
            probabilities = {"circumscribed": clear, "not circumscribed": 1 - clear}
            said = max(probabilities, key=lambda word: probabilities[word])
        rows.append((word, probabilities, said, lesion.case.group))
    return rows


def _true_word(name: str, lesion: DescribedLesion) -> str | None:
    if name == "orientation":
        height = lesion.features["reference"]["shape.height_to_width"]
        return "parallel" if height < 1 else "not parallel"
    if name == "margin":
        return _margin_of(lesion)
    word: str | None = getattr(lesion.words, name.replace(" ", "_"))
    return word


def _withheld(words: Sequence[str], said: Sequence[str | None]) -> dict[str, Any]:
    """The share of lesions of which a word is said, and the agreement on these."""
    pairs = [(word, one) for word, one in zip(words, said, strict=True) if one]
    right = [word == one for word, one in pairs]
    return {
        "said": round(len(pairs) / len(words), 4),
        "agreement_when_said": round(float(np.mean(right)), 4) if right else None,
    }


def _score_kinds(
    outline: str, lesions: Sequence[DescribedLesion], found: Sequence[Found]
) -> dict[str, Any]:
    """For lesions that are not circumscribed: whether the most probable kind is named by the radiologist, and AUCs."""
    rows = []
    for lesion, one in zip(lesions, found, strict=True):
        if outline in one and _margin_of(lesion) == "not circumscribed":
            rows.append((lesion.words.margin, one[outline].margin.probabilities))
    hits = []
    scores: dict[str, Any] = {}
    for margin, probabilities in rows:
        kind = max(KINDS, key=lambda name: probabilities[name])
        hits.append(kind in margin)
    for kind in KINDS:
        is_kind = np.array([kind in margin for margin, _ in rows])
        values = np.array([probabilities[kind] for _, probabilities in rows])
        scores[kind] = {"lesions": int(is_kind.sum()), "auc": _auc(values, is_kind)}
    most = max(one["lesions"] for one in scores.values()) / max(len(rows), 1)
    return {
        "lesions": len(rows),
        "named_by_radiologist": round(float(np.mean(hits)), 4) if hits else None,
        "most_frequent": round(most, 4),
        "kinds": scores,
    }


def _auc(values: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve by ranks (Mann and Whitney 1947); None without lesions on both sides."""
    from scipy.stats import mannwhitneyu

    one, other = values[is_positive], values[~is_positive]
    if not len(one) or not len(other):
        return None
    return round(float(mannwhitneyu(one, other).statistic) / (len(one) * len(other)), 4)


def _table(lesions: Sequence[DescribedLesion], found: Sequence[Found]) -> str:
    """One row for each outline: the words of the radiologist, and the most probable ones with their probability."""
    header = ["file", "outline", "iou"]
    for name in _NAMES:
        column = name.replace(" ", "_")
        header += [f"{column}_radiologist", column, f"{column}_probability"]
    lines = [",".join(header)]
    for lesion, one in zip(lesions, found, strict=True):
        for outline, descriptors in one.items():
            iou = "" if outline == "reference" else f"{lesion.iou:.4f}"
            row = [guard_cell(lesion.case.name), outline, iou]
            for name, descriptor in descriptors.named():
                row += [_radiologist(name, lesion), *_most(descriptor.probabilities)]
            lines.append(",".join(row))
    return "\n".join(lines) + "\n"


def _radiologist(name: str, lesion: DescribedLesion) -> str:
    if name == "orientation":
        return ""
    if name == "margin":
        return "&".join(lesion.words.margin)
    return _true_word(name, lesion) or ""


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
        for outline in OUTLINES:
            if outline not in scores:
                continue
            one = scores[outline]
            cells = [_with_interval(one, "agreement"), _with_interval(one, "kappa")]
            lines.append(
                f"{name:20}{outline:11}{cells[0]:24}{cells[1]:24}{one['most_frequent']:.2f}"
            )
    smallest = metrics["sizes"]["smallest_radius"]
    lines += [
        "",
        f"Lesions with a radius under {smallest} pixels are not described: fewer than {KEPT:.0%} of their words stay.",
        f"{folder}: descriptors.json, metrics.json, cases.csv",
    ]
    return "\n".join(lines)


def _with_interval(scores: Mapping[str, Any], name: str) -> str:
    low, high = scores[f"{name}_interval"]
    return f"{scores[name]:.2f} ({low:.2f} to {high:.2f})"
