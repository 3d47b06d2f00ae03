"""Each claim of the paper gets the answer that its interval gives, and no answer where a training was cut off early."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from sonoseg.cli import main
from sonoseg.core.counts import Counts
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.reproduction.claims import (
    HEADER,
    NOT_RUN,
    ORDERED,
    UNCLEAR,
    claims,
    rank_correlation,
)
from sonoseg.reproduction.jobs import plan
from sonoseg.reproduction.model_results import ModelResults, printed, read_results


class Made(ModelResults):
    """Results whose test Dice is known: of 20 images, each with a lesion of 100 pixels."""

    def __init__(self, model, dice, cut_off=None, start=None):
        super().__init__(model, "paper", (), "")
        tp = np.round(100 * np.asarray(dice)).astype(np.int64)
        counts = Counts(tp=tp, fp=100 - tp, fn=100 - tp, tn=np.full(len(tp), 9000))
        names = [f"{n}.png" for n in range(len(tp))]
        self.__dict__["results"] = [{"cut_off_at": cut_off, "encoder_weights": start}]
        self.__dict__["tests"] = [
            Evaluated(model, tuple(names), tuple(names), counts, counts.fp > 50)
        ]

    done = True


def answers(*rows):
    table = claims(rows, "paper")
    assert table.header == HEADER
    return {
        (row[0], row[1].split(",")[0]): dict(zip(HEADER, row, strict=True))
        for row in table.rows
    }


LOW = np.linspace(0.3, 0.7, 20)
HIGH = LOW + np.where(np.arange(20) % 2, 0.12, 0.08)
CBAM = ("CBAM is better than no attention, BCE", "model-1 − model-7")


def test_a_claim_holds_where_the_whole_interval_is_above_zero():
    row = answers(Made("model-1", HIGH), Made("model-7", LOW))[CBAM]
    assert row["here"] == pytest.approx(0.1)
    assert 0.08 < row["low"] < row["here"] < row["high"] < 0.12
    assert row["printed"] == pytest.approx((0.614 - 0.5856) * 78 / 62, abs=1e-3)
    assert row["p"] < 0.001 and row["p (Holm)"] == row["p"]
    assert row["answer"] == "holds"


def test_a_claim_does_not_hold_where_the_interval_is_below_zero():
    assert (
        answers(Made("model-1", LOW), Made("model-7", HIGH))[CBAM]["answer"]
        == "does not hold: the other way round"
    )


def test_an_interval_on_both_sides_tells_nothing():
    mixed = LOW + np.where(np.arange(20) % 2, 0.1, -0.1)
    row = answers(Made("model-1", mixed), Made("model-7", LOW))[CBAM]
    assert row["low"] < 0 < row["printed"] < row["high"]
    assert row["answer"] == UNCLEAR


def test_a_printed_difference_outside_the_interval_is_named():
    mixed = LOW + np.where(np.arange(20) % 2, 0.02, -0.02)
    row = answers(Made("model-1", mixed), Made("model-7", LOW))[CBAM]
    assert row["low"] < 0 < row["high"] < row["printed"]
    assert (
        row["answer"] == "undecided, but the printed difference is outside our interval"
    )


@pytest.mark.parametrize(
    ("epoch", "answer"),
    [(24, f"{UNCLEAR}: model-7, cut off at epoch 24"), (25, "holds")],
)
def test_what_was_cut_off_before_half_its_epochs_answers_nothing(epoch, answer):
    assert (
        answers(Made("model-1", HIGH), Made("model-7", LOW, cut_off=epoch))[CBAM][
            "answer"
        ]
        == answer
    )


def test_without_an_interval_nothing_is_decided():
    rows = Made("model-1", HIGH), Made("model-7", LOW)
    for row in rows:
        (test,) = row.tests
        row.__dict__["tests"] = [replace(test, groups=("one patient",) * 20)]
    found = answers(*rows)
    assert found[CBAM]["low"] is found[CBAM]["high"] is None
    assert found[CBAM]["p"] == 1 and found[CBAM]["answer"] == UNCLEAR
    value = found[("The Dice of Model 1, the best", "model-1")]
    assert value["low"] is None and value["answer"] == UNCLEAR
    same = answers(Made("model-19", np.zeros(20)))
    nothing = same[("Model 19 finds nothing", "model-19")]
    assert nothing["low"] is None and nothing["answer"] == "the same"


def test_what_did_not_run_says_so():
    found = answers(Made("model-1", HIGH))
    assert found[CBAM]["answer"] == NOT_RUN and found[CBAM]["here"] is None
    assert (
        found[("Model 1 is better than the rivals", "model-1 − swin-unet")]["answer"]
        == NOT_RUN
    )
    assert (
        found[("The order of Models 1 to 16", "rank correlation")]["answer"] == NOT_RUN
    )


def test_a_printed_score_is_compared_with_our_interval():
    found = answers(
        Made("model-1", np.full(20, 0.61) + np.tile([-0.1, 0.1], 10)),
        Made("model-19", LOW),
    )
    assert (
        found[("The Dice of Model 1, the best", "model-1")]["answer"]
        == "the printed Dice is within our interval"
    )
    assert (
        found[("Model 19 finds nothing", "model-19")]["answer"]
        == "does not reproduce: ours is higher"
    )
    assert found[("Model 19 finds nothing", "model-19")]["printed"] == 0
    low = answers(Made("model-1", LOW / 2))
    assert (
        low[("The Dice of Model 1, the best", "model-1")]["answer"]
        == "does not reproduce: ours is lower"
    )


def test_the_order_is_a_rank_correlation_with_the_printed_one():
    printed = {
        "model-1": 0.9,
        "model-2": 0.8,
        "model-7": 0.7,
        "model-8": 0.6,
        "model-5": 0.5,
        "model-15": 0.4,
    }
    rows = [Made(name, np.full(20, dice)) for name, dice in printed.items()]
    row = answers(*rows)[
        ("The order of Models 1 to 16", "rank correlation of 6 models")
    ]
    assert row["here"] == pytest.approx(1)
    assert row["p"] == pytest.approx(2 / 720)
    assert row["answer"] == "holds"


@pytest.mark.parametrize("count", [5, 8, 16])
def test_the_rank_correlation_is_scipy_s(count):
    generator = np.random.default_rng(count)
    one = generator.random(count)
    other = one + generator.random(count) / 2
    found, p = rank_correlation(one, other)
    theirs = spearmanr(one, other)
    assert found == pytest.approx(theirs.statistic)
    assert p == pytest.approx(theirs.pvalue, abs=0.05)


def test_the_p_of_an_order_is_never_0():
    values = np.arange(16.0)
    assert rank_correlation(values, values) == (1, 1 / 100_001)


def test_without_results_there_is_no_report(words, capsys):
    assert main([*words, "--models", "15", "--report-only"]) == 2
    assert "holds no results to report" in capsys.readouterr().err


def test_the_report_is_about_the_splits_that_have_results(words, with_model_15):
    """The default split, paper, is only for BUSI."""
    line = ["--models", "15-16", "--report-only"]
    place = words.index("--split")
    assert main([*words[:place], *words[place + 2 :], *line]) == 0
    tables = {path.name for path in (with_model_15 / "tables").iterdir()}
    assert "dice-grouped.csv" in tables and "dice-paper.csv" not in tables


def test_a_report_of_changed_results_is_refused_before_it_is_written(
    words, with_model_15, capsys
):
    out = with_model_15
    before = sorted(path.name for path in out.rglob("*"))
    report = (out / "report.md").read_text(encoding="utf-8")
    line = [*words, "--models", "15-16", "--report-only"]
    copy = out / "runs" / "model-16-grouped-0"
    shutil.copytree(out / "runs" / "model-15-grouped-0", copy)
    assert main(line) == 2
    error = capsys.readouterr().err
    assert f"{copy}: its result.json says model model-15, split grouped" in error
    assert len(error.strip().splitlines()) == 1
    shutil.rmtree(copy)

    file = out / "runs" / "model-15-grouped-0" / "test" / "cases.csv"
    table = file.read_text().splitlines()
    file.unlink()  # it is a link to what other tests read
    file.write_text("\n".join(table[:-1]))
    for more in (line, line[:-1]):  # a training is not begun either
        assert main(more) == 2
        error = capsys.readouterr().err
        assert f"{file}: has other scores than the metrics.json beside it" in error
        assert len(error.strip().splitlines()) == 1
    assert sorted(path.name for path in out.rglob("*")) == before
    assert (out / "report.md").read_text(encoding="utf-8") == report


def test_a_report_is_made_from_the_results_alone(words, with_model_15):
    out = with_model_15
    before = (out / "report.md").read_text(encoding="utf-8")
    (out / "report.md").unlink()
    short = [
        "reproduce",
        "--data",
        words[2],
        "--out",
        str(out),
        "--split",
        "grouped",
        "--report-only",
    ]
    assert main([*short, "--models", "15"]) == 0
    assert (out / "report.md").read_text(encoding="utf-8") == before
    file = out / "runs" / "model-15-grouped-0" / "result.json"
    result = json.loads(file.read_text()) | {"cut_off_at": 1}
    file.unlink()  # it is a link to what other tests read
    file.write_text(json.dumps(result))
    assert main([*short, "--models", "15-16"]) == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "Cut off by the clock: model-15 at epoch 1." in text
    assert "| model-15, cut off at epoch 1 |" in text
    assert "- model-16, split grouped: not done yet" in text
    rows = read_results(out, plan(("model-15",), ("grouped",), (0,)))
    assert replace(rows[0]).label == "model-15, cut off at epoch 1"


@pytest.mark.parametrize(("count", "exact"), [(6, 4 / 20), (16, None)])
def test_equal_values_share_a_rank(count, exact):
    """Two models that call everything lesion have the same Dice: the order of their rows must not rank them."""
    one = np.arange(float(count)) // 2
    other = np.arange(float(count))[::-1] // 3
    for order in (np.arange(count), np.arange(count)[::-1]):
        found, p = rank_correlation(one[order], other[order])
        theirs = spearmanr(one, other)
        assert found == pytest.approx(theirs.statistic)
        # Of the 20 ways to choose three of six, four are as far; SciPy's p is not exact.
        assert p == pytest.approx(exact or theirs.pvalue, abs=1e-9 if exact else 0.05)


def test_equal_models_have_no_order():
    rows = [Made(f"model-{n}", LOW) for n in range(1, 7)]
    row = answers(*rows)[
        ("The order of Models 1 to 16", "rank correlation of 6 models")
    ]
    assert row["here"] is row["p"] is None and row["answer"] == UNCLEAR


def test_encoders_that_were_trained_differently_before_answer_nothing():
    one, two = Made("model-1", HIGH, start="a"), Made("model-7", LOW, start="b")
    row = answers(one, two)[CBAM]
    assert row["answer"] == "undecided: their encoders started from different weights"
    assert row["here"] == pytest.approx(0.1)
    assert answers(one, Made("model-7", LOW, start="a"))[CBAM]["answer"] == "holds"
    assert answers(one, Made("model-7", LOW, start="none"))[CBAM]["answer"] == "holds"
    rival = ("Model 1 is better than the rivals", "model-1 − swin-unet")
    swin = Made("swin-unet", LOW, start="none")
    assert answers(one, swin)[rival]["answer"] == "holds"


def test_nor_do_they_answer_what_the_order_is():
    paper = printed("table1")
    starts = ["a"] * 15 + ["b"]
    rows = [
        Made(name, np.full(20, paper[name]["dice"]), start=start)
        for name, start in zip(ORDERED, starts, strict=True)
    ]
    order = answers(*rows)[
        "The order of Models 1 to 16", "rank correlation of 16 models"
    ]
    assert order["here"] > 0.9
    assert order["answer"] == "undecided: their encoders started from different weights"
    for row in rows:
        row.__dict__["results"] = [{"encoder_weights": "a"}]
    order = answers(*rows)[
        "The order of Models 1 to 16", "rank correlation of 16 models"
    ]
    assert order["answer"] == "holds"
