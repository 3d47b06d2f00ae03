"""Scores of the malignancy head: AUC with an interval by patient, thresholds, calibration, and what is withheld."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.auc import auc, auc_interval
from sonoseg.core.reliability import GROUPS
from sonoseg.describe.malignancy_head import Rules

SIZES = (0.02, 0.05, 0.1)
"""Shares of the image that divide small from larger lesions."""


@dataclass(frozen=True)
class Judged:
    """N images whose label is known, with the answer for the largest lesion that was outlined in each.

    Attributes:
        malignant: (N,) bool.
        probability: (N,) calibrated; NaN where no lesion was outlined.
        raw: (N,) before calibration.
        is_answered: (N,) bool, False where the answer is withheld, or no lesion was outlined.
        groups: (N,) names of patients.
        source, birads: (N,) names; "" where it is not known.
        size: (N,) area of the reference mask by that of the image.
    """

    malignant: NDArray[np.bool_]
    probability: NDArray[np.float64]
    raw: NDArray[np.float64]
    is_answered: NDArray[np.bool_]
    groups: NDArray[np.str_]
    source: NDArray[np.str_]
    birads: NDArray[np.str_]
    size: NDArray[np.float64]

    def pick(self, rows: NDArray[Any]) -> Judged:
        """The images of these rows, numbers or a mask (N,)."""
        values = [getattr(self, name)[rows] for name in self.__dataclass_fields__]
        return Judged(*values)


def malignancy_summary(judged: Judged, rules: Rules) -> dict[str, Any]:
    """The entry `malignancy` of metrics.json.

    Returns:
        `images`, `patients` and `malignant` (numbers); `missed`, images in which no lesion was outlined: they have no
        answer and are in none of the scores below; `auc` and its `interval`; `at`: sensitivity and specificity at the
        two thresholds of `rules`; `calibration_error` `before` and `after` calibration (as `expected_error`), `brier`
        score; `answered`: the share that is not withheld, and AUC, sensitivity and specificity of these; and the AUC by
        `source`, `size` and `birads`. A score that is not defined is None, such as the AUC of lesions of one kind.
    """
    is_found = np.isfinite(judged.probability)
    found = judged.pick(is_found)
    answered = found.pick(found.is_answered)
    summary = {
        "images": len(judged.malignant),
        "patients": len(np.unique(judged.groups)),
        "malignant": int(judged.malignant.sum()),
        "missed": int((~is_found).sum()),
        **_auc(found),
        "at": {
            name: _at(found, getattr(rules, name)) for name in ("balanced", "sensitive")
        },
        "calibration_error": {
            "before": expected_error(found.raw, found.malignant),
            "after": expected_error(found.probability, found.malignant),
        },
        "brier": _brier(found),
        "answered": {
            "share": float(judged.is_answered.mean()),
            **_auc(answered),
            **_at(answered, rules.balanced),
        },
    }
    by: dict[str, Callable[[Judged], NDArray[np.str_]]] = {
        "source": lambda each: each.source,
        "size": lambda each: size_names(each.size),
        "birads": lambda each: each.birads,
    }
    for name, kind_of in by.items():
        summary[f"by_{name}"] = _by(found, kind_of(found))
    return summary


def expected_error(
    probability: NDArray[np.float64], malignant: NDArray[np.bool_]
) -> float | None:
    """The expected calibration error over images, 0..1, in 15 steps (Guo et al. 2017, eq. 3); None without any."""
    if not len(probability):
        return None
    step = np.minimum((probability * GROUPS).astype(int), GROUPS - 1)
    counts = np.bincount(step, minlength=GROUPS)
    said = np.bincount(step, probability, GROUPS)
    true = np.bincount(step, malignant, GROUPS)
    return float(np.abs(said - true).sum() / counts.sum())


def size_names(size: NDArray[np.float64]) -> NDArray[np.str_]:
    """(N,) names such as "0.02 to 0.05", for shares of the image."""
    edges = (0.0, *SIZES, 1.0)
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return np.array(names)[np.searchsorted(SIZES, size, side="right")]


def _auc(found: Judged) -> dict[str, Any]:
    area = auc(found.malignant, found.probability)
    interval = auc_interval(found.malignant, found.probability, list(found.groups))
    return {"auc": area, "interval": interval}


def _at(found: Judged, threshold: float) -> dict[str, float | None]:
    called = found.probability >= threshold
    return {
        "threshold": threshold,
        "sensitivity": _share(called[found.malignant]),
        "specificity": _share(~called[~found.malignant]),
    }


def _brier(found: Judged) -> float | None:
    if not len(found.malignant):
        return None
    return float(np.mean((found.probability - found.malignant) ** 2))


def _share(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _by(found: Judged, kinds: NDArray[np.str_]) -> dict[str, Any]:
    """Numbers and AUC of each kind of image; those without a name are left out."""
    scores = {}
    for kind in np.unique(kinds):
        if kind:
            part = found.pick(kinds == kind)
            counts = {
                "images": len(part.malignant),
                "malignant": int(part.malignant.sum()),
            }
            scores[str(kind)] = counts | _auc(part)
    return scores
