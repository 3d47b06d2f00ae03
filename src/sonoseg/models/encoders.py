"""The encoders of the paper and of our own network, from timm, and the weights that they start from."""

from __future__ import annotations

import logging
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

The light ones end before their last convolution, whose 1,280 channels serve the classification of ImageNet alone."""


def build_encoder(name: str, pretrained: bool) -> nn.Module:
    """One encoder without its classifier.

    Args:
        name: a key of `ENCODERS`.
        pretrained: load timm's ImageNet weights (from its cache, or downloaded).

    Raises:
        InputError: the weights can neither be found nor downloaded; two lines that name the choices.
    """
    if pretrained:
        # A warning, since a download may take minutes, in which nothing else happens.
        logging.getLogger(__name__).warning(
            "looking for the ImageNet weights of %s", name
        )
        # The hub logs each of its retries; the error below says what came of them.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        encoder: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, global_pool=""
        )
    except (
        Exception
    ) as error:  # timm's hub raises another kind for every way to be offline
        if not pretrained:
            raise
        hint = (
            "give --encoder-weights none (random), a run folder or a .safetensors file, "
            "or try again with an internet connection"
        )
        problem = "cannot be downloaded"
        raise InputError(f"ImageNet weights of {name}", problem, hint) from error
    if name.startswith("tf_efficientnet_lite"):
        encoder.conv_head = encoder.bn2 = nn.Identity()
    return quicken(encoder)


class Normalize(nn.Module):
    """(N, 1 or 3, H, W) in 0..1 → (N, 3, H, W), scaled by `mean` and `std`, which are ImageNet's by default."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        for name, value in {"mean": mean, "std": std}.items():
            self.register_buffer(
                name, torch.tensor(value).view(1, 3, 1, 1), persistent=False
            )

    @classmethod
    def of(cls, encoder: nn.Module) -> Normalize:
        """The scaling that `encoder`'s ImageNet weights were trained with."""
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
        channels = [0] * len(ENCODERS[names[0]])
        for name in names:
            for scale, count in enumerate(ENCODERS[name]):
                channels[scale] += count
        self.channels = tuple(channels)
        # "parts" is the name in every stored file of weights.
        self.parts = nn.ModuleDict()
        self.normalize = nn.ModuleDict()
        for name in names:
            encoder = build_encoder(name, pretrained)
            self.parts[name] = encoder
            self.normalize[name] = Normalize.of(encoder)
        if frozen:
            self.requires_grad_(False)
        self.train()  # frozen encoders are in evaluation mode from the start, also where nobody calls `train`

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
        maps = [torch.cat(same_scale, 1) for same_scale in zip(*skips, strict=True)]
        return torch.cat(finals, 1), maps


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a run folder's best weights, or of a .safetensors file. Nothing is unpickled.

    Raises:
        InputError: `path` is missing or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    file = path / "best.safetensors" if is_folder(path) else path
    if is_file(path / "config.json") and not is_file(file):
        problem = "has no weights: its training has not finished an epoch"
        raise InputError(path, problem, "run the same sonoseg train command again")
    if not is_file(file):
        raise InputError(
            file,
            "no such weights",
            "give imagenet, none, a run folder or a .safetensors file",
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
    """Copies into `module` the tensors of the file `path` whose names start with `prefix`.

    The weights of a presence head may be missing, or have other shapes. They then stay as they are, and a warning is
    logged.

    Returns:
        How many tensors were copied.

    Raises:
        InputError: another tensor that `module` needs under `prefix` is missing or has another shape.
    """
    found = load_tensors(path)
    fitting: dict[str, Tensor] = {}
    misfits: list[str] = []
    for name, tensor in module.state_dict().items():
        if not name.startswith(prefix):
            continue
        if name in found and found[name].shape == tensor.shape:
            fitting[name] = found[name]
        elif name.startswith("presence."):
            misfits.append(name)
        else:
            problem = f"has no weights that fit {name}"
            raise InputError(path, problem, "give a run of the same network")
    if misfits:
        message = "%s start at random, %s has none that fit"
        logging.getLogger(__name__).warning(message, ", ".join(misfits), path)
    module.load_state_dict(fitting, strict=False)
    return len(fitting)
