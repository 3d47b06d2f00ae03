"""The network of a bundle: calibrated, with its explanation, and with fewer operations than in training."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sonoseg.deploy.calibration import Calibration
from sonoseg.deploy.onnx_gradcam import trace_gradcam
from sonoseg.models.encoders import Encoders, Normalize
from sonoseg.models.network import SegmentationNetwork
from sonoseg.reader.answers import MAPS, PRESENCE_SHIFT


class Deployed(nn.Module):
    """The network that the reader runs: image (N, 1, H, W) in 0..1 → the outputs of a bundle.

    Mask, explanation and familiarity come from one pass of the encoders.

    Args:
        model: in evaluation mode; it is copied.
        image: any two images (2, 1, H, W) of the size that the bundle will take.
        calibration: of the run.
        with_maps: return the maps that a malignancy head needs.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        image: Tensor,
        calibration: Calibration | None = None,
        with_maps: bool = False,
    ) -> None:
        super().__init__()
        self.model = model = folded(model).requires_grad_(False)
        features, maps = model.encode(image)
        self.heat = trace_gradcam(model, image.shape[2:], features, maps)
        self.temperature = calibration.temperature if calibration else 1.0
        self.familiarity = calibration.familiarity if calibration else None
        found = model.decode(features, maps, image.shape[2:])
        self.has_presence = found.presence is not None
        self.with_maps = with_maps

    def inputs(self, image: Tensor) -> dict[str, Tensor]:
        """The inputs by their names in the bundle: the images, and a presence shift of 0 if there is such a head."""
        shift = {PRESENCE_SHIFT: torch.zeros(())} if self.has_presence else {}
        return {"image": image, **shift}

    def outputs(
        self, image: Tensor, presence_shift: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The outputs by their names in the bundle, which are names of `reader.answers.OUTPUTS`.

        Args:
            image: (N, 1, H, W) in 0..1.
            presence_shift: a number that is added to the logit of the presence head; None: 0.

        Returns:
            `probability` (N, 1, H, W) in 0..1; `heat` of Grad-CAM (N, 1, H, W) in 0..1; and, if the run is calibrated,
            `unfamiliarity` (N,) from 0, where over 1 means unlike the training images; and `maps8` and
            `maps16` (N, C, h, w), the encoder's maps at strides 8 and 16, if they were asked for.
        """
        features, maps = self.model.encode(image)
        output = self.model.decode(features, maps, image.shape[2:])
        output = output.divided_by(self.temperature)
        if output.presence is not None and presence_shift is not None:
            output = output._replace(presence=output.presence + presence_shift)
        found = {
            "probability": output.logits.sigmoid(),
            "heat": self.heat(features, *maps),
        }
        if self.familiarity is not None:
            found["unfamiliarity"] = self.familiarity(maps)
        if self.with_maps:
            found |= dict(zip(MAPS, maps[2:4], strict=True))
        return found

    def forward(
        self, image: Tensor, presence_shift: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The values of `outputs` in their order, since the exporter names a tuple's members one by one."""
        return tuple(self.outputs(image, presence_shift).values())


def folded(model: SegmentationNetwork) -> SegmentationNetwork:
    """A copy that computes the same with fewer operations.

    The decoder's batch normalisation is folded into its convolutions. PyTorch's exporter folds it too, but not where
    the gradient uses the same weights. The first convolutions take gray images where that is possible.
    """
    model = copy.deepcopy(model)
    for block in model.modules():
        if isinstance(block, Encoders):
            make_gray(block)
        if isinstance(block, nn.Sequential):
            fold_normalisation(block)
    return model


def fold_normalisation(block: nn.Sequential) -> None:
    """Folds each batch normalisation of `block` into the convolution before it, in place."""
    for position, (conv, norm) in enumerate(pairwise(block)):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[position] = fuse_conv_bn_eval(conv, norm)
            block[position + 1] = nn.Identity()


def make_gray(encoders: Encoders) -> None:
    """Changes first convolutions to one gray channel, in place, where all three colours are scaled alike.

    With three equal channels, a convolution adds the weights of the three colours. So one channel with their sum is
    enough.
    """
    for name, encoder in encoders.parts.items():
        norm = encoders.normalize[name]
        stem = getattr(encoder, "conv_stem", None)
        assert isinstance(norm, Normalize)
        if isinstance(stem, nn.Conv2d) and _is_same(norm.mean) and _is_same(norm.std):
            norm.mean, norm.std = norm.mean[:, :1], norm.std[:, :1]
            stem.weight = nn.Parameter(stem.weight.sum(1, keepdim=True))
            stem.in_channels = 1


def _is_same(values: Tensor) -> bool:
    return len(torch.unique(values)) == 1
