"""Encoders with fewer blocks: the ONNX exporter takes its time with each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn

from sonoseg.models import catalog, encoders


@contextmanager
def shallow_encoders() -> Iterator[None]:
    """ResNets and EfficientNets are built with one block at each scale, of those that are alike.

    The feature maps keep their sizes and channels.
    """
    build = encoders.build_encoder

    def build_shallow(name: str, pretrained: bool) -> nn.Module:
        encoder = build(name, pretrained)
        if name.startswith("resnet"):
            for scale in ("layer1", "layer2", "layer3", "layer4"):
                setattr(encoder, scale, getattr(encoder, scale)[:1])
        elif "efficientnet" in name:
            for number, scale in enumerate(encoder.blocks):
                encoder.blocks[number] = scale[:1]
        return encoder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "build_encoder", build_shallow)
        # The counts of parameters are kept. Those of shallow encoders must not outlive them, nor the true ones enter.
        counted = functools.cache(inspect.unwrap(catalog._counted))
        patch.setattr(catalog, "_counted", counted)
        yield
