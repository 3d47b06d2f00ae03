"""How well descriptors agree with the words of radiologists, for `sonoseg descriptors`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.descriptors import Descriptors
from sonoseg.describe.questions import KINDS
from sonoseg.evaluate.agreement import agreement
from sonoseg.evaluate.known_lesions import OUTLINES, KnownLesion

YARDSTICK = {
    "shape": 0.93,
    "orientation": 0.90,
    "margin": 0.84,
    "echo pattern": 0.69,
    "posterior features": 0.76,
}
"""Agreement with experts that Auto BI-RADS (2023) reports, on other images."""
NAMES = ("shape", "orientation", "margin", "echo pattern", "posterior features")
Found = Mapping[str, Descriptors]
"""The descriptors of a lesion by each of its outlines."""


def score(lesions: Sequence[KnownLesion], found: Sequence[Found]) -> dict[str, Any]:
    """How well each descriptor agrees, on each kind of outline; see `agreement`.

    `orientation` compares the outline of the network with the reference mask, both by the definition; `margin` is
    circumscribed or not; `margin kind` counts the lesions that are not circumscribed. An outline is left out where
    there is nothing to compare.
    """
    scores: dict[str, Any] = {name: {} for name in NAMES}
    kinds = {}
    for outline in OUTLINES:
        for name in NAMES:
            rows = _rows(name, outline, lesions, found)
            if name == "orientation" and outline == "reference":
                continue
            if not rows:
                continue
            words, probabilities, said, groups = zip(*rows, strict=True)
            scores[name][outline] = agreement(words, probabilities, groups)
            scores[name][outline] |= _withheld(words, said)
        kinds[outline] = _score_kinds(outline, lesions, found)
    for name in NAMES:
        scores[name]["auto_birads_agreement"] = YARDSTICK[name]
    return {"descriptors": scores, "margin_kinds": kinds}


def _rows(
    name: str,
    outline: str,
    lesions: Sequence[KnownLesion],
    found: Sequence[Found],
) -> list[tuple[str, Mapping[str, float], str | None, str]]:
    """For each lesion that can be compared: its word, the probabilities, the word that is said, its patient."""
    rows = []
    for lesion, one in zip(lesions, found, strict=True):
        word = true_word(name, lesion)
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


def true_word(name: str, lesion: KnownLesion) -> str | None:
    if name == "orientation":
        height = lesion.features["reference"]["shape.height_to_width"]
        if math.isclose(height, 1):  # neither
            return None
        return "parallel" if height < 1 else "not parallel"
    if name == "margin":
        return margin_of(lesion)
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
    outline: str, lesions: Sequence[KnownLesion], found: Sequence[Found]
) -> dict[str, Any]:
    """For lesions that are not circumscribed: whether the most probable kind is named by the radiologist, and AUCs."""
    rows = []
    for lesion, one in zip(lesions, found, strict=True):
        if outline not in one or margin_of(lesion) != "not circumscribed":
            continue
        if one[outline].margin.probabilities:
            rows.append((lesion.words.margin, one[outline].margin.probabilities))
    hits = []
    scores: dict[str, Any] = {}
    for margin, probabilities in rows:
        kind = max(KINDS, key=lambda name: probabilities[name])
        hits.append(kind in margin)
    for kind in KINDS:
        is_kind = np.array([kind in margin for margin, _ in rows], dtype=bool)
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


def margin_of(lesion: KnownLesion) -> str | None:
    if not lesion.words.margin:
        return None
    is_clear = lesion.words.margin == ("circumscribed",)
    return "circumscribed" if is_clear else "not circumscribed"
