"""What the report says of how far the results are from the paper's experiment."""

from __future__ import annotations

from pathlib import Path

from sonoseg.reproduction.model_results import ModelResults
from sonoseg.reproduction.settings import ReproductionSettings, is_reduced
from sonoseg.reproduction.write_report import changes_of

STANDINS = "encoders started from a instead of ImageNet"
OTHERS = "encoders started from b instead of ImageNet"
SETTINGS = ReproductionSettings(data=Path("BUSI"), out=Path("out"))


def made(model: str, *departures: str) -> ModelResults:
    row = ModelResults(model, "paper", (Path(model),), "")
    row.__dict__["results"] = [{"settings": {"departures": list(departures)}}]
    return row


def test_what_is_true_of_few_models_is_followed_by_their_names() -> None:
    rows = [made(f"model-{n}", STANDINS) for n in range(1, 4)]
    rows += [made("model-5", OTHERS), made("model-6", OTHERS), made("adu-net")]
    missing = ModelResults("model-9", "paper", (), "not there")
    changes = changes_of(SETTINGS, [*rows, missing])
    assert changes == [STANDINS, f"{OTHERS} (model-5, model-6)"]
    assert not is_reduced(changes)


def test_two_seeds_of_a_model_are_named_once() -> None:
    row = made("model-5", OTHERS)
    row.__dict__["results"] *= 2
    rows = [row, made("model-1"), made("model-2"), made("model-3")]
    assert changes_of(SETTINGS, rows) == [f"{OTHERS} (model-5)"]
