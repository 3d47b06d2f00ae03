"""Fits the malignancy head of a run, and its rules, to lesions whose label is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sonoseg.describe.malignancy import Vector
from sonoseg.describe.malignancy_head import (
    FARTHEST,
    MalignancyHead,
    Rules,
    logit,
    sigmoid,
)

HEADS, WIDTH = 10, 16
"""Networks in the ensemble, and the channels of their hidden layer."""
DROPPED = 0.25, 0.5
"""Shares of the features and of the hidden channels that training drops."""
ROUNDS, BATCH, RATE, DECAY, SMOOTHING = 25, 64, 2e-3, 0.1, 0.05
"""Passes over the lesions, lesions in a step, learning rate and weight decay of AdamW, and label smoothing."""
ACCURATE, MOST_WITHHELD = 0.9, 0.3
"""The band is the narrowest that makes this share of the answers right, but withholds no more than that share."""
SENSITIVE = 0.95
SMALLEST = 1e-4
"""Least deviation of a feature, so that nothing is divided by 0."""


@dataclass(frozen=True)
class Lesions:
    """N outlined lesions. One lesion may have several rows, such as for two outlines; they belong to one group.

    Attributes:
        vectors: (N, D), see `pool_maps`.
        malignant: (N,) bool.
        groups: N names of patients, or of groups of near-copies.
        is_own: (N,) bool, the outline is the network's own, as in use. Calibration and rules look at these rows only.
        outline: (N,) mean probability of the lesion's pixels.
        dice: (N,) of the outline and the reference mask.
    """

    vectors: Vector
    malignant: NDArray[np.bool_]
    groups: NDArray[np.str_]
    is_own: NDArray[np.bool_]
    outline: Vector
    dice: Vector

    def pick(self, rows: NDArray[Any]) -> Lesions:
        """The lesions of these rows, numbers or a mask (N,)."""
        return Lesions(
            self.vectors[rows],
            self.malignant[rows],
            self.groups[rows],
            self.is_own[rows],
            self.outline[rows],
            self.dice[rows],
        )

    @classmethod
    def join(cls, parts: Sequence[Lesions]) -> Lesions:
        """All rows of several tables."""
        return cls(
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.malignant for part in parts]),
            np.concatenate([part.groups for part in parts]),
            np.concatenate([part.is_own for part in parts]),
            np.concatenate([part.outline for part in parts]),
            np.concatenate([part.dice for part in parts]),
        )


@dataclass(frozen=True)
class Fitted:
    """A head, and what its own validation says of it.

    Attributes:
        head: with its rules.
        logits: (N,) of each training lesion, the mean of the heads that have not seen its patient; not calibrated.
            NaN where all have.
    """

    head: MalignancyHead
    logits: NDArray[np.float64]


def fit_malignancy(lesions: Lesions, seed: int = 0) -> Fitted:
    """Fits the ensemble, its calibration and its rules.

    Each head learns from its own resample of the patients. A head is validated on the patients that its resample has
    left out, about a third ("out of bag", Breiman 1996). So every patient is in training and in validation, but never
    in both for one head.

    Args:
        lesions: of at least two groups, benign and malignant ones.
        seed: of resamples and training.
    """
    random = np.random.default_rng(seed)
    names, member = np.unique(lesions.groups, return_inverse=True)
    chances = np.full(len(names), 1 / len(names))
    draws = random.multinomial(len(names), chances, HEADS)[:, member]
    mean = lesions.vectors.mean(0)
    deviation = np.maximum(lesions.vectors.std(0), SMALLEST)
    weights = _train(lesions, mean, deviation, draws, seed)
    head = MalignancyHead(mean, deviation, *weights)
    every = head.logits(lesions.vectors)
    is_out = draws.T == 0
    counts = is_out.sum(1)
    sums = np.where(is_out, every, 0).sum(1)
    logits = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    rows = lesions.is_own & (counts > 0)
    rules = fit_rules(logits[rows], lesions.pick(rows))
    return Fitted(replace(head, rules=rules), logits)


def _train(
    lesions: Lesions,
    mean: Vector,
    deviation: Vector,
    draws: NDArray[np.int64],
    seed: int,
) -> tuple[Vector, Vector, Vector, Vector]:
    """The weights of all heads, trained side by side: hidden, its bias, out, its bias."""
    generator = torch.Generator().manual_seed(seed)
    scaled = ((lesions.vectors - mean) / deviation).clip(-FARTHEST, FARTHEST)
    features = torch.from_numpy(scaled)
    targets = torch.from_numpy(lesions.malignant.astype(np.float32))
    targets = targets * (1 - SMOOTHING) + SMOOTHING / 2
    chances = torch.from_numpy(draws.astype(np.float32))
    heads, size = len(draws), features.shape[1]
    weights = [
        _uniform((heads, size, WIDTH), size, generator),
        _uniform((heads, 1, WIDTH), size, generator),
        _uniform((heads, WIDTH, 1), WIDTH, generator),
        _uniform((heads, 1, 1), WIDTH, generator),
    ]
    hidden, hidden_bias, out, out_bias = weights
    steps = max(1, ROUNDS * len(features) // BATCH)
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        rows = torch.multinomial(chances, BATCH, True, generator=generator)
        inner = _dropped(features[rows], DROPPED[0], generator) @ hidden + hidden_bias
        inner = _dropped(inner.relu(), DROPPED[1], generator)
        logits = (inner @ out + out_bias)[..., 0]
        loss = F.binary_cross_entropy_with_logits(logits, targets[rows])
        # The heads share no weights: the sum of their means trains each as if it were alone.
        optimizer.zero_grad()
        (loss * heads).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return (
        hidden.detach().numpy(),
        hidden_bias.detach()[:, 0].numpy(),
        out.detach()[..., 0].numpy(),
        out_bias.detach()[:, 0, 0].numpy(),
    )


def _uniform(
    shape: tuple[int, ...], inputs: int, generator: torch.Generator
) -> nn.Parameter:
    """Weights as `nn.Linear` starts with."""
    limit = inputs**-0.5
    return nn.Parameter((torch.rand(shape, generator=generator) * 2 - 1) * limit)


def _dropped(values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    kept = torch.rand(values.shape, generator=generator) >= share
    return values * kept / (1 - share)


def fit_rules(logits: NDArray[np.float64], lesions: Lesions) -> Rules:
    """Calibration and rules from the out-of-bag logits (N,) of N lesions with their own outlines."""
    slope, offset = fit_platt(logits, lesions.malignant)
    probability = sigmoid(slope * logits + offset)
    malignant = lesions.malignant
    balanced = balanced_threshold(probability, malignant)
    missed = int((1 - SENSITIVE) * malignant.sum())
    sensitive = float(np.sort(probability[malignant])[missed])
    return Rules(
        slope=slope,
        offset=offset,
        balanced=balanced,
        sensitive=sensitive,
        band=_band(probability, malignant, balanced),
        least_outline=_least_outline(lesions.outline, lesions.dice),
    )


def fit_platt(
    logits: NDArray[np.float64], malignant: NDArray[np.bool_]
) -> tuple[float, float]:
    """Slope and offset with the largest likelihood (Platt 1999)."""
    from scipy.optimize import minimize

    sign = np.where(malignant, 1.0, -1.0)

    def loss(values: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sign * (values[0] * logits + values[1])).mean())

    # A slope of 0 or below would turn the order of the lesions around.
    found = minimize(loss, [1.0, 0.0], bounds=[(0.05, 20), (-20, 20)])
    return float(found.x[0]), float(found.x[1])


def balanced_threshold(
    probability: NDArray[np.float64], malignant: NDArray[np.bool_]
) -> float:
    """The probability at which sensitivity + specificity is largest (Youden 1950)."""
    order = np.argsort(-probability, kind="stable")
    found = np.cumsum(malignant[order]) / malignant.sum()
    false = np.cumsum(~malignant[order]) / (~malignant).sum()
    return float(probability[order][np.argmax(found - false)])


def _band(
    probability: NDArray[np.float64], malignant: NDArray[np.bool_], balanced: float
) -> float:
    """The half width, in logits, of the band around the threshold in which the answer is withheld."""
    inside = np.clip(probability, 1e-9, 1 - 1e-9)
    distance = np.log(inside) - np.log1p(-inside) - logit(balanced)
    is_right = (distance >= 0) == malignant
    widest = float(np.quantile(np.abs(distance), MOST_WITHHELD))
    for band in np.linspace(0, widest, 31):
        answered = np.abs(distance) >= band
        if is_right[answered].mean() >= ACCURATE:
            return float(band)
    return widest


def _least_outline(outline: Vector, dice: Vector) -> float:
    """The largest mean probability below which at least half of the outlines are poor (Dice under 0.5)."""
    least = 0.0
    for limit in np.arange(0.5, 1.0, 0.01):
        below = outline < limit
        if below.any() and (dice[below] < 0.5).mean() >= 0.5:
            least = float(limit)
    return least
