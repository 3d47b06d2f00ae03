"""The questions about a lesion that are answered by logistic regression on measured features, and their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.inputs import read_json

FITTED = Path(__file__).parent / "descriptors.json"
"""What `sonoseg descriptors` fitted, and what it was fitted on."""
KINDS = ("indistinct", "angular", "microlobulated", "spiculated")
"""How a margin that is not circumscribed can be; a radiologist may use several of these words."""
ECHO_PATTERNS = (
    "anechoic",
    "hyperechoic",
    "complex",
    "hypoechoic",
    "isoechoic",
    "heterogeneous",
)


@dataclass(frozen=True)
class Question:
    """A question, its possible answers, and the features on which the answer may depend."""

    words: tuple[str, ...]
    features: tuple[str, ...]


_OUTLINE = ("shape.turning", "shape.solidity", "shape.bumps")
_RIM = (
    "rim.step",
    "rim.step_least",
    "rim.clear_share",
    "rim.sharpness",
    "rim.jitter",
    "rim.halo",
    "rim.spikes",
)
_KIND = ("shape.turning", "shape.sharpest", "shape.lobes", "shape.bumps")
_KIND_OF_RIM = ("rim.step", "rim.sharpness", "rim.spikes")
QUESTIONS = {
    "irregular": Question(
        ("regular", "irregular"),
        (
            *_OUTLINE,
            "shape.ellipse_overlap",
            "shape.sharpest",
            "shape.lobes",
            "shape.circularity",
        ),
    ),
    "round": Question(("oval", "round"), ("shape.axis_ratio",)),
    "circumscribed": Question(
        ("not circumscribed", "circumscribed"),
        (*_OUTLINE, "shape.height_to_width", *_RIM),
    ),
    **{kind: Question(("no", "yes"), (*_KIND, *_KIND_OF_RIM)) for kind in KINDS},
    "echo pattern": Question(
        ECHO_PATTERNS,
        (
            "gray.echo",
            "gray.dark",
            "gray.middle",
            "gray.bright",
            "gray.black_share",
            "gray.unevenness",
            "gray.grain",
            "gray.around",
            "gray.behind",
            "rim.step",
            "rim.clear_share",
            "rim.jitter",
        ),
    ),
    "posterior features": Question(
        ("none", "enhancement", "shadowing", "combined"),
        (
            "gray.behind",
            "gray.behind_least",
            "gray.behind_most",
            "gray.behind_middle",
            "gray.echo",
            "gray.black_share",
        ),
    ),
}
"""The features of each question were chosen before fitting, by what the word means."""


@dataclass(frozen=True)
class Regression:
    """A fitted multinomial logistic regression with W words and F features.

    Attributes:
        words: the possible answers.
        features: names, see `sonoseg.describe.features.Features.to_dict`.
        mean, scale: (F,), mean and standard deviation of the features over the lesions it was fitted on.
        weights: (W, F), per standard deviation of a feature.
        bias: (W,).
    """

    words: tuple[str, ...]
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def probabilities(self, features: Mapping[str, float]) -> dict[str, float]:
        """The probability of each word, 0 to 1; a feature that is NaN counts as its mean."""
        standard = []  # in plain Python: for one lesion that is faster than arrays
        for name, mean, scale in zip(self.features, self.mean, self.scale, strict=True):
            value = (features[name] - mean) / scale
            standard.append(0.0 if math.isnan(value) else value)
        logits = []
        for weights, bias in zip(self.weights, self.bias, strict=True):
            products = [w * value for w, value in zip(weights, standard, strict=True)]
            logits.append(bias + sum(products))
        most = max(logits)
        odds = [math.exp(logit - most) for logit in logits]
        total = sum(odds)
        return {word: one / total for word, one in zip(self.words, odds, strict=True)}

    def rows(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, F) features → (N, W) probabilities."""
        standard = np.nan_to_num((values - np.array(self.mean)) / np.array(self.scale))
        logits = standard @ np.array(self.weights).T + np.array(self.bias)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        probabilities: NDArray[np.float64] = odds / odds.sum(1, keepdims=True)
        return probabilities

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Regression:
        """From JSON."""
        return cls(
            words=tuple(values["words"]),
            features=tuple(values["features"]),
            mean=tuple(values["mean"]),
            scale=tuple(values["scale"]),
            weights=tuple(tuple(row) for row in values["weights"]),
            bias=tuple(values["bias"]),
        )


@dataclass(frozen=True)
class Fitted:
    """All that descriptors need besides the features.

    Attributes:
        regressions: one for each of `QUESTIONS`.
        steepness: of the orientation: how fast its probability changes with log(height / width).
        smallest: radius in pixels of the smallest lesion that is described.
        not_said: names of descriptors that agree with radiologists no better than chance, as far as is known. They
            have probabilities, but no word.
    """

    regressions: Mapping[str, Regression]
    steepness: float
    smallest: float
    not_said: tuple[str, ...] = ()

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> Fitted:
        """From JSON."""
        regressions = {}
        for name in QUESTIONS:
            regressions[name] = Regression.of_dict(values["questions"][name])
        not_said = tuple(values["not_said"])
        return cls(regressions, values["steepness"], values["smallest"], not_said)


@lru_cache(maxsize=1)
def fitted() -> Fitted:
    """What is part of the package; read once."""
    return Fitted.of_dict(read_json(FITTED))


def columns(
    features: Sequence[Mapping[str, float]], names: Sequence[str]
) -> NDArray[np.float64]:
    """The features `names` of N lesions as (N, F)."""
    return np.array([[one[name] for name in names] for one in features], np.float64)
