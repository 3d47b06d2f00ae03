"""The network of a run folder as a predictor, in PyTorch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonoseg.core.resize import resize_image
from sonoseg.deploy.calibration import load_calibration
from sonoseg.train.record import Record
from sonoseg.train.run_folder import find_run, load_run, weights_hash

BATCH = 16
"""Images that the network of a run sees at once."""


class RunPredictor:
    """The best weights of a run, in float32, on the GPU if there is one. A pixel is lesion at probability ≥ 0.5.

    Args:
        folder: the run; "default" is the bundled model's.
        calibrated: divide the logits by the temperature that `sonoseg calibrate` fitted, if there is one.

    Attributes:
        temperature: the logits are divided by it.
        record: the images that the network was trained on; None if they are not known.

    Raises:
        InputError: the folder is not a run, or its weights do not fit.
    """

    threshold = 0.5
    min_lesion_fraction = 0.0

    def __init__(self, folder: Path, calibrated: bool = True) -> None:
        self.folder = folder
        model, config = load_run(folder)
        calibration = load_calibration(folder) if calibrated else None
        self.temperature = calibration.temperature if calibration else 1.0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.name = config.model
        self.size = (config.size, config.size)
        self.record = Record.read_of(find_run(folder), config.cases)

    @cached_property
    def weights(self) -> str:
        """sha256 of the run's weights."""
        return weights_hash(self.folder)

    def tensor(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """Images (H, W) of any sizes → (N, 1, size, size) float32 in 0..1 on the model's device."""
        resized = np.stack([resize_image(image, self.size) for image in images])
        batch = torch.from_numpy(resized).to(self.device)
        return batch[:, None].float() / 255

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Images (H, W) of any sizes → as many maps (size, size) in 0..1."""
        maps = self.answer(self.tensor(images))
        return list(maps.cpu().numpy())

    def answer(self, image: Tensor) -> Tensor:
        """(N, 1, size, size) in 0..1 on the model's device → calibrated lesion probability (N, size, size)."""
        with torch.inference_mode():
            return self.to_probability(self.model(image))

    def to_probability(self, logits: Tensor) -> Tensor:
        """The network's logits (N, 1, size, size) → calibrated lesion probability (N, size, size)."""
        return (logits / self.temperature).sigmoid()[:, 0]
