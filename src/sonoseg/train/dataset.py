"""Cases decoded once, at training size, into memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DistributedSampler

from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data.case import Case
from sonoseg.errors import InputError, visible
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track
from sonoseg.train.processes import Processes
from sonoseg.train.record import TRAIN, VALIDATION, Record, Seen, pixel_hash

_logger = logging.getLogger(__name__)


class Pairs:
    """Inputs (N, …) and masks (N, 1, H, W) that a network is trained on, as two tensors on one device."""

    def __init__(self, inputs: Tensor, masks: Tensor) -> None:
        self.inputs, self.masks = inputs, masks

    def __len__(self) -> int:
        return len(self.inputs)

    def on(self, device: torch.device) -> Pairs:
        """The same on `device`: 780 images of 224 pixels are 78 MB with their masks."""
        return Pairs(self.inputs.to(device), self.masks.to(device))


class BatchOrder:
    """Which training images each batch of this process has, in an order that the seed and the epoch decide.

    Each process gets its share of the images. `len` is the number of batches in an epoch.

    Args:
        images: number of images of all processes.
        batch: images in a batch.
        seed: of the run.
        processes: of the training.
    """

    def __init__(
        self, images: int, batch: int, seed: int, processes: Processes
    ) -> None:
        count, rank = processes.count, processes.rank
        rows: Any = range(images)  # the sampler asks for nothing but its length
        self._shuffled: DistributedSampler[int] = DistributedSampler(
            rows, count, rank, seed=seed
        )
        # A last batch of one image would break batch normalisation.
        has_whole_batches = len(self._shuffled) > batch
        self._batches = BatchSampler(self._shuffled, batch, drop_last=has_whole_batches)

    def __len__(self) -> int:
        return len(self._batches)

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """The rows of one batch after the other; epochs count from 0."""
        self._shuffled.set_epoch(epoch)
        return iter(self._batches)


class InMemory(Pairs):
    """Images and masks of `cases` as uint8 (N, 1, size, size).

    Raises:
        InputError: an image or mask cannot be read, a mask has another size than its image, or a case is from a pack
            of another size.
    """

    def __init__(
        self, cases: Sequence[Case], size: int, title: str = "reading"
    ) -> None:
        shape = (len(cases), 1, size, size)
        super().__init__(
            torch.empty(shape, dtype=torch.uint8), torch.empty(shape, dtype=torch.uint8)
        )
        for row, case in enumerate(track(cases, title, len(cases), "image")):
            case.check_resizable(size, "training")
            image, mask = case.read()
            self.inputs[row, 0] = torch.from_numpy(resize_image(image, (size, size)))
            self.masks[row, 0] = torch.from_numpy(
                resize_mask(mask, (size, size)).astype(np.uint8)
            )


def read_once(cases: Sequence[Case], size: int) -> InMemory:
    """`InMemory`, the same for many trainings of one process, as long as the files do not change."""
    return _read_once(tuple(cases), size, tuple(_stamp(case) for case in cases))


@lru_cache(maxsize=5)
def _read_once(cases: tuple[Case, ...], size: int, _: tuple[Any, ...]) -> InMemory:
    return InMemory(cases, size, f"reading {len(cases)} images")


def check_lesions(data: str, monitor: str, training: Pairs, validation: Pairs) -> None:
    """Refuses data without lesions: training needs some, and so does the choice of an epoch by Dice.

    Raises:
        InputError: no training image has a lesion; or the epoch is chosen by Dice and no validation image has one.
    """
    if not training.masks.any():
        raise InputError(
            data,
            "no training image has a lesion",
            "check the masks, or choose another --split",
        )
    if monitor == "dice" and not validation.masks.any():
        problem = "no validation image has a lesion, so Dice cannot choose the epoch"
        raise InputError(data, problem, "choose another --split, or --monitor loss")


def _stamp(case: Case) -> tuple[tuple[int, int], ...]:
    """Time and length of a case's files; nothing where one is not there, which reading it reports."""
    try:
        states = [path.stat() for path in (case.image, *case.masks)]
    except OSError:
        return ()
    return tuple((state.st_mtime_ns, state.st_size) for state in states)


def record_of(
    training: Sequence[Case], validation: Sequence[Case], size: int
) -> Record:
    """The images that a run is trained and chosen on, by their pixels at `size`.

    Raises:
        InputError: as `InMemory`.
    """
    own: list[Seen] = []
    for subset, cases in {TRAIN: training, VALIDATION: validation}.items():
        pairs = read_once(cases, size)
        for case, image, mask in zip(cases, pairs.inputs, pairs.masks, strict=True):
            name = visible(case.name).strip()  # as it is read back from a table
            own.append(
                Seen(
                    name,
                    subset,
                    size,
                    pixel_hash(image[0].numpy()),
                    pixel_hash(mask[0].numpy()),
                )
            )
    return Record(tuple(own))


def encode_once(
    model: SegmentationNetwork, images: Pairs, device: torch.device, bfloat16: bool
) -> Pairs:
    """The features (N, C, h, w) of frozen encoders in place of the images (N, 1, H, W) uint8.

    Args:
        model: left on `device`.
        images: on the CPU.
        device: to compute on.
        bfloat16: compute as training in mixed precision does.
    """
    model.to(device)
    parts = []
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        batches = torch.split(images.inputs, 16)
        for batch in track(batches, "encoding once", len(batches), "batch"):
            image = batch.to(device).float() / 255
            parts.append(
                model.encode(image.to(memory_format=torch.channels_last))[0].cpu()
            )
    return Pairs(torch.cat(parts), images.masks)
