"""When a training stops before its last epoch: nothing becomes better, or the loss is no longer finite."""

from __future__ import annotations

import math

from sonoseg.errors import InputError
from sonoseg.models.catalog import Recipe
from sonoseg.train.log import History
from sonoseg.train.validate import MONITORS


def is_finished(history: History, recipe: Recipe) -> bool:
    """Whether nothing is left to train: the recipe's last epoch is done, or the training stopped early."""
    return len(history) >= recipe.epochs or is_over(history, recipe)


def is_over(history: History, recipe: Recipe) -> bool:
    """Whether a training stops early: `patience` epochs in a row brought nothing better, or no finite number."""
    if not recipe.patience:
        return False
    sign = 1 if MONITORS[recipe.monitor] == "max" else -1
    best, waited = -math.inf, 0
    for row in history:
        value = sign * row[f"validation_{recipe.monitor}"]
        if not math.isfinite(value):
            return True
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited >= recipe.patience:
            return True
    return False


def not_finite(recipe: Recipe, epoch: int, step: int) -> InputError:
    """The error of a training that has diverged; `epoch` and `step` count from 0."""
    problem = f"the loss is no longer finite (epoch {epoch + 1}, step {step + 1})"
    return InputError(
        f"--learning-rate {recipe.learning_rate:g}", problem, "try a smaller one"
    )
