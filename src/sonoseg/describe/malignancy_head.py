"""The malignancy head: a small ensemble on the features of a lesion, and the rules that make an answer of it.

`sonoseg.deploy.fit_malignancy` fits it; this module applies it, without PyTorch.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.malignancy import Malignancy, Vector, pool_maps

HEAD_KEY = "sonoseg.malignancy"
"""Of the head in a bundle's metadata."""
Z = 1.96
"""Standard deviations on either side of the mean in a 95 % interval. Of ten heads, it holds 89 % of further ones."""
FARTHEST = 5.0
"""Features are limited to so many standard deviations from their mean."""
_LARGEST = 1 << 24
"""Characters of a head in a bundle; ours has 230,000."""


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
            threshold = f"{self.rules.balanced:.2g}"
            return f"the probability is too near the threshold ({threshold}) to choose benign or malignant"
        return None

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, for a file."""
        names = [field.name for field in fields(self) if field.name != "rules"]
        return {name: getattr(self, name) for name in names}

    def to_text(self) -> str:
        """The head as it is stored in a bundle: JSON with the arrays in 16 bits, base64."""
        arrays = {}
        for name, values in self.to_tensors().items():
            content = base64.b64encode(values.astype("<f2").tobytes()).decode("ascii")
            arrays[name] = {"shape": list(values.shape), "data": content}
        rules = {field.name: getattr(self.rules, field.name) for field in fields(Rules)}
        return json.dumps({"rules": rules, "arrays": arrays})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The head that `to_text` wrote.

        Raises:
            ValueError: it is not one; says why.
        """
        if len(text) > _LARGEST:
            raise ValueError("its malignancy head is too large")
        try:
            stored = json.loads(text)
            arrays = {}
            for name, value in stored["arrays"].items():
                content = base64.b64decode(value["data"], validate=True)
                numbers = np.frombuffer(content, "<f2").astype(np.float32)
                arrays[name] = numbers.reshape(value["shape"])
            rules = stored["rules"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ValueError("its malignancy head cannot be read") from None
        return cls.from_tensors(arrays, Rules.from_dict(rules))

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


@dataclass(frozen=True)
class Judge:
    """What is needed to judge the lesions of one image.

    Attributes:
        head: of the network.
        maps: of the encoder for this image, each (C, h, w); see `pool_maps`.
        unfamiliarity: of the image; over 1 it is unlike the training images. None if it is not known.
    """

    head: MalignancyHead
    maps: tuple[Vector, ...]
    unfamiliarity: float | None = None

    def __call__(self, lesion: NDArray[np.bool_], outline: float) -> Malignancy:
        """The answer for one lesion.

        Args:
            lesion: (H, W), its mask in the image.
            outline: mean probability of its pixels, 0 to 1.
        """
        head = self.head
        found = head.probabilities(head.logits(pool_maps(self.maps, lesion)[None]))[0]
        probability, low, high = (float(number) for number in found)
        reason = head.why_withheld(probability, outline, self.unfamiliarity)
        return Malignancy(probability, low, high, reason)


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    """1 / (1 + e^-x), without overflow."""
    found: NDArray[Any] = np.exp(-np.logaddexp(0, -values))
    return found


def logit(probability: float) -> float:
    """The inverse of `sigmoid`; 0 and 1 become large finite numbers."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
