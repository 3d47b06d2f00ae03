"""The progress of a training, as a callback of Lightning's."""

from __future__ import annotations

from typing import Any

import lightning as L

from sonoseg.progress import Bar


class ProgressBar(L.Callback):
    """One bar for the whole run: epoch, loss, validation Dice, time left."""

    bar: Bar | None = None

    def __init__(self, hidden: bool) -> None:
        self.hidden = hidden
        self.dice = float("nan")

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        self.bar = Bar(
            "training", total, "step", not self.hidden, leave=True, done=trainer.global_step
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        assert self.bar is not None
        if (
            self.bar.update()
        ):  # it was shown anew; before that, reading the loss would only make a GPU wait
            title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.bar.describe(title, loss=f"{float(outputs['loss']):.3f}", dice=f"{self.dice:.3f}")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.dice = float(trainer.callback_metrics["validation_dice"])

    def on_train_end(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, *_: Any) -> None:
        self.on_train_end()
