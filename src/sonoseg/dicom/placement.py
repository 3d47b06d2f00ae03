"""Whether the pixels of a segmentation lie in space where those of its image do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from sonoseg.dicom.damage import dicom_errors, integer, items
from sonoseg.dicom.header import Header
from sonoseg.errors import InputError

_MOST_OFF = 0.5
"""How far from its place a pixel may lie, in pixels."""


def check_place(seg: Header, frames: Iterable[int], image: Header) -> None:
    """Refuses frames of a segmentation that are mirrored, turned or moved within the plane of the image.

    Places are compared if both files have them and name the same frame of reference. The distance from the plane is
    not looked at: frames of a loop may lie one behind the other.

    Args:
        seg: the segmentation, of the size of the image.
        frames: which of its frames, from 0.
        image: the image.

    Raises:
        InputError: they lie elsewhere, or the header of the segmentation is damaged.
    """
    with dicom_errors(seg.subject):
        if not _lies_elsewhere(seg.dataset, frames, image.dataset):
            return
    problem = "has pixels that lie otherwise in space than those of the image: mirrored, turned or moved"
    raise InputError(seg.subject, problem, "export it in the planes of the image")


def _lies_elsewhere(seg: Dataset, frames: Iterable[int], image: Dataset) -> bool:
    reference = image.get("FrameOfReferenceUID")
    if not reference or seg.get("FrameOfReferenceUID") != reference:
        return False
    axes = _numbers(image, "ImageOrientationPatient", 6)
    origin = _numbers(image, "ImagePositionPatient", 3)
    if axes is None or origin is None:
        return False
    shared = items(seg, "SharedFunctionalGroupsSequence")
    groups = items(seg, "PerFrameFunctionalGroupsSequence")
    for index in frames:
        places = groups[index : index + 1] + shared
        its_axes = _in_groups(places, "PlaneOrientation", "ImageOrientationPatient", 6)
        its_origin = _in_groups(places, "PlanePosition", "ImagePositionPatient", 3)
        if its_axes is None or its_origin is None:
            continue
        spacing = _numbers(image, "PixelSpacing", 2)
        if spacing is None:
            spacing = _in_groups(places, "PixelMeasures", "PixelSpacing", 2)
        columns, rows = integer(image, "Columns"), integer(image, "Rows")
        # Millimetres to the right and down, from pixel to pixel.
        step = np.ones(2) if spacing is None else spacing[::-1]
        ends = np.diag([columns - 1, rows - 1]) * step
        ends = np.vstack([[0, 0], ends])
        moved = its_origin - origin + ends @ (its_axes - axes).reshape(2, 3)
        off = moved @ axes.reshape(2, 3).T / step
        if not (np.abs(off) <= _MOST_OFF).all():
            return True
    return False


def _in_groups(
    groups: Iterable[Dataset], group: str, name: str, count: int
) -> NDArray[np.float64] | None:
    """Numbers of a functional group, in the first of several places that has them."""
    for place in groups:
        for item in items(place, f"{group}Sequence"):
            numbers = _numbers(item, name, count)
            if numbers is not None:
                return numbers
    return None


def _numbers(dataset: Dataset, name: str, count: int) -> NDArray[np.float64] | None:
    """The values of an element; None if it is missing or has another number of them."""
    value = dataset.get(name)
    if not isinstance(value, MultiValue) or len(value) != count:
        return None
    return np.array([float(one) for one in value])
