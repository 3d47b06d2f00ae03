"""Which images a run trains on: those of a split, and of further data sets, none of which the split keeps apart."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import resize_image
from sonoseg.data import load_cases, split_cases
from sonoseg.data.busbra import is_busbra
from sonoseg.data.busi import known
from sonoseg.data.case import NO_PATIENT, Case
from sonoseg.data.copies import NEAR_COPY, THUMBNAIL, most_alike
from sonoseg.data.load import scan
from sonoseg.data.splits import parse_source, unnamed
from sonoseg.errors import InputError, counted
from sonoseg.train.dataset import read_once
from sonoseg.train.record import VALIDATION, pixel_hash

_logger = logging.getLogger(__name__)
_DICOM_GROUP = re.compile(f"({NO_PATIENT}|patient-)[0-9a-f]{{12}}")
"""Made from the ID of the patient, or of the study: see `sonoseg.data.dicom.patient_of`."""
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
        InputError: a folder or split is not there, does not fit, or leaves no training images; or a further data set
            has files that `split` keeps for validation or test, near-copies of them, or other images of their patients.
            Which patients are the same is known of two folders of one data set, of BUSI, BUS-BRA and DICOM.
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
    apart = _kept_apart(subsets)
    for source in also:
        folder, name = parse_source(source)
        cases = load_cases(folder)
        added = split_cases(cases, name)["train"] if name else cases
        if not added:
            problem = f"the split {name} leaves no training images"
            raise InputError(f"--also {source}", problem, "give FOLDER for all of them")
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
        same = _of_same_patients(every, cases, added, apart, source)
        if same:
            raise _shared_groups(source, cases, same, apart, split)
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


def _kept_apart(subsets: Mapping[str, Sequence[Case]]) -> list[Case]:
    """The validation and test images, without those of groups that the split divides itself: these are left alone."""
    trained_on = {case.group for case in subsets["train"]}
    kept = [*subsets[VALIDATION], *subsets["test"]]
    return [case for case in kept if case.group not in trained_on]


def _of_same_patients(
    every: Sequence[Case],
    cases: Sequence[Case],
    added: Sequence[Case],
    apart: Sequence[Case],
    source: str,
) -> list[Case]:
    """Those of `added` that are of a patient, or near-copies, of images kept apart.

    A group of two different data sets only has the same name, perhaps: a warning then asks for a look.

    Args:
        every, apart: of the data set that is split, all images and those kept apart.
        cases, added: of the further data set, all images and those to train on.
        source: that data set, for the warning.
    """
    groups = {_where_named(case): case for case in apart}
    both = [case for case in added if _where_named(case) in groups]
    sure = [case for case in both if _where_named(case)[0]]
    if sure:
        return sure
    names = {case.group for case in apart}
    if any(case.group in names for case in added) and _is_same(every, cases):
        return [case for case in added if case.group in names]
    # Without patients, the group of an image is its own name.
    named = [case for case in both if case.group != case.name]
    named = [case for case in named if not case.group.startswith(NO_PATIENT)]
    if named:
        first = named[0]
        _logger.warning(
            "--also %s: %s of groups that are kept for validation or test, by their names; first %s of %s. If these"
            " are the same patients, leave them out",
            source,
            counted(len(named), "image"),
            first.name,
            first.group,
        )
    return []


def _where_named(case: Case) -> tuple[str, str]:
    """Who has named a case's group, and the group: two data sets that share both have the same patients.

    "" is the user of a data set: two hospitals may both have a "patient 1".
    """
    if known(case) is not None:
        return "BUSI", case.group
    if is_busbra(case):
        return "BUS-BRA", case.group
    is_dicom = _DICOM_GROUP.fullmatch(case.group)
    return "DICOM" if is_dicom else "", case.group


def _shared_groups(
    source: str,
    cases: Sequence[Case],
    same: Sequence[Case],
    apart: Sequence[Case],
    split: str,
) -> InputError:
    """The error for the images `same` of a further data set, which are of groups that `split` keeps apart."""
    problem = f"has {counted(len(same), 'image')} of the patients or near-copies that {split} keeps apart"
    hint = "give --split A.csv and FOLDER@B.csv (file,subset), which put a patient into the same subset"
    groups = {case.group for case in apart}
    # Of a part of the data, or of more, a split of that name may divide the groups otherwise.
    with contextlib.suppress(InputError):
        training = split_cases(cases, split)["train"]
        if training and not any(case.group in groups for case in training):
            hint = f"give FOLDER@{split}"
    return InputError(f"--also {source}", f"{problem}, first {same[0].name}", hint)


def check_apart(data: Path, split: str, training: Sequence[Case], size: int) -> None:
    """Refuses further data sets that have validation or test images of `split`, under whatever names.

    An image that was resized or saved again is known by its thumbnail, see `near_copies`. Copies within one data set
    are left alone: published splits have some, and `data check` reports them. So are copies of what the split trains
    on.

    Args:
        data: the data set whose validation and test images are meant.
        split: of `data`.
        training: all cases to train on.
        size: images are compared at size × size pixels.

    Raises:
        InputError: there are such images.
    """
    # Not `load_cases`: what is doubtful about the data was said when it was gathered.
    cases = scan(data).cases
    own = {os.path.realpath(case.image) for case in cases}
    further = [case for case in training if os.path.realpath(case.image) not in own]
    if not further:
        return
    subsets = split_cases(cases, split)
    # Each by itself: the training has read the validation images already.
    kept = [*_images(subsets[VALIDATION], size), *_images(subsets["test"], size)]
    trained_on: list[NDArray[np.uint8]] = []
    added: list[NDArray[np.uint8]] = []
    for case, image in zip(training, _images(training, size), strict=True):
        is_own = os.path.realpath(case.image) in own
        (trained_on if is_own else added).append(image)
    both = [further[n] for n in _copies(added, kept, trained_on)]
    if both:
        problem = f"holds {len(both)} validation or test images of {data}, first {both[0].image}"
        hint = "take them out, or give FOLDER@SPLIT with a split that leaves them out"
        raise InputError("--also", problem, hint)


def _images(cases: Sequence[Case], size: int) -> list[NDArray[np.uint8]]:
    """The images, (size, size) each."""
    return [image[0].numpy() for image in read_once(cases, size).inputs]


def _copies(
    images: Sequence[NDArray[np.uint8]],
    kept: Sequence[NDArray[np.uint8]],
    trained_on: Sequence[NDArray[np.uint8]],
) -> list[int]:
    """Which images are in `kept`: with the same pixels, or nearly, and then not more like one of `trained_on`.

    Images smaller than the thumbnail need the same pixels: so small, others look nearly the same.
    """
    hashes = {pixel_hash(image) for image in kept}
    found = {n for n, image in enumerate(images) if pixel_hash(image) in hashes}
    if images[0].shape[0] >= THUMBNAIL:
        likeness = most_alike(images, kept)
        near = np.flatnonzero(likeness > NEAR_COPY).tolist()
        others = most_alike([images[n] for n in near], trained_on if near else ())
        found.update(
            n for n, other in zip(near, others, strict=True) if likeness[n] > other
        )
    return sorted(found)
