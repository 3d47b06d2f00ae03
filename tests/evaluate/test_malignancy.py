"""Scores of malignancy where lesions are missed: which images they count, and that nothing undefined ends a command."""

import json

import numpy as np

from sonoseg.describe.malignancy_head import Rules
from sonoseg.evaluate.judge import describe_malignancy
from sonoseg.evaluate.malignancy import Judged, malignancy_summary

RULES = Rules(slope=1, offset=0, balanced=0.5, sensitive=0.3, band=0, least_outline=0)


def judged(malignant, probability):
    values = np.array(probability, float)
    names = np.array([str(number) for number in range(len(values))])
    unknown = np.full(len(values), "")
    is_found = np.isfinite(values)
    sizes = np.full(len(values), 0.1)
    return Judged(
        np.array(malignant), values, values, is_found, names, unknown, unknown, sizes
    )


def line(summary):
    json.dumps(summary, allow_nan=False)
    (text,) = describe_malignancy({"malignancy": summary})
    return text


def test_missed_lesions_are_counted_but_not_scored():
    summary = malignancy_summary(
        judged([True, True, False, False], [0.9, np.nan, 0.2, 0.1]), RULES
    )
    assert summary["images"] == 4 and summary["missed"] == 1
    assert summary["auc"] == 1
    assert "over the 3 of 4 labelled images" in line(summary)


def test_outlined_lesions_of_one_kind_have_no_auc():
    summary = malignancy_summary(
        judged([True, False, False], [np.nan, 0.2, 0.1]), RULES
    )
    assert summary["auc"] is None and summary["interval"] is None
    assert "no AUC over the 2 of 3 labelled images" in line(summary)


def test_no_outlined_lesion_at_all_has_no_scores():
    summary = malignancy_summary(judged([True, False], [np.nan, np.nan]), RULES)
    assert summary["missed"] == 2
    assert summary["brier"] is None and summary["calibration_error"]["after"] is None
    assert "no AUC over the 0 of 2" in line(summary)
