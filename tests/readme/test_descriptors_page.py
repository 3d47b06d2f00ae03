"""The numbers on the page of descriptors are those that were measured."""

import json
from pathlib import Path

import sonoseg.describe.questions as questions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "descriptors.md").read_text(encoding="utf-8")
METRICS = json.loads((ROOT / "results" / "descriptors" / "metrics.json").read_text())


def with_interval(scores, name):
    low, high = scores[f"{name}_interval"]
    return f"{scores[name]:.2f} ({low:.2f} to {high:.2f})"


def test_the_table_has_the_measured_numbers():
    rows = 0
    for name, scores in METRICS["descriptors"].items():
        for outline in ("reference", "own"):
            if outline not in scores:
                continue
            one = scores[outline]
            cells = [name, outline]
            cells += [with_interval(one, "agreement"), with_interval(one, "kappa")]
            numbers = one["most_frequent"], one["calibration_error"]
            for number in (*numbers, scores["auto_birads_agreement"]):
                cells.append(f"{number:.2f}")
            assert f"| {' | '.join(cells)} |" in PAGE
            rows += 1
    assert rows == 9


def test_the_text_has_the_measured_numbers():
    about, kinds = METRICS["about"], METRICS["margin_kinds"]
    assert f"{about['lesions']} lesions of {about['patients']} patients" in PAGE
    assert f"It missed {about['lesions'] - about['outlined']} of the" in PAGE
    reference, own = kinds["reference"], kinds["own"]
    assert f"for {reference['named_by_radiologist']:.0%}".replace("%", " %") in PAGE
    assert f"for {reference['most_frequent']:.0%}".replace("%", " %") in PAGE
    aucs = [one["kinds"]["spiculated"]["auc"] for one in (reference, own)]
    assert f"AUC {aucs[0]:.2f} on reference masks, {aucs[1]:.2f} on own" in PAGE
    echo = METRICS["descriptors"]["echo pattern"]["own"]
    losses = echo["log_loss"], echo["log_loss_of_frequencies"]
    assert f"log loss {losses[0]:.2f} and {losses[1]:.2f}" in PAGE
    same = METRICS["sizes"]["same_words"]
    assert f"{100 * same['8']:.0f} % of the words stay the" in PAGE
    assert f"radius of 6 pixels {100 * same['6']:.0f} %" in PAGE


def test_the_package_has_what_was_measured():
    fitted = json.loads(questions.FITTED.read_text())
    assert fitted["about"] == METRICS["about"]
    assert fitted["not_said"] == METRICS["not_said"]
    assert fitted["smallest"] == METRICS["sizes"]["smallest_radius"]
