"""The card of a bundle: what the network is, how it was trained, what it scored and where it must not be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sonoseg.deploy.calibration import Calibration
from sonoseg.reader.card import Card
from sonoseg.train.run_folder import RunConfig

INTENDED_USE = "Research on breast ultrasound: outlining and measuring lesions in B-mode images. Not a medical device."
LIMITS = (
    "Not for diagnosis or any clinical decision.",
    "Trained on single B-mode images; it does not know Doppler, elastography, split screens or other organs.",
    "Images of other machines or populations than the training data's may be outlined worse than its scores say.",
)


@dataclass(frozen=True)
class CardSettings:
    """The values of a card that do not come from the run.

    Attributes:
        name: of the network; None takes that of the run's model.
        threshold: a pixel is lesion where its probability is at least this, between 0 and 1.
        min_lesion_fraction: parts smaller than this share of the image are dropped, from 0 to below 1.
    """

    name: str | None = None
    threshold: float = 0.5
    min_lesion_fraction: float = 0.0


def make_card(
    config: RunConfig,
    calibration: Calibration | None = None,
    settings: CardSettings = CardSettings(),
    weights: str | None = None,
) -> Card:
    """The card of a run's bundle, without scores.

    Args:
        config: of the run.
        calibration: of the run, if it has one.
        settings: what does not come from the run.
        weights: `weights_hash` of the run.

    Raises:
        ValueError: a value of `settings` is out of its range; says which.
    """
    card = Card(
        format=1,
        name=settings.name or config.model,
        version="1",
        input={"size": [config.size, config.size], "range": [0, 1], "channels": 1},
        threshold=settings.threshold,
        min_lesion_fraction=settings.min_lesion_fraction,
        training_data=describe_data(config),
        recipe=describe_recipe(config, calibration),
        scores={},
        intended_use=INTENDED_USE,
        limits=list(LIMITS),
        licence="Apache-2.0",
        created=datetime.now(UTC).date().isoformat(),
        sensitivity=calibration.report.get("sensitivity", {}) if calibration else {},
        weights=weights,
        temperature=calibration.temperature if calibration else 1.0,
    )
    return Card.from_json(card.to_json())  # which checks every value


def describe_data(config: RunConfig) -> list[str]:
    """The data of this training and of the earlier ones that it started from, each data set once."""
    described: list[str] = []
    trainings = [*config.lineage, config.to_json()]
    for stage in trainings:
        line = f"{stage['data']}, split {stage['split']}, {stage['size']} pixels"
        if line not in described:
            described.append(line)
    return described


def describe_recipe(config: RunConfig, calibration: Calibration | None = None) -> str:
    """How the network was trained, in a sentence; all settings are in the run folder's config.json."""
    recipe = config.recipe
    words = [
        f"{config.model}, seed {config.seed}: at most {recipe.epochs} epochs at {config.size} × {config.size} pixels",
        f"{recipe.batch} images a step",
        f"loss {recipe.loss}",
        f"{recipe.optimizer} at {recipe.learning_rate:g} ({recipe.schedule})",
        f"augmentation {recipe.augment}",
        f"epoch kept by {recipe.monitor}",
    ]
    if recipe.learn:
        words.append(f"only the {recipe.learn} learned")
    if config.start_from:
        words.append(f"started from {config.start_from}")
    elif config.encoder_weights != "none":
        words.append(f"encoders started from {config.encoder_weights}")
    if config.teachers:
        words.append(f"taught by {len(config.teachers)} other networks")
    if config.lineage:
        words.append(f"{len(config.lineage)} earlier trainings")
    if calibration:
        words.append(f"logits divided by {calibration.temperature:.3g}")
    return ", ".join(words) + "."
