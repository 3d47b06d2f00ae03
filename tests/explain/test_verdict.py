"""Whether the claim holds: the answers to intervals on either side, across, and missing."""

from __future__ import annotations

from typing import Any

import pytest

from sonoseg.explain.verdict import claim_rows


def measure(low: float | None, high: float | None, groups: int = 50) -> dict[str, Any]:
    if low is None or high is None:
        return {"mean": None, "interval": None, "n": 0, "groups": 0}
    mean = (low + high) / 2
    return {"mean": mean, "interval": [low, high], "n": 50, "groups": groups}


UP, DOWN, ACROSS, MISSING, FEW, NO_INTERVAL, CONSTANT, UNKNOWN = (
    measure(0.1, 0.2),
    measure(-0.2, -0.1),
    measure(-0.1, 0.1),
    measure(None, None),
    measure(0.1, 0.2, groups=4),
    measure(0.1, 0.2, groups=1) | {"interval": None},
    measure(0.1, 0.1) | {"interval": None},
    {"mean": 0.15, "interval": [0.1, 0.2], "n": 50},
)


def answers(**changes: dict[str, Any]) -> list[str | None]:
    good = {
        "share_gain": UP,
        "deletion_gain": UP,
        "insertion_gain": UP,
        "similarity_all": ACROSS,
    }
    ((model, layer, *rest),) = claim_rows(
        [{"model": "model-1", "layers": {"stage4": good | changes}}]
    )
    assert (model, layer) == ("model-1", "stage4")
    return rest  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (UP, "yes"),
        (DOWN, "no"),
        (ACROSS, "unclear"),
        (MISSING, None),
        (FEW, "unclear"),
        (NO_INTERVAL, "unclear"),
        (CONSTANT, "yes"),
        (UNKNOWN, "unclear"),
    ],
)
def test_more_heat_than_a_flat_map(found: dict[str, Any], answer: str | None) -> None:
    assert answers(share_gain=found) == [answer, "yes", "yes"]


@pytest.mark.parametrize(
    ("deletion", "insertion", "answer"),
    [
        (UP, UP, "yes"),
        (UP, DOWN, "no"),
        (ACROSS, DOWN, "no"),
        (ACROSS, UP, "unclear"),
        (UP, FEW, "unclear"),
        (MISSING, MISSING, None),
    ],
)
def test_better_than_random_asks_for_both_curves(
    deletion: dict[str, Any], insertion: dict[str, Any], answer: str | None
) -> None:
    assert answers(deletion_gain=deletion, insertion_gain=insertion)[1] == answer


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (measure(-0.3, 0.4), "yes"),
        (measure(0.4, 0.6), "unclear"),
        (measure(0.6, 0.9), "no"),
        (measure(1.0, 1.0) | {"interval": None}, "no"),
        (MISSING, None),
    ],
)
def test_a_map_that_survives_random_weights_does_not_change(
    found: dict[str, Any], answer: str | None
) -> None:
    assert answers(similarity_all=found)[2] == answer


def test_a_gain_of_nothing_is_no_gain() -> None:
    assert answers(share_gain=measure(0.0, 0.0) | {"interval": None})[0] == "no"


def test_there_is_a_row_a_model_and_layer() -> None:
    measures = {
        "share_gain": UP,
        "deletion_gain": UP,
        "insertion_gain": UP,
        "similarity_all": UP,
    }
    layers = {"bottleneck": measures, "stage1": measures}
    rows = claim_rows(
        [{"model": name, "layers": layers} for name in ("model-1", "swin-unet")]
    )
    assert [row[:2] for row in rows] == [
        ["model-1", "bottleneck"],
        ["model-1", "stage1"],
        ["swin-unet", "bottleneck"],
        ["swin-unet", "stage1"],
    ]
    assert claim_rows([]) == []
