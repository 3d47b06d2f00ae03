"""The lesions of a data set whose words are known, measured on the reference mask and on the network's own outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.measure import connected_runs
from sonoseg.data.case import Case
from sonoseg.data.clinical import TABLE, Words, read_words
from sonoseg.data.load import load_cases
from sonoseg.describe.features import measure_features
from sonoseg.errors import InputError
from sonoseg.progress import track
from sonoseg.reader.segmenter import Segmenter

OUTLINES = ("reference", "own")


@dataclass(frozen=True)
class KnownLesion:
    """One lesion.

    Attributes:
        case: its image.
        words: what a radiologist said of it.
        features: for each of `OUTLINES` what was measured; no "own" where the network missed the lesion.
        iou: overlap of the two outlines, 0 to 1.
    """

    case: Case
    words: Words
    features: Mapping[str, Mapping[str, float]]
    iou: float


def read_lesions(data: Path | str, segmenter: Segmenter) -> list[KnownLesion]:
    """Measures all lesions of a data set that has a table as that of BrEaST.

    Raises:
        InputError: the data set or its clinical.csv cannot be read, or there is no lesion with words.
    """
    words = read_words(Path(data) / TABLE)
    cases = []
    for case in load_cases(data):
        if case.masks and case.name in words and words[case.name].shape:
            cases.append(case)
    if not cases:
        hint = f"give the folder of BrEaST, with {TABLE}"
        raise InputError(data, "has no lesion that is described", hint)
    lesions = []
    for case in track(cases, "measuring", len(cases), "image"):
        image, mask = case.read()
        if not mask.any():
            continue
        own = overlapping_part(segmenter.segment(image).mask, mask)
        features = {"reference": measure_features(image, mask, case.pixel_size)}
        if own.any():
            features["own"] = measure_features(image, own, case.pixel_size)
        named = {outline: one.to_dict() for outline, one in features.items()}
        iou = np.count_nonzero(own & mask) / np.count_nonzero(own | mask)
        lesions.append(KnownLesion(case, words[case.name], named, iou))
    return lesions


def overlapping_part(
    mask: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The connected part of a mask (H, W) that shares most pixels with the reference; empty if none does."""
    runs = connected_runs(mask)
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(runs.label + 1, runs.stop - runs.start)
    shared = np.bincount(labels[reference & mask])
    if not len(shared):
        return np.zeros_like(mask)
    part: NDArray[np.bool_] = labels == int(shared.argmax())
    return part


def groups_of(lesions: Sequence[KnownLesion]) -> list[str]:
    """The patient of each lesion."""
    return [lesion.case.group for lesion in lesions]
