"""Cases decoded once, at training size, into memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DistributedSampler

from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data import load_cases, split_cases
from sonoseg.data.case import Case
from sonoseg.data.splits import parse_source, unnamed
from sonoseg.errors import InputError, counted, visible
from sonoseg.models.network import SegmentationNetwork
from sonoseg.progress import track
from sonoseg.train.processes import Processes
from sonoseg.train.record import TRAIN, VALIDATION, Record, Seen, pixel_hash

_logger = logging.getLogger(__name__)
_LOOKED_AT, _SMALL, _ALIKE = 3, (32, 32), 5.0
"""How many images of two data sets are compared, at which size, and the mean difference of gray up to which they are
the same: between different images of BUSI it is 20 and more."""


def gather(
    data: Path, split: str, also: Sequence[str]
) -> tuple[list[Case], list[Case]]:
    """The training and validation cases of a run.

    Args:
        data: the data set's folder.
        split: a name that `split_cases` knows.
        also: further data sets to train on: FOLDER for all of its cases, FOLDER@SPLIT for that split's training
            cases.

    Raises:
        InputError: a folder or split is not there, or does not fit; or a further data set has files that `split` keeps
            for validation or test, or is `data` again, with near-copies of them or other images of their patients.
    """
    every = load_cases(data)
    subsets = split_cases(every, split)
    training = subsets["train"]
    if note := unnamed(every, subsets, split):
        _logger.warning("%s", note)
    kept = {}
    for name in (VALIDATION, "test"):
        for case in subsets[name]:
            kept[os.path.realpath(case.image)] = name
    for source in also:
        folder, name = parse_source(source)
        cases = load_cases(folder)
        added = split_cases(cases, name)["train"] if name else cases
        both = [case for case in added if os.path.realpath(case.image) in kept]
        if both:
            subset = kept[os.path.realpath(both[0].image)]
            first = f"{both[0].name} of {split}/{subset}"
            problem = f"contains {len(both)} images of the validation or test subset, first {first}"
            raise InputError(
                f"--also {source}",
                problem,
                "give FOLDER@SPLIT, with a split that leaves them out",
            )
        if _is_same(every, cases):
            _check_groups(source, added, subsets, split)
        training = training + added
    return training, subsets["validation"]


def _is_same(one: Sequence[Case], other: Sequence[Case]) -> bool:
    """Whether two data sets are one, perhaps as a copy, a pack or a part: images of one name look alike."""
    own = {case.name: case for case in one}
    common = [case for case in other if case.name in own][:_LOOKED_AT]
    return bool(common) and all(_look_alike(own[case.name], case) for case in common)


def _look_alike(one: Case, other: Case) -> bool:
    """Whether two images are one file, or nearly the same pixels: those of a pack were made smaller."""
    if os.path.realpath(one.image) == os.path.realpath(other.image):
        return True
    small = [
        resize_image(case.read_image(), _SMALL).astype(np.int16)
        for case in (one, other)
    ]
    return float(np.abs(small[0] - small[1]).mean()) < _ALIKE


def _check_groups(
    source: str,
    added: Sequence[Case],
    subsets: Mapping[str, Sequence[Case]],
    split: str,
) -> None:
    """Refuses images of the groups that `split` keeps apart; groups that it divides itself are left alone."""
    apart = {case.group for case in (*subsets[VALIDATION], *subsets["test"])}
    apart -= {case.group for case in subsets["train"]}
    both = [case for case in added if case.group in apart]
    if both:
        problem = f"has {counted(len(both), 'image')} of the patients or near-copies that {split} keeps apart"
        first = f"first {both[0].name}"
        raise InputError(
            f"--also {source}", f"{problem}, {first}", f"give FOLDER@{split}"
        )


def check_apart(data: Path, split: str, training: Sequence[Case], size: int) -> None:
    """Refuses further data sets that have validation or test images of `split`, under whatever names.

    Copies within one data set are left alone: published splits have some, and `data check` reports them.

    Args:
        data: the data set whose validation and test images are meant.
        split: of `data`.
        training: all cases to train on.
        size: images are compared at size × size pixels.

    Raises:
        InputError: there are such images.
    """
    cases = load_cases(data)
    own = {os.path.realpath(case.image) for case in cases}
    is_further = [os.path.realpath(case.image) not in own for case in training]
    if not any(is_further):
        return
    subsets = split_cases(cases, split)
    # Each by itself: the training has read the validation images already.
    kept = {*_hashes(subsets[VALIDATION], size), *_hashes(subsets["test"], size)}
    seen = _hashes(training, size)
    both = []
    for case, further, image in zip(training, is_further, seen, strict=True):
        if further and image in kept:
            both.append(case)
    if both:
        problem = f"holds {len(both)} validation or test images of {data}, first {both[0].image}"
        hint = "take them out, or give FOLDER@SPLIT with a split that leaves them out"
        raise InputError("--also", problem, hint)


def _hashes(cases: Sequence[Case], size: int) -> list[str]:
    return [pixel_hash(image[0].numpy()) for image in read_once(cases, size).inputs]


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
