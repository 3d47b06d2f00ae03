"""The malignancy part of `sonoseg evaluate`, and of `sonoseg compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.auc import paired_auc_test
from sonoseg.core.resize import resize_mask
from sonoseg.data.busi import is_labelled
from sonoseg.data.case import Case
from sonoseg.data.scan import read_table
from sonoseg.describe.malignancy import pool_maps
from sonoseg.describe.malignancy_head import sigmoid
from sonoseg.errors import InputError, counted
from sonoseg.evaluate.malignancy import Judged, malignancy_summary
from sonoseg.evaluate.predictors import BundlePredictor, Predictor
from sonoseg.files import atomic_files, is_there, write_json, write_text
from sonoseg.inputs import read_json
from sonoseg.progress import track
from sonoseg.report.tables import csv_number, csv_text, interval_text

TABLE = "malignancy.csv"
COLUMNS = ("file", "label", "group", "probability", "low", "high", "withheld")


def judge_cases(
    predictor: Predictor, cases: Sequence[Case], folder: Path, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Judges the largest lesion that the bundle outlines in each labelled image.

    Writes malignancy.csv, one row per image, and adds `malignancy` to metrics.json (see `malignancy_summary`).

    Args:
        predictor: a bundle with a malignancy head; others judge nothing.
        cases: those whose label cannot be learned are passed over, see `sonoseg.data.busi.is_labelled`.
        folder: of the evaluation.
        metrics: of the evaluation.

    Returns:
        `metrics` with the entry; as they are without a head, or if the images are not of both kinds.

    Raises:
        InputError: an image cannot be read, or a file cannot be written.
    """
    labelled = [case for case in cases if is_labelled(case) and case.has_truth]
    segmenter = predictor.segmenter if isinstance(predictor, BundlePredictor) else None
    head = segmenter and segmenter.head
    if not segmenter or not head or len({case.label for case in labelled}) < 2:
        (folder / TABLE).unlink(missing_ok=True)  # of an earlier evaluation
        return metrics
    rows: list[list[Any]] = []
    raw, sizes = [], []
    for case in track(labelled, "judging lesions", len(labelled), "image"):
        result = segmenter.segment(case.read_image())
        sizes.append(float(resize_mask(case.read_mask(), (256, 256)).mean()))
        row: list[Any] = [case.name, case.label, case.group]
        if not result.lesions or result.judge is None:
            raw.append(np.nan)
            rows.append([*row, None, None, None, "no lesion was outlined"])
            continue
        lesion = result.lesions[0]
        raw.append(
            float(head.logits(pool_maps(result.judge.maps, lesion.part)[None]).mean())
        )
        answer = result.judge(lesion.part, lesion.probability)
        rows.append(
            [*row, answer.probability, answer.low, answer.high, answer.withheld]
        )
    judged = _judged(rows, np.array(raw), np.array(sizes))
    metrics = metrics | {"malignancy": malignancy_summary(judged, head.rules)}
    for row in rows:
        row[3:6] = map(csv_number, row[3:6])
        row[6] = row[6] or ""
    with atomic_files():
        write_text(folder / TABLE, csv_text(COLUMNS, rows))
        write_json(folder / "metrics.json", metrics)
    return metrics


def _judged(
    rows: Sequence[Sequence[Any]],
    logits: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> Judged:
    unknown = np.full(len(rows), "")
    with np.errstate(invalid="ignore"):  # NaN where no lesion was outlined
        chances = np.asarray(sigmoid(logits))
    return Judged(
        np.array([row[1] == "malignant" for row in rows]),
        np.array([np.nan if row[3] is None else row[3] for row in rows]),
        chances,
        np.array([row[6] is None for row in rows]),
        np.array([row[2] for row in rows]),
        unknown,
        unknown,
        sizes,
    )


def describe_malignancy(metrics: dict[str, Any]) -> list[str]:
    """The line about malignancy for the terminal; none without an entry."""
    found = metrics.get("malignancy")
    if found is None:
        return []
    images = counted(found["images"], "labelled image")
    judged = (
        f"{found['images'] - found['missed']} of {images} in which a lesion is outlined"
    )
    answered = f"{found['answered']['share']:.0%} answered"
    if found["auc"] is None:
        return [f"malignancy: no AUC over the {judged}: it needs both kinds"]
    score = f"AUC {found['auc']:.3f} ({interval_text(found['interval'])})"
    return [f"malignancy: {score} over the {judged}; {answered}"]


@dataclass(frozen=True)
class _Answers:
    """The malignancy.csv of an evaluation: names, labels, groups and probabilities of N images; NaN: no lesion."""

    files: list[str]
    malignant: NDArray[np.bool_]
    groups: list[str]
    probability: NDArray[np.float64]

    @classmethod
    def read(cls, folder: Path) -> _Answers:
        file = folder / TABLE
        rows = sorted(read_table(file, COLUMNS), key=lambda row: row["file"])
        try:
            numbers = [float(row["probability"] or "nan") for row in rows]
        except ValueError as error:
            hint = "run sonoseg evaluate again"
            raise InputError(
                file, "holds a probability that is no number", hint
            ) from error
        malignant = [row["label"] == "malignant" for row in rows]
        groups = [row["group"] for row in rows]
        files = [row["file"] for row in rows]
        return cls(files, np.array(malignant), groups, np.array(numbers))


def compare_malignancy(reference: Path, others: Sequence[Path]) -> list[dict[str, Any]]:
    """Paired tests of the AUC of malignancy, see `sonoseg.core.auc.paired_auc_test`.

    Images in which one of the two models outlined no lesion are left out.

    Args:
        reference: folder of the evaluation that the others are compared with.
        others: folders of the others.

    Returns:
        one entry for each of `others` that has a malignancy.csv: `model`, `images`, `difference` of AUC (model −
        reference), `interval` and `p`. None of them if `reference` has no malignancy.csv.

    Raises:
        InputError: a malignancy.csv is damaged, or is of other images, labels or groups.
    """
    compared: list[dict[str, Any]] = []
    if not _is_judged(reference):
        return compared
    first = _Answers.read(reference)
    for folder in others:
        if not _is_judged(folder):
            continue
        own = _Answers.read(folder)
        hint = "evaluate both on one data set, split and subset"
        if own.files != first.files:
            problem = f"holds other images than {reference / TABLE}"
            raise InputError(folder / TABLE, problem, hint)
        if own.groups != first.groups or (own.malignant != first.malignant).any():
            problem = f"has other labels or groups than {reference / TABLE}"
            raise InputError(folder / TABLE, problem, hint)
        rows = np.isfinite(own.probability) & np.isfinite(first.probability)
        groups = [group for group, kept in zip(own.groups, rows, strict=True) if kept]
        test = paired_auc_test(
            own.malignant[rows], own.probability[rows], first.probability[rows], groups
        )
        if test is not None:
            entry = {"model": str(folder), "images": int(rows.sum())}
            entry |= {"difference": test[0], "interval": test[1], "p": test[2]}
            compared.append(entry)
    return compared


def _is_judged(folder: Path) -> bool:
    """Whether malignancy.csv belongs to the evaluation in the folder, and not to an earlier one."""
    return is_there(folder / TABLE) and "malignancy" in read_json(
        folder / "metrics.json"
    )


def describe_compared(compared: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each comparison of AUCs."""
    lines = []
    for entry in compared:
        interval = interval_text(entry["interval"], "+.3f")
        lines.append(
            f"{entry['model']}: AUC of malignancy {entry['difference']:+.3f} ({interval}), "
            f"p {entry['p']:.3f}, {entry['images']} images"
        )
    return lines
