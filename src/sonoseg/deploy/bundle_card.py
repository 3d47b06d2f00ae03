"""The card of a bundle: what the network is, how it was trained, what it scored and where it must not be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sonoseg.deploy.calibration import Calibration
from sonoseg.errors import counted
from sonoseg.reader.card import Card
from sonoseg.train.run_folder import RunConfig

INTENDED_USE = "Research on breast ultrasound: outlining and measuring lesions in B-mode images. Not a medical device."
TRAINED_FROM = re.compile(
    r"(?!(ensemble|mean) of )(.* sha256:[0-9a-f]{64})?", re.DOTALL
)
"""What `start_from` of a run is that was trained: nothing, or the `fingerprint` of what it began with.

`average`, `ensemble` and `slim` write there what they made the network of, in other words.
"""
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
    """How the network was made, in a sentence; all settings are in the run folder's config.json.

    A network that was made of others, and not trained, has the settings of the first of them. The sentence then begins
    with what it was made of.
    """
    recipe = config.recipe
    is_trained = TRAINED_FROM.fullmatch(config.start_from) is not None
    training = [
        f"{config.model}, seed {config.seed}: at most {counted(recipe.epochs, 'epoch')} "
        f"at {config.size} × {config.size} pixels",
        f"{counted(recipe.batch, 'image')} a step",
        f"loss {recipe.loss}",
        f"{recipe.optimizer} at {recipe.learning_rate:g} ({recipe.schedule})",
        f"augmentation {recipe.augment}",
        f"epoch kept by {recipe.monitor}",
    ]
    if recipe.learn:
        training.append(f"only the {recipe.learn} learned")
    if config.start_from and is_trained:
        training.append(f"started from {config.start_from}")
    elif not config.start_from and config.encoder_weights != "none":
        training.append(f"encoders started from {config.encoder_weights}")
    if config.teachers:
        training.append(f"taught by {counted(len(config.teachers), 'other network')}")
    network = []
    if config.lineage:
        network.append(counted(len(config.lineage), "earlier run"))
    if calibration:
        network.append(f"logits divided by {calibration.temperature:.3g}")
    if is_trained:
        return ", ".join(training + network) + "."
    made = ", ".join([config.start_from, *network])
    return f"{made}; the first of them: {', '.join(training)}."
