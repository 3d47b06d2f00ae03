"""One training step: the loss, the optimizer, the learning rate's schedule and the running average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, PolynomialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonoseg.models.catalog import Recipe
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.train.augment import AUGMENTATIONS
from sonoseg.train.losses import Terms, segmentation_loss
from sonoseg.train.teachers import Teachers

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}
"""Name → optimizer."""


def _one_cycle(optimizer: Optimizer, highest: float, steps: int) -> LRScheduler:
    return OneCycleLR(optimizer, highest, steps, pct_start=0.15)


def _poly(optimizer: Optimizer, _: float, steps: int) -> LRScheduler:
    return PolynomialLR(optimizer, steps, power=0.9)


SCHEDULES: dict[str, Callable[[Optimizer, float, int], LRScheduler] | None] = {
    "constant": None,
    "one-cycle": _one_cycle,
    "poly": _poly,
}
"""Name → schedule of an optimizer, its learning rate and the number of steps of the whole training."""


def mixed_precision(device: torch.device, is_mixed: bool) -> torch.autocast:
    """A block whose convolutions and products are computed in bfloat16, if `is_mixed`."""
    # Without the cache, the gradient of a weight that is used twice (CBAM's) is summed in float32, not in bfloat16.
    return torch.autocast(
        device.type, torch.bfloat16, enabled=is_mixed, cache_enabled=False
    )


class Objective(nn.Module):
    """A network and its loss as one module, so that several processes share the gradients of all of it.

    Args:
        model: the network.
        loss: a name of `losses.LOSSES`.
        bfloat16: compute the network in mixed precision.
        is_encoded: its inputs are features of frozen encoders, not images.
    """

    def __init__(
        self, model: SegmentationNetwork, loss: str, bfloat16: bool, is_encoded: bool
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        # A module has a method bfloat16, so this has another name.
        self.is_mixed = bfloat16
        self.is_encoded = is_encoded

    def forward(
        self, inputs: Tensor, mask: Tensor, target: Tensor
    ) -> tuple[Tensor, Terms, Tensor]:
        """The loss, a number, its terms, and the logits (N, 1, H, W) that it was computed from.

        Args:
            inputs: images (N, 1, H, W) in 0..1, or features (N, C, h, w).
            mask: (N, 1, H, W) of 0 and 1.
            target: what the pixels learn, (N, 1, H, W) in 0..1.
        """
        with mixed_precision(inputs.device, self.is_mixed):
            output = self.outputs(inputs, mask.shape[2:]).float()
            loss, terms = segmentation_loss(output, self.loss, mask, target)
            return loss, terms, output.logits

    def outputs(self, inputs: Tensor, size: Sequence[int]) -> Output:
        """What the network returns for images, or for features of images of `size` (H, W)."""
        if self.is_encoded:
            return self.model.decode(inputs, [], size)
        return self.model.outputs(inputs)


class BatchScores(NamedTuple):
    """The scores of a batch, on the device.

    Attributes:
        loss: a number.
        terms: of the loss.
        dice: the mean over the images, see `monitored_dice`.
    """

    loss: Tensor
    terms: Terms
    dice: Tensor


class Learner:
    """A network in training, on the device of `fabric`.

    Args:
        fabric: launched.
        model: the network with its first weights.
        recipe: how it is trained.
        seed: of the run.
        steps: of the whole training.
        teachers: networks that the pixels learn from besides the masks.
        bfloat16: train in mixed precision.
        is_encoded: train on features of frozen encoders, not on images.

    Attributes:
        model: the network itself.
        kept: the network that is validated and saved: the running average of the weights if there is one.
        optimizer: of the weights that learn.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: SegmentationNetwork,
        recipe: Recipe,
        seed: int,
        steps: int,
        teachers: Teachers,
        bfloat16: bool,
        is_encoded: bool = False,
    ) -> None:
        self.fabric, self.recipe, self.seed = fabric, recipe, seed
        self.teachers, self.bfloat16 = teachers, bfloat16
        teachers.to(fabric.device)
        if recipe.learn:
            model.requires_grad_(False)
            model.get_submodule(recipe.learn).requires_grad_(True)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            # Batch statistics are those of all processes' images. PyTorch can do that only on GPUs.
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self.model = model.to(fabric.device)
        self.averaged = running_average(self.model, recipe.ema) if recipe.ema else None
        self.kept = self.model
        if self.averaged is not None:
            assert isinstance(self.averaged.module, SegmentationNetwork)
            self.kept = self.averaged.module
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = OPTIMIZERS[recipe.optimizer](
            weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = SCHEDULES[recipe.schedule]
        self.schedule: LRScheduler | None = None
        if schedule is not None:
            self.schedule = schedule(self.optimizer, recipe.learning_rate, steps)
        self.objective = fabric.setup_module(
            Objective(self.model, recipe.loss, bfloat16, is_encoded)
        )
        self.judge = Objective(self.kept, recipe.loss, bfloat16, is_encoded)

    def start_training(self) -> None:
        """Switches the network to training mode; parts that do not learn stay in evaluation mode."""
        if self.recipe.learn:
            self.model.eval()
            self.model.get_submodule(self.recipe.learn).train()
        else:
            self.model.train()

    def step(self, inputs: Tensor, masks: Tensor, number: int) -> BatchScores:
        """Takes one training step.

        Args:
            inputs: images (N, 1, H, W) uint8, or features (N, C, h, w) of frozen encoders.
            masks: (N, 1, H, W) of 0 and 1, uint8.
            number: of the step, from 0.
        """
        # The randomness of a step depends on its number alone: a step that is repeated after a crash is the same.
        torch.manual_seed((self.seed << 40) + (self.fabric.global_rank << 32) + number)
        image, mask = AUGMENTATIONS[self.recipe.augment](
            as_input(inputs), masks.float()
        )
        image = image.to(memory_format=torch.channels_last)
        loss, terms, logits = self.objective(image, mask, self.target(image, mask))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return BatchScores(loss.detach(), terms, monitored_dice(logits, mask))

    def target(self, image: Tensor, mask: Tensor) -> Tensor:
        """The target of the pixel loss: the masks, or with teachers the mean of masks and teacher predictions."""
        with mixed_precision(image.device, self.bfloat16):
            return self.teachers.truth(image, mask)

    def start_validation(self) -> None:
        """Switches the network that is validated to evaluation mode."""
        self.kept.eval()
        if self.fabric.world_size > 1:
            # Without synchronised batch normalisation, batch statistics differ between processes.
            # All processes validate the network that the first one saves.
            for buffer in self.kept.buffers():
                torch.distributed.broadcast(buffer, src=0)

    @torch.inference_mode()
    def judge_batch(self, inputs: Tensor, masks: Tensor) -> BatchScores:
        """The scores of `kept` on a batch, shaped as for `step`."""
        image = as_input(inputs).to(memory_format=torch.channels_last)
        mask = masks.float()
        loss, terms, logits = self.judge(image, mask, mask)
        return BatchScores(loss, terms, monitored_dice(logits, mask))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later process needs to continue with the next step."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])


def running_average(model: SegmentationNetwork, decay: float) -> AveragedModel:
    """A copy of `model` whose weights and batch statistics follow those of `model`, smoothed."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    averaged.requires_grad_(False)
    return averaged.eval()


def as_input(values: Tensor) -> Tensor:
    """Images of uint8 as float32 in 0..1; features of frozen encoders stay as they are."""
    return values.float() / 255 if values.dtype == torch.uint8 else values


def monitored_dice(logits: Tensor, mask: Tensor) -> Tensor:
    """The mean Dice of a batch, by which a training is watched and its best epoch chosen; a number on the device.

    It is no reported score. Those come from `core.metrics`, at another size and after the masks are resized. For one
    batch it equals the convention `paper` there (tested); it is computed here so that a GPU need not wait.

    Args:
        logits: (N, 1, H, W); a pixel is predicted as lesion above 0.
        mask: (N, 1, H, W) of 0 and 1.
    """
    predicted = logits.detach() > 0
    overlap = (predicted * mask).sum((1, 2, 3))
    both = predicted.sum((1, 2, 3)) + mask.sum((1, 2, 3))
    dice = 2 * overlap / both.clamp(min=1)
    return dice.mean()
