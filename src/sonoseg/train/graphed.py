"""Training steps as CUDA graphs: what a GPU is to do is said to it once, not kernel by kernel at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.train.module import SegmentationModule


class Graphed(L.Callback):
    """Replays the network's forward and backward pass on training batches; others, and validation, run as ever.

    A small network leaves a GPU waiting for its next kernel for much of a step.

    Args:
        shape: of the training batches, (N, 1, H, W).
        bfloat16: the training is in mixed precision.
    """

    def __init__(self, shape: Sequence[int], bfloat16: bool) -> None:
        self.shape, self.bfloat16 = torch.Size(shape), bfloat16

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, SegmentationModule)
        graph(module.model, torch.rand(self.shape, device=module.device), self.bfloat16)


class _Outputs(nn.Module):
    """`outputs` as a module's forward, as PyTorch's capture asks for it: a tuple of tensors."""

    def __init__(self, model: SegmentationNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = type(self.model).outputs(self.model, image)
        if output.presence is None:
            return (output.pixels,)
        return output.pixels, output.presence


def graph(model: SegmentationNetwork, example: Tensor, bfloat16: bool) -> None:
    """Exchanges `model.outputs` for one that replays a capture of it, for images of the shape of `example` in training.

    Args:
        model: on a CUDA device, in training mode; its batch statistics stay as they are.
        example: (N, 1, H, W) on that device.
        bfloat16: capture it in mixed precision.
    """
    example = example.contiguous(memory_format=torch.channels_last)
    before = [buffer.clone() for buffer in model.buffers()]
    with torch.autocast(example.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        captured: Any = torch.cuda.make_graphed_callables(
            _Outputs(model), (example,), allow_unused_input=True
        )
    for buffer, value in zip(model.buffers(), before, strict=True):
        buffer.copy_(value)  # the capture ran a few steps on noise

    def outputs(image: Tensor) -> Output:
        if not model.training or image.shape != example.shape:
            return type(model).outputs(model, image)
        return Output(*captured(image))

    setattr(model, "outputs", outputs)  # noqa: B010 - mypy takes a method for what cannot be assigned
