"""What a training is asked for. Nothing heavy is imported: the command line and scripts make these settings.

`configure.configure` turns them into the `RunConfig` that training takes and that the run folder stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.train.choices import (
    Attention,
    Augment,
    Convolution,
    Loss,
    Monitor,
    Optimizer,
    Presence,
    Schedule,
)
from sonoseg.train.validate import (
    ASKED_RECIPE_RULES,
    NETWORK_RULES,
    SEED,
    SIZE,
    Rule,
    first_problem,
)


@dataclass(frozen=True)
class RecipeChanges:
    """What is different from the model's own recipe; None changes nothing. The fields are those of `Recipe`.

    Raises:
        InputError: a value is out of its range.
    """

    loss: Loss | None = None
    learning_rate: float | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    weight_decay: float | None = None
    batch: int | None = None
    dropout: float | None = None
    epochs: int | None = None
    patience: int | None = None
    monitor: Monitor | None = None
    augment: Augment | None = None
    ema: float | None = None
    learn: str | None = None

    def __post_init__(self) -> None:
        check_options(self.given(), ASKED_RECIPE_RULES)

    def given(self) -> dict[str, Any]:
        """The fields that were set, by name: those that are not None."""
        return {
            name: value for name, value in asdict(self).items() if value is not None
        }


@dataclass(frozen=True)
class NetworkChanges:
    """What is different from the model's own network; None changes nothing.

    Raises:
        InputError: a value is out of its range.
    """

    encoders: tuple[str, ...] | None = None
    attention: Attention | None = None
    skips: bool | None = None
    widths: tuple[int, int, int, int] | None = None
    convolution: Convolution | None = None
    presence: Presence | None = None

    def __post_init__(self) -> None:
        check_options(self.given(), NETWORK_RULES)

    def given(self) -> dict[str, Any]:
        """The fields that were set, by name: those that are not None."""
        return {
            name: value for name, value in asdict(self).items() if value is not None
        }


@dataclass(frozen=True)
class TrainSettings:
    """A training: which model, on which images, from which first weights.

    Attributes:
        model: a name of `models.catalog.CATALOG`.
        data: the data set's folder, or a pack.
        split: a name that `split_cases` knows, or a CSV file.
        also: more data sets to train on, each FOLDER or FOLDER@SPLIT.
        encoder_weights: imagenet, none, or a run folder, a .safetensors file or "default" to take the encoders from.
        start_from: a run folder, a .safetensors file or "default" to take the whole network from.
        teachers: run folders of networks that the pixels learn from besides the masks.
        size: images are resized to size × size pixels.
        seed: decides every random choice.
        recipe: how the training differs from the model's own recipe.
        network: how the network differs from the model's own.

    Raises:
        InputError: size or seed is out of its range.
    """

    model: str
    data: Path
    split: str = "paper"
    also: tuple[str, ...] = ()
    encoder_weights: str = "imagenet"
    start_from: Path | None = None
    teachers: tuple[Path, ...] = ()
    size: int = 224
    seed: int = 0
    recipe: RecipeChanges = field(default_factory=RecipeChanges)
    network: NetworkChanges = field(default_factory=NetworkChanges)

    def __post_init__(self) -> None:
        check_size(self.size)
        check_seed(self.seed)


def check_size(size: int) -> None:
    """Refuses a size that the encoders cannot halve five times, or that does not fit into memory.

    Raises:
        InputError: it is one.
    """
    if not SIZE[0](size):
        raise InputError(f"--size {size}", f"is not {SIZE[1]}", "try --size 224")


def check_seed(seed: int, option: str = "--seed") -> None:
    """Refuses a seed that PyTorch's random numbers cannot start from.

    Raises:
        InputError: it is one.
    """
    if not SEED[0](seed):
        raise InputError(f"{option} {seed}", "is out of range", f"give {SEED[1]}")


def check_options(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Refuses values that break their rule, by the name of the command line's option.

    Raises:
        InputError: one does.
    """
    problem = first_problem(values, rules)
    if problem is None:
        return
    name, wanted = problem
    value = values[name]
    text = " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    option = f"--{name.replace('_', '-')}"
    raise InputError(f"{option} {text}".strip(), "is out of range", f"give {wanted}")
