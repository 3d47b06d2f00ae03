"""Cases decoded once, at training size, into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from sonoseg.data import load_cases, split_cases
from sonoseg.data.case import Case
from sonoseg.reader.images import resize_image, resize_mask


def gather(data: Path, split: str, also: Sequence[str]) -> tuple[list[Case], list[Case]]:
    """The training and validation cases of a run.

    Args:
        data: the data set's folder.
        split: a name that `split_cases` knows.
        also: further data sets to train on: FOLDER for all of its cases, FOLDER@SPLIT for that split's training
            cases.

    Raises:
        InputError: a folder or split is not there, or does not fit.
    """
    subsets = split_cases(load_cases(data), split)
    training = subsets["train"]
    for source in also:
        folder, _, name = source.partition("@")
        cases = load_cases(Path(folder))
        training = training + (split_cases(cases, name)["train"] if name else cases)
    return training, subsets["validation"]


class InMemory(Dataset[tuple[Tensor, Tensor]]):
    """Images and masks of `cases` as uint8 (N, 1, size, size); an item is one image and mask, (1, size, size).

    Raises:
        InputError: an image or mask cannot be read, or a mask has another size than its image.
    """

    def __init__(self, cases: Sequence[Case], size: int, title: str = "reading") -> None:
        self.images = torch.empty(len(cases), 1, size, size, dtype=torch.uint8)
        self.masks = torch.empty(len(cases), 1, size, size, dtype=torch.uint8)
        for row, case in enumerate(tqdm(cases, title, leave=False, unit="image")):
            image, mask = case.read()
            self.images[row, 0] = torch.from_numpy(resize_image(image, (size, size)))
            self.masks[row, 0] = torch.from_numpy(resize_mask(mask, (size, size)).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.images[row], self.masks[row]
