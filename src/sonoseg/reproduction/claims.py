"""The paper's claims, one row each: what it prints, what was found here, and whether the claim holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.evaluate.compare import holm, signed_rank_p
from sonoseg.models.catalog import RIVALS, TABLE_1, Recipe
from sonoseg.report.tables import Cell
from sonoseg.reproduction.paper_tables import REFERENCE, Table
from sonoseg.reproduction.results import PAPER_LESIONS, Row, printed

HEADER = ("the paper", "compared", "printed", "here", "low", "high", "p", "p (Holm)", "answer")
NOT_RUN, UNCLEAR = "not run", "cannot be told"
TOO_FAR = "the printed difference is outside our interval"
FEWEST_EPOCHS = Recipe().epochs // 2
"""A training that was cut off before this epoch answers nothing."""
ORDERED = tuple(row.name for row in TABLE_1[:16])
"""The models of which the paper gives an order; it prints 17 to 20 as failed."""
VALUES = (
    ("The Dice of Model 1, the best", "model-1"),
    ("Model 19 finds nothing", "model-19"),
    ("Model 20 calls everything lesion", "model-20"),
    ("Model 17 calls everything lesion", "model-17"),
    ("Model 18 calls everything lesion", "model-18"),
)
"""Claim, model: its Dice `paper` beside the printed one."""
PAIRS = (
    ("CBAM is better than no attention, BCE", "model-1", "model-7"),
    ("CBAM is better than no attention, Dice loss", "model-2", "model-8"),
    ("CBAM is better than Non-Local, BCE", "model-1", "model-3"),
    ("CBAM is better than Non-Local, Dice loss", "model-2", "model-4"),
    ("Non-Local is better than no attention, BCE", "model-3", "model-7"),
    ("No attention is better than Non-Local, Dice loss", "model-8", "model-4"),
    ("BCE is better than Dice loss, CBAM", "model-1", "model-2"),
    ("BCE is better than Dice loss, Non-Local", "model-3", "model-4"),
    ("BCE is better than Dice loss, no attention", "model-7", "model-8"),
    ("Three encoders are better than two, BCE", "model-7", "model-19"),
    ("Three encoders are better than two, Dice loss", "model-8", "model-20"),
    ("Trained encoders are better than frozen, CBAM, BCE", "model-1", "model-12"),
    ("Trained encoders are better than frozen, CBAM, Dice loss", "model-2", "model-10"),
    ("Trained encoders are better than frozen, Non-Local, BCE", "model-3", "model-11"),
    ("Trained encoders are better than frozen, Non-Local, Dice loss", "model-4", "model-9"),
    ("Trained encoders are better than frozen, no attention, BCE", "model-7", "model-6"),
    ("Trained encoders are better than frozen, no attention, Dice loss", "model-8", "model-5"),
)
"""Claim, the model that the paper prints as the better one, the other one."""


def claims(rows: Sequence[Row], split: str) -> Table:
    """What became of each claim about Dice, on one split."""
    by_name = {row.model: row for row in rows if row.done}
    paper = {**printed("table5"), **printed("table1")}
    rivals = [
        ("Model 1 is better than the rivals", REFERENCE, experiment.name) for experiment in RIVALS
    ]
    cells = [_order(by_name, paper)]
    for claim, model in VALUES:
        cells.append(_value(claim, model, by_name.get(model), paper))
    pairs = [_pair(*each, by_name, paper) for each in (*PAIRS, *rivals)]
    cells += _corrected(pairs)
    caption = (
        "Differences are of Dice lesion on the test images, image by image, with 95 % interval (near-copies drawn"
        " together), Wilcoxon's signed-rank test, and Holm's correction over the differences; printed ones are × 78/62."
        " Values are Dice paper. A claim holds, or does not, where the interval says so. Intervals are over images:"
        f" another seed may change more. A training that was cut off before epoch {FEWEST_EPOCHS} answers nothing."
    )
    return Table(f"claims-{split}", f"Does the paper hold? Split {split}", caption, HEADER, cells)


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Spearman's rank correlation of (N,) and (N,) values without ties, and its two-sided p.

    The p is exact up to eight values, above that from 100,000 random orders of a fixed seed.
    """
    ranks, others = (values.argsort().argsort() for values in (one, other))
    count = len(ranks)
    if count <= 8:
        orders = np.array(list(permutations(range(count))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(count), (100_000, 1)), axis=1)

    def correlation(order: NDArray[np.int64]) -> NDArray[np.float64]:
        squares = ((order - others) ** 2).sum(-1)
        return np.asarray(1 - 6 * squares / (count * (count**2 - 1)))

    found = float(correlation(ranks))
    return found, float((np.abs(correlation(orders)) >= abs(found) - 1e-12).mean())


def _order(
    by_name: Mapping[str, Row], paper: Mapping[str, Mapping[str, float | None]]
) -> list[Cell]:
    """Whether the models come in the printed order."""
    claim = "The order of Models 1 to 16"
    names = [name for name in ORDERED if name in by_name]
    if len(names) < 3:
        return [claim, "rank correlation", None, None, None, None, None, None, NOT_RUN]
    own = np.array([by_name[name].scores("paper", "dice").mean() for name in names])
    theirs = np.array([paper[name]["dice"] for name in names], dtype=np.float64)
    found, p = rank_correlation(own, theirs)
    answer = UNCLEAR
    if p < 0.05:
        answer = "holds" if found > 0 else "does not hold"
    return [
        claim,
        f"rank correlation of {len(names)} models",
        1.0,
        found,
        None,
        None,
        p,
        None,
        answer,
    ]


def _value(
    claim: str, model: str, row: Row | None, paper: Mapping[str, Mapping[str, float | None]]
) -> list[Cell]:
    """Whether a printed Dice lies in our interval."""
    theirs = paper[model]["dice"]
    assert theirs is not None
    if row is None:
        return [claim, model, theirs, None, None, None, None, None, NOT_RUN]
    own = float(row.scores("paper", "dice").mean())
    low, high = row.interval("paper")
    if low > theirs:
        answer = "does not reproduce: ours is higher"
    elif high < theirs:
        answer = "does not reproduce: ours is lower"
    else:
        answer = "the printed Dice is within our interval"
    return [claim, row.label, theirs, own, low, high, None, None, answer]


def _pair(
    claim: str,
    better: str,
    other: str,
    by_name: Mapping[str, Row],
    paper: Mapping[str, Mapping[str, float | None]],
) -> list[Cell]:
    """Whether the model that the paper prints as the better one is the better one."""
    ends = [paper[name]["dice"] for name in (better, other)]
    assert ends[0] is not None and ends[1] is not None
    theirs = (ends[0] - ends[1]) / PAPER_LESIONS
    if better not in by_name or other not in by_name:
        return [claim, f"{better} − {other}", theirs, None, None, None, None, None, NOT_RUN]
    one, two = by_name[better], by_name[other]
    difference = one.scores("lesion", "dice") - two.scores("lesion", "dice")
    low, high = bootstrap_interval(difference, one.groups("lesion"))
    p = signed_rank_p(difference)
    early = [row for row in (one, two) if row.cut_off is not None and row.cut_off < FEWEST_EPOCHS]
    if early:
        answer = f"{UNCLEAR}: {early[0].label}"
    elif low > 0:
        answer = "holds"
    elif high < 0:
        answer = "does not hold: the other way round"
    elif not low <= theirs <= high:
        answer = f"{UNCLEAR}, but {TOO_FAR}"
    else:
        answer = UNCLEAR
    return [
        claim,
        f"{better} − {other}",
        theirs,
        float(difference.mean()),
        low,
        high,
        p,
        None,
        answer,
    ]


def _corrected(pairs: Sequence[list[Cell]]) -> list[list[Cell]]:
    """The rows with Holm's correction over those that have a p."""
    column = HEADER.index("p")
    tested = [cells for cells in pairs if cells[column] is not None]
    for cells, p in zip(tested, holm([float(cells[column] or 0) for cells in tested]), strict=True):
        cells[column + 1] = p
    return list(pairs)
