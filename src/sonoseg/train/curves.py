"""curves.png of a run folder: loss and Dice of every epoch."""

from __future__ import annotations

import time
from pathlib import Path

from sonoseg.files import atomic_path
from sonoseg.train.run_folder import CURVES, best_epoch

REDRAWN_AFTER = 10.0
"""Seconds. An epoch on a GPU can be shorter than the drawing."""


class Curves:
    """Draws the curves of one run.

    Args:
        folder: the run folder.
        monitor: what its best epoch is chosen by.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder, self.monitor = folder, monitor
        self.drawn = -REDRAWN_AFTER

    def draw_if_due(self, history: list[dict[str, float]]) -> None:
        """Draws, unless it did so less than `REDRAWN_AFTER` seconds ago."""
        if time.monotonic() - self.drawn >= REDRAWN_AFTER:
            self.draw(history)

    def draw(self, history: list[dict[str, float]]) -> None:
        """Writes curves.png of a log of one row per epoch."""
        from sonoseg.report.training_figures import (
            learning_curves,
        )  # matplotlib takes long to import

        kept = best_epoch(history, self.monitor)["epoch"]
        with atomic_path(self.folder / CURVES) as temporary:
            learning_curves(history, kept, temporary)
        self.drawn = time.monotonic()
