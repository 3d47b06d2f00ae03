"""The words that settings of a training may be. Nothing heavy is imported: the command line needs them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Loss = Literal["bce", "dice", "bce+dice", "0.4bce+0.6dice", "bce+image-dice"]
Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "one-cycle", "poly"]
Monitor = Literal["loss", "dice", "last"]
Augment = Literal["none", "light", "ultrasound", "roam", "roam+grays", "wide"]

Encoder = Literal[
    "resnet18",
    "resnet50",
    "densenet121",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
]
Attention = Literal["none", "cbam", "nonlocal", "transformer"]
Convolution = Literal["separable", "double"]
Presence = Literal["none", "image", "parts"]

RECIPE_CHOICES: Mapping[str, tuple[str, ...]] = {
    "loss": get_args(Loss),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "monitor": get_args(Monitor),
    "augment": get_args(Augment),
}
"""Field of `Recipe` → the words that it may be."""
