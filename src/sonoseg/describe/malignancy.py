"""How probable it is that an outlined lesion is malignant: a number with its interval, or "cannot say".

The head is a small ensemble on the network's own maps, averaged over one lesion, its rim and the tissue behind it.
`sonoseg.deploy.fit_malignancy` fits it; this module applies it, without PyTorch. docs/malignancy.md says what the
number means. It is no diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Vector = NDArray[np.float32]

CELLS = 4
"""Cells of the region grid on each side of a place of the coarsest map."""
RIM = 0.047
"""Width of the rim on either side of the outline, as a share of the image's side."""
Z = 1.96
"""Standard deviations on either side of the mean in a 95 % interval."""
FARTHEST = 5.0
"""Features are limited to so many standard deviations from their mean."""


@dataclass(frozen=True)
class Malignancy:
    """What the head says of one lesion.

    Attributes:
        probability: calibrated, that the lesion is malignant in data like the training data; 0 to 1.
        low, high: ends of its 95 % interval over heads that were fitted to resampled patients. It says how much the
            number depends on the patients in the training data, and nothing about other reasons to be wrong.
        withheld: why the number must not be used ("cannot say"), in words; None if nothing speaks against it.
    """

    probability: float
    low: float
    high: float
    withheld: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON. The numbers are null where the answer is withheld."""
        if self.withheld is not None:
            return {"probability": None, "interval": None, "withheld": self.withheld}
        interval = [round(self.low, 4), round(self.high, 4)]
        return {
            "probability": round(self.probability, 4),
            "interval": interval,
            "withheld": None,
        }


def regions(mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """The lesion, its rim and the tissue behind it, as shares of the cells of a grid.

    Args:
        mask: (H, W), one lesion.
        side: of the grid.

    Returns:
        (3, side, side), 0 to 1. The rim lies on both sides of the outline. The tissue behind is as wide as the lesion,
        and as deep as the lesion is high.
    """
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    small = picture.resize((side, side), Image.Resampling.BOX)
    lesion: NDArray[np.float32] = np.asarray(small, np.float32) / np.float32(255)
    width = max(1, round(RIM * side))
    rim = _grown(lesion, width) - (1 - _grown(1 - lesion, width))
    behind = np.zeros_like(lesion)
    core = lesion >= min(0.5, lesion.max())
    rows = np.arange(side)[:, None]
    lowest = np.where(core, rows, -1).max(0)
    bottom, top = lowest.max(), int(np.flatnonzero(core.any(1))[0])
    height = max(int(bottom) - top, CELLS)
    behind[(rows > lowest) & (rows <= lowest + height) & (lowest >= 0)] = 1
    return np.stack([lesion, rim, behind])


def _grown(share: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Each cell takes the largest value among its four neighbours, `width` times."""
    for _ in range(width):
        wide = np.pad(share, 1)
        across = np.maximum(wide[1:-1, :-2], wide[1:-1, 2:])
        down = np.maximum(wide[:-2, 1:-1], wide[2:, 1:-1])
        share = np.maximum(share, np.maximum(across, down))
    return share


def pool_maps(
    maps: Sequence[NDArray[np.float32]], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The mean of each channel over the lesion, its rim and the tissue behind it.

    Args:
        maps: of the encoder, each (C, h, w), of any sizes that divide each other.
        mask: (H, W), one lesion of the same image.

    Returns:
        (D,), map by map, in each the three regions one after the other. 0 where a region is outside the image.
    """
    coarsest = min(values.shape[1] for values in maps)
    finest = regions(mask, CELLS * coarsest)
    pooled = []
    for values in maps:
        channels, side = values.shape[0], values.shape[1]
        step = finest.shape[1] // side
        cells = finest.reshape(3, side, step, side, step).mean((2, 4)).reshape(3, -1)
        weights = cells / (cells.sum(1, keepdims=True) + 1e-3)
        flat = values.reshape(channels, -1).astype(np.float32)
        pooled.append((weights @ flat.T).ravel())
    return np.concatenate(pooled)


@dataclass(frozen=True)
class Rules:
    """Numbers that were chosen on validation patients.

    Attributes:
        slope, offset: calibration: the logit is slope × (mean logit of the heads) + offset (Platt 1999).
        balanced: probability at which sensitivity + specificity is largest.
        sensitive: the largest probability with a sensitivity of at least 0.95.
        band: nearer than this to `balanced`, in logits, the answer is withheld.
        least_outline: lesions with a smaller mean probability of their pixels have a poor outline; withheld.
    """

    slope: float = 1.0
    offset: float = 0.0
    balanced: float = 0.5
    sensitive: float = 0.5
    band: float = 0.0
    least_outline: float = 0.0

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The rules that a file holds.

        Raises:
            ValueError: a number is missing, no number, not finite, or out of its range.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or not set(names) <= values.keys():
            raise ValueError("its malignancy rules are not complete")
        numbers = {name: values[name] for name in names}
        for name, number in numbers.items():
            low, high = _RANGES[name]
            is_number = isinstance(number, (int, float)) and not isinstance(
                number, bool
            )
            if not is_number or not low <= number <= high:  # false for NaN too
                raise ValueError(
                    f"its malignancy rule {name} is not from {low} to {high}"
                )
        return cls(**numbers)


_RANGES = {
    "slope": (0.01, 100),
    "offset": (-100, 100),
    "balanced": (0, 1),
    "sensitive": (0, 1),
    "band": (0, 100),
    "least_outline": (0, 1),
}


@dataclass(frozen=True)
class MalignancyHead:
    """K small networks with one hidden layer, fitted to resampled patients (bagging, Breiman 1996), and their rules.

    Attributes:
        mean, deviation: (D,), of the training features.
        hidden: (K, D, H), and its bias (K, H).
        out: (K, H), and its bias (K,).
        rules: see `Rules`.
    """

    mean: Vector
    deviation: Vector
    hidden: Vector
    hidden_bias: Vector
    out: Vector
    out_bias: Vector
    rules: Rules = Rules()

    def logits(self, vectors: Vector) -> NDArray[np.float32]:
        """(N, D) → (N, K), not calibrated."""
        scaled = (vectors - self.mean) / self.deviation
        scaled = np.clip(scaled, -FARTHEST, FARTHEST)
        hidden = np.maximum(scaled @ self.hidden + self.hidden_bias[:, None], 0)
        logits: NDArray[np.float32] = (hidden @ self.out[:, :, None])[..., 0].T
        return logits + self.out_bias

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The heads' logits (N, K) → (N, 3): calibrated probability, and the low and the high end of its interval."""
        rules = self.rules
        calibrated = rules.slope * logits + rules.offset
        mean, spread = calibrated.mean(1), Z * calibrated.std(1)
        return sigmoid(np.stack([mean, mean - spread, mean + spread], 1))

    def judge(
        self, vector: Vector, outline: float, unfamiliarity: float | None = None
    ) -> Malignancy:
        """The answer for one lesion.

        Args:
            vector: (D,), see `pool_maps`.
            outline: mean probability of the lesion's pixels, 0 to 1.
            unfamiliarity: of the image; over 1 it is unlike the training images.
        """
        found = self.probabilities(self.logits(vector[None]))[0]
        probability, low, high = (float(number) for number in found)
        return Malignancy(
            probability,
            low,
            high,
            self.why_withheld(probability, outline, unfamiliarity),
        )

    def why_withheld(
        self, probability: float, outline: float, unfamiliarity: float | None
    ) -> str | None:
        """The first reason against an answer, in words; None if there is none."""
        if unfamiliarity is not None and unfamiliarity > 1:
            return "the image is unlike the training images"
        if outline < self.rules.least_outline:
            return "the outline is uncertain"
        distance = logit(probability) - logit(self.rules.balanced)
        if abs(distance) < self.rules.band:
            return "benign and malignant are about equally probable"
        return None

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, for a file."""
        names = [field.name for field in fields(self) if field.name != "rules"]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], rules: Rules) -> Self:
        """The head of arrays that a file holds.

        Raises:
            ValueError: an array is missing, does not fit the others, or holds numbers that are not finite.
        """
        names = [field.name for field in fields(cls) if field.name != "rules"]
        arrays = {name: np.asarray(tensors.get(name, ()), np.float32) for name in names}
        shape = arrays["hidden"].shape
        if len(shape) != 3:
            raise ValueError("its malignancy head has no hidden layer")
        heads, features, width = shape
        wanted = [(features,), (features,), shape, (heads, width), (heads, width)]
        wanted.append((heads,))
        for name, expected in zip(names, wanted, strict=True):
            values = arrays[name]
            if values.shape != expected or not np.isfinite(values).all():
                raise ValueError(f"its malignancy head's {name} is not usable")
        if not (arrays["deviation"] > 0).all():
            raise ValueError("its malignancy head's deviation is not above 0")
        return cls(**arrays, rules=rules)


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    """1 / (1 + e^-x), without overflow."""
    found: NDArray[Any] = np.exp(-np.logaddexp(0, -values))
    return found


def logit(probability: float) -> float:
    """The inverse of `sigmoid`; 0 and 1 become large finite numbers."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return float(np.log(inside) - np.log1p(-inside))
