"""Settings check themselves, and their choices are those of the registries."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from sonoseg.cli import Train
from sonoseg.errors import InputError
from sonoseg.models.attention import ATTENTIONS
from sonoseg.models.blocks import CONVOLUTIONS
from sonoseg.models.catalog import Recipe
from sonoseg.models.encoders import ENCODERS
from sonoseg.models.fusion_unet import FusionUNetConfig
from sonoseg.models.presence import PRESENCE
from sonoseg.train import choices
from sonoseg.train.augment import AUGMENTATIONS
from sonoseg.train.losses import LOSSES
from sonoseg.train.settings import NetworkChanges, RecipeChanges, TrainSettings
from sonoseg.train.step import OPTIMIZERS, SCHEDULES
from sonoseg.train.validate import MONITORS, NETWORK_RULES, RECIPE_RULES


@pytest.mark.parametrize(
    ("choice", "registry"),
    [
        (choices.Loss, LOSSES),
        (choices.Optimizer, OPTIMIZERS),
        (choices.Schedule, SCHEDULES),
        (choices.Monitor, MONITORS),
        (choices.Augment, AUGMENTATIONS),
        (choices.Encoder, ENCODERS),
        (choices.Attention, ATTENTIONS),
        (choices.Convolution, CONVOLUTIONS),
        (choices.Presence, PRESENCE),
    ],
)
def test_the_choices_are_those_of_the_registry(choice, registry):
    assert set(get_args(choice)) == set(registry)


def test_every_word_of_a_recipe_has_its_choices():
    hints = get_type_hints(Recipe)
    words = {name for name, kind in hints.items() if kind is str}
    free = {"learn"}  # each network has parts of its own
    assert words - free == set(choices.RECIPE_CHOICES)


def names_of(kind):
    return {field.name for field in fields(kind)}


def test_the_fields_are_those_of_recipe_network_and_command():
    assert names_of(RecipeChanges) == names_of(Recipe) == set(RECIPE_RULES)
    by_model_alone = {"frozen", "inner", "members"}
    assert names_of(NetworkChanges) == names_of(FusionUNetConfig) - by_model_alone
    assert names_of(FusionUNetConfig) == set(NETWORK_RULES)
    settings = names_of(TrainSettings) - {"recipe", "network"}
    changes = names_of(RecipeChanges) | names_of(NetworkChanges)
    assert names_of(Train) == settings | changes | {"out", "graph"}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda: RecipeChanges(batch=0), "--batch 0: is out of range"),
        (
            lambda: RecipeChanges(loss="hinge"),
            "--loss hinge: is out of range; give one of bce,",
        ),
        (
            lambda: RecipeChanges(learning_rate=float("nan")),
            "--learning-rate nan: is out of range",
        ),
        (lambda: NetworkChanges(widths=(1, 2)), "--widths 1 2: is out of range"),
        (lambda: NetworkChanges(encoders=("vgg",)), "--encoders vgg: is out of range"),
        (
            lambda: TrainSettings("model-1", Path(), size=100),
            "--size 100: is not a multiple of 32",
        ),
        (
            lambda: TrainSettings("model-1", Path(), seed=-1),
            "--seed -1: is out of range",
        ),
    ],
)
def test_a_wrong_value_is_refused_at_once(wrong, problem):
    with pytest.raises(InputError, match=problem):
        wrong()


def test_only_what_is_given_changes_a_recipe():
    assert RecipeChanges().given() == NetworkChanges().given() == {}
    given = RecipeChanges(ema=0.0, learn="").given()
    assert given == {"ema": 0.0, "learn": ""}


def test_the_settings_import_nothing_heavy():
    code = "import sys; import sonoseg.train.settings; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
