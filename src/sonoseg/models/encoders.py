"""The encoders of the paper and of our own network, through timm, and where their first weights come from."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from sonoseg.errors import InputError
from sonoseg.files import is_file, is_folder
from sonoseg.models.depthwise import quicken

ENCODERS: dict[str, tuple[int, ...]] = {
    "resnet18": (64, 64, 128, 256, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 256, 512, 1024, 1024),
    "efficientnet_b0": (16, 24, 40, 112, 1280),
    "tf_efficientnet_lite0": (16, 24, 40, 112, 320),
    "tf_efficientnet_lite1": (16, 24, 40, 112, 320),
    "tf_efficientnet_lite2": (16, 24, 48, 120, 352),
}
"""Name in timm → channels of its feature maps at strides 2, 4, 8, 16 and 32.

The light ones end before their last convolution, to the 1,280 channels that ImageNet's classes are told from."""


def build_encoder(name: str, pretrained: bool) -> nn.Module:
    """One encoder without its classifier.

    Args:
        name: a key of `ENCODERS`.
        pretrained: load timm's ImageNet weights (from its cache, or downloaded).

    Raises:
        InputError: the weights can neither be found nor downloaded; two lines that name the choices.
    """
    if pretrained:
        print(f"looking for the ImageNet weights of {name}", file=sys.stderr)
        logging.getLogger("huggingface_hub").setLevel(
            logging.ERROR
        )  # its retries; what comes of them is said below
    try:
        encoder: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, global_pool=""
        )
    except (
        Exception
    ) as error:  # timm's hub raises a different kind of exception for every way to be offline
        if not pretrained:
            raise
        raise InputError(
            f"ImageNet weights of {name}",
            "cannot be downloaded from here",
            "give --encoder-weights none (random), or a run folder or .safetensors file whose encoders to start from, "
            "or try again with a network",
        ) from error
    if name.startswith("tf_efficientnet_lite"):
        encoder.conv_head = encoder.bn2 = nn.Identity()
    return quicken(encoder)


class Normalize(nn.Module):
    """(N, 1 or 3, H, W) in 0..1 → (N, 3, H, W), scaled by `mean` and `std`; ImageNet's, unless others are given."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        for name, value in {"mean": mean, "std": std}.items():
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def of(cls, encoder: nn.Module) -> Normalize:
        """With what `encoder`'s ImageNet weights were trained with."""
        settings: Any = encoder.pretrained_cfg  # timm is untyped
        return cls(settings["mean"], settings["std"])

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Encoders(nn.Module):
    """Several encoders side by side on the same image, their feature maps joined scale by scale.

    Args:
        names: any subset of `ENCODERS`, in the order of joining.
        frozen: keep all weights and batch statistics as they are.
        pretrained: start from timm's ImageNet weights.
    """

    def __init__(self, names: tuple[str, ...], frozen: bool, pretrained: bool) -> None:
        super().__init__()
        self.frozen = frozen
        self.channels = tuple(
            sum(per_scale) for per_scale in zip(*(ENCODERS[n] for n in names), strict=True)
        )
        self.parts = nn.ModuleDict({name: build_encoder(name, pretrained) for name in names})
        if frozen:
            self.requires_grad_(False)
        self.normalize = nn.ModuleDict(
            {name: Normalize.of(part) for name, part in self.parts.items()}
        )
        self.train()  # so that frozen ones are in evaluation mode from the start: Lightning keeps modes as they are

    def train(self, mode: bool = True) -> Encoders:
        """Frozen encoders stay in evaluation mode, so that their batch statistics do not drift."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → the bottleneck (N, C, H/32, W/32) and the maps at strides 2, 4, 8, 16."""
        finals, skips = [], []
        for name, encoder in self.parts.items():
            final, scales = encoder.forward_intermediates(self.normalize[name](image))  # type: ignore[operator]  # untyped
            finals.append(final)
            skips.append(scales[:4])
        return torch.cat(finals, 1), [torch.cat(scale, 1) for scale in zip(*skips, strict=True)]


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a run folder's best weights, or of a .safetensors file. Nothing is ever unpickled.

    Raises:
        InputError: `path` is missing or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    file = path / "best.safetensors" if is_folder(path) else path
    if not is_file(file):
        raise InputError(
            file, "no such weights", "give imagenet, none, a run folder or a .safetensors file"
        )
    try:
        if str(file).isascii():
            return load_file(file)
        return load(file.read_bytes())  # load_file cannot open names that are not UTF-8
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            file, "not a readable safetensors file", "give the weights of a sonoseg run"
        ) from error


def load_matching(module: nn.Module, path: Path, prefix: str = "") -> int:
    """Copies into `module` the tensors below `path` whose names start with `prefix`; returns how many.

    Those of a presence head may stay as they are where none there fit; a line on stderr says so.

    Raises:
        InputError: another that `module` needs under `prefix` is missing or of another shape.
    """
    found = load_tensors(path)
    wanted = {
        name: tensor for name, tensor in module.state_dict().items() if name.startswith(prefix)
    }
    misfits = [
        name
        for name, tensor in wanted.items()
        if name not in found or found[name].shape != tensor.shape
    ]
    for name in misfits:
        if not name.startswith("presence."):
            raise InputError(
                path, f"has no weights that fit {name}", "give a run of the same network"
            )
    if misfits:
        print(
            f"note: {', '.join(misfits)} start at random, {path} has none that fit", file=sys.stderr
        )
    taken = {name: found[name] for name in wanted if name not in misfits}
    module.load_state_dict(taken, strict=False)
    return len(taken)
