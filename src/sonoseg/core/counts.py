"""Counts of right and wrong pixels, one row per image. All metrics are computed from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Counts:
    """Pixels of N images by truth and prediction: four int64 arrays of shape (N,).

    Attributes:
        tp: lesion, predicted as lesion.
        fp: background, predicted as lesion.
        fn: lesion, predicted as background.
        tn: background, predicted as background.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tp)

    def __getitem__(
        self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice
    ) -> Counts:
        """The counts of some of the images."""
        return Counts(self.tp[rows], self.fp[rows], self.fn[rows], self.tn[rows])

    @property
    def has_lesion(self) -> NDArray[np.bool_]:
        """(N,) bool: the reference mask of the image has at least one lesion pixel."""
        return (self.tp + self.fn) > 0


def count(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """Counts one image.

    Args:
        prediction, truth: boolean masks (H, W) of the same shape; True is lesion.

    Returns:
        Counts with N = 1.

    Raises:
        TypeError: a mask is not boolean (a mask of 0 and 255 would be counted wrongly).
        ValueError: the shapes differ.
    """
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise TypeError(f"masks must be bool, got {prediction.dtype} and {truth.dtype}")
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction is {prediction.shape}, truth is {truth.shape}: they must be one shape"
        )
    tp = int(np.count_nonzero(prediction & truth))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    tn = truth.size - tp - fp - fn
    return Counts(_one_row(tp), _one_row(fp), _one_row(fn), _one_row(tn))


def stack(parts: Iterable[Counts]) -> Counts:
    """Joins the counts of several images into one `Counts`, in order.

    Raises:
        ValueError: there are none.
    """
    rows = list(parts)
    if not rows:
        raise ValueError("no counts to stack")
    return Counts(
        tp=np.concatenate([row.tp for row in rows]),
        fp=np.concatenate([row.fp for row in rows]),
        fn=np.concatenate([row.fn for row in rows]),
        tn=np.concatenate([row.tn for row in rows]),
    )


def _one_row(number: int) -> NDArray[np.int64]:
    return np.array([number], dtype=np.int64)
