"""Training steps as a CUDA graph: the GPU's work is recorded once, and not launched kernel by kernel at each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sonoseg.models.network import Output, SegmentationNetwork


class _Outputs(nn.Module):
    """`outputs` as the forward pass of a module that returns a tuple of tensors: PyTorch can record nothing else."""

    def __init__(self, model: SegmentationNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = type(self.model).outputs(self.model, image)
        if output.presence is None:
            return (output.pixels,)
        return output.pixels, output.presence


def replay_steps(model: SegmentationNetwork, example: Tensor, bfloat16: bool) -> None:
    """Records the forward and backward pass of `model`, and replays the record for training batches of that shape.

    Other batches, and validation, run as before. A small network leaves a GPU waiting for its next kernel for
    much of a step; a replay does not wait.

    Args:
        model: on a CUDA device, in training mode. Its batch statistics do not change.
        example: any images (N, 1, H, W) of the shape of a batch, on that device.
        bfloat16: record it in mixed precision.
    """
    example = example.contiguous(memory_format=torch.channels_last)
    before = [buffer.clone() for buffer in model.buffers()]
    with torch.autocast(
        example.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False
    ):
        recorded: Any = torch.cuda.make_graphed_callables(
            _Outputs(model), (example,), allow_unused_input=True
        )
    # The recording ran a few steps on noise.
    for buffer, value in zip(model.buffers(), before, strict=True):
        buffer.copy_(value)

    def outputs(image: Tensor) -> Output:
        if not model.training or image.shape != example.shape:
            return type(model).outputs(model, image)
        return Output(*recorded(image))

    setattr(model, "outputs", outputs)  # noqa: B010 - mypy does not allow to assign to a method
