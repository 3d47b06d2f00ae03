"""The words of the BI-RADS ultrasound lexicon for a lesion, each with its probability."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sonoseg.describe.questions import KINDS, Fitted, fitted

LEAST = 0.5
"""Probability from which the most probable word is said; below it is more likely wrong than right."""


@dataclass(frozen=True)
class Descriptor:
    """One descriptor.

    Attributes:
        word: the most probable word; None if its probability is under 0.5, if it cannot be judged, or if words for
            this descriptor agree with radiologists no better than chance (see `Fitted.not_said`).
        probabilities: of each word, 0 to 1; empty if it cannot be judged. They sum to 1, but for the margin: there
            the kinds do not exclude each other, and sum to more.
    """

    word: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rounded = {word: round(value, 3) for word, value in self.probabilities.items()}
        return {"word": self.word, "probabilities": rounded}


CANNOT_SAY = Descriptor()


@dataclass(frozen=True)
class Descriptors:
    """What a radiologist would probably say of a lesion.

    Attributes:
        shape: oval, round or irregular.
        orientation: parallel (wider than high) or not parallel (higher than wide).
        margin: circumscribed, or the most probable of indistinct, angular, microlobulated and spiculated.
        echo_pattern: anechoic, hyperechoic, complex, hypoechoic, isoechoic or heterogeneous.
        posterior_features: none, enhancement, shadowing or combined.
    """

    shape: Descriptor = CANNOT_SAY
    orientation: Descriptor = CANNOT_SAY
    margin: Descriptor = CANNOT_SAY
    echo_pattern: Descriptor = CANNOT_SAY
    posterior_features: Descriptor = CANNOT_SAY

    def named(self) -> Iterator[tuple[str, Descriptor]]:
        """Each descriptor with its name in the lexicon, such as "echo pattern"."""
        for one in fields(self):
            yield one.name.replace("_", " "), getattr(self, one.name)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: for each descriptor its word and the probabilities."""
        return {name: one.to_dict() for name, one in self.named()}


def find_descriptors(
    features: Mapping[str, float], known: Fitted | None = None
) -> Descriptors:
    """The descriptors of a lesion.

    Args:
        features: see `sonoseg.describe.features.Features.to_dict`.
        known: what was fitted; None takes that of the package.
    """
    known = known or fitted()
    found = Descriptors(
        _decided(_shape(features, known)),
        _orientation(features, known),
        _margin(features, known),
        _answered("echo pattern", "gray.echo", features, known),
        _answered("posterior features", "gray.behind", features, known),
    )
    for name in known.not_said:
        field_name = name.replace(" ", "_")
        silent = replace(getattr(found, field_name), word=None)
        found = replace(found, **{field_name: silent})
    return found


def _decided(probabilities: Mapping[str, float]) -> Descriptor:
    word, most = max(probabilities.items(), key=lambda pair: pair[1])
    return Descriptor(word if most >= LEAST else None, probabilities)


def _answered(
    question: str, needed: str, features: Mapping[str, float], known: Fitted
) -> Descriptor:
    """The answer to a question that cannot be judged without a certain feature."""
    if math.isnan(features[needed]):
        return CANNOT_SAY
    return _decided(known.regressions[question].probabilities(features))


def _shape(features: Mapping[str, float], known: Fitted) -> dict[str, float]:
    form = known.regressions["irregular"].probabilities(features)
    regular = known.regressions["round"].probabilities(features)
    probabilities = {word: form["regular"] * share for word, share in regular.items()}
    return {**probabilities, "irregular": form["irregular"]}


def _orientation(features: Mapping[str, float], known: Fitted) -> Descriptor:
    """Parallel is wider than high: the definition of BI-RADS. The outline may be wrong, so this is no certainty."""
    ratio = features["shape.height_to_width"]
    not_parallel = 1 / (1 + math.exp(-known.steepness * math.log(ratio)))
    found = _decided({"parallel": 1 - not_parallel, "not parallel": not_parallel})
    # As wide as high is neither; sizes of pixels are rounded.
    return replace(found, word=None) if math.isclose(ratio, 1) else found


def _margin(features: Mapping[str, float], known: Fitted) -> Descriptor:
    if math.isnan(features["rim.step"]):  # nothing is seen beside the lesion
        return CANNOT_SAY
    margin = known.regressions["circumscribed"].probabilities(features)
    probabilities = {"circumscribed": margin["circumscribed"]}
    for kind in KINDS:
        answer = known.regressions[kind].probabilities(features)
        probabilities[kind] = margin["not circumscribed"] * answer["yes"]
    return _decided(probabilities)
