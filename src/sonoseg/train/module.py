"""One training step, one validation step, the optimiser and the averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, PolynomialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonoseg.errors import InputError
from sonoseg.models.catalog import Recipe
from sonoseg.models.network import SegmentationNetwork
from sonoseg.train.augment import AUGMENTATIONS
from sonoseg.train.losses import LOSSES, presence_loss
from sonoseg.train.teachers import Teachers

SMALLEST_LESION = 20
"""Pixels; a lesion that augmentation has moved out of the picture but for a few is no lesion."""

EVERY = 20
"""Steps on a GPU from one look at the loss to the next: to look, the processor waits for all that is queued."""

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}
SCHEDULES: dict[str, Callable[[Optimizer, float, int], LRScheduler]] = {
    "one-cycle": lambda optimizer, highest, steps: OneCycleLR(
        optimizer, highest, steps, pct_start=0.15
    ),
    "poly": lambda optimizer, _, steps: PolynomialLR(optimizer, steps, power=0.9),
}
"""Name → schedule of an optimiser, its learning rate and the number of steps; besides these there is constant."""


class SegmentationModule(L.LightningModule):
    """Trains `model` by `recipe`. Batches are uint8 masks and images (N, 1, H, W), or features in their place.

    Every step draws its randomness from (seed, step) alone: an epoch that is begun again after a crash is the
    same epoch. The pixels also learn from `teachers`, if there are any, what these say of the same view of an image.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        recipe: Recipe,
        seed: int,
        teachers: Teachers | None = None,
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.seed = model, recipe, seed
        self.teachers = (
            teachers or Teachers()
        )  # no module: neither a checkpoint nor the average is to hold them
        if recipe.learn:  # Lightning keeps modes as they are
            model.eval().requires_grad_(False)
            model.get_submodule(recipe.learn).train().requires_grad_(True)
        self.averaged = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)  # type: ignore[no-untyped-call]
            if recipe.ema
            else None
        )
        if self.averaged is not None:
            self.averaged.requires_grad_(False)  # several processes would wait for its gradients

    @property
    def kept(self) -> SegmentationNetwork:
        """The network that is validated and saved: the running average if there is one."""
        if self.averaged is None:
            return self.model
        assert isinstance(self.averaged.module, SegmentationNetwork)
        return self.averaged.module

    def on_fit_start(self) -> None:
        self.teachers.to(self.device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        seen, mask = batch[0], batch[1].float()
        image = seen.float() / 255 if seen.dtype == torch.uint8 else seen
        if not self.trainer.training:
            return image, mask
        torch.manual_seed((self.seed << 40) + (self.global_rank << 32) + self.global_step)
        return AUGMENTATIONS[self.recipe.augment](image, mask)

    def loss(
        self,
        model: SegmentationNetwork,
        image: Tensor,
        truth: Tensor,
        teachers: Teachers | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the logits (N, 1, H, W) it is of; `image` may be what frozen encoders made of one.

        A network that judges presence learns by its presence head alone what is no lesion. Its pixels learn from the
        images that have a lesion: taught by normal images too, they overlook faint lesions.
        """
        image = image.to(memory_format=torch.channels_last)
        encoded = image.shape[1] > 3
        output = model.decode(image, [], truth.shape[2:]) if encoded else model.outputs(image)
        output = output.float()
        there = (truth.sum((1, 2, 3)) > SMALLEST_LESION).float()
        counted = torch.ones_like(there) if output.presence is None else there
        told = teachers.truth(image, truth) if teachers else truth
        loss = LOSSES[self.recipe.loss](output.pixels, told, counted)
        if output.presence is not None:
            loss = loss + 0.3 * presence_loss(output.presence, output.pixels, truth, there)
        return loss, output.logits

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss, logits = self.loss(self.model, *batch, self.teachers)
        asked = loss.device.type == "cpu" or self.global_step % EVERY == 0
        if asked and not loss.isfinite():
            place = f"the loss is no longer finite (epoch {self.current_epoch + 1}, step {self.global_step + 1})"
            raise InputError(
                f"--learning-rate {self.recipe.learning_rate:g}", place, "try a smaller one"
            )
        self._log("train", loss, logits, batch[1])
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        loss, logits = self.loss(self.kept, *batch)
        self._log("validation", loss, logits, batch[1])

    def _log(self, subset: str, loss: Tensor, logits: Tensor, truth: Tensor) -> None:
        predicted = logits.detach() > 0
        overlap = (predicted * truth).sum((1, 2, 3))
        dice = 2 * overlap / (predicted.sum((1, 2, 3)) + truth.sum((1, 2, 3))).clamp(min=1)
        values = {f"{subset}_loss": loss.detach(), f"{subset}_dice": dice.mean()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(truth), sync_dist=True)

    def configure_optimizers(self) -> Any:
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = OPTIMIZERS[self.recipe.optimizer](
            weights, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        if self.recipe.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = SCHEDULES[self.recipe.schedule](optimizer, self.recipe.learning_rate, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
