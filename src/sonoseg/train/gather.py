"""Which images a run trains on: those of a split, and of further data sets, none of which the split keeps apart."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sonoseg.core.resize import resize_image
from sonoseg.data import load_cases, split_cases
from sonoseg.data.case import Case
from sonoseg.data.load import scan
from sonoseg.data.splits import parse_source, unnamed
from sonoseg.errors import InputError, counted
from sonoseg.train.dataset import read_once
from sonoseg.train.record import VALIDATION, pixel_hash

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
        InputError: a folder or split is not there, does not fit, or leaves no training images; or a further data set
            has files that `split` keeps for validation or test, or is `data` again, with near-copies of them or other
            images of their patients.
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
        if _is_same(every, cases):
            _check_groups(source, cases, added, subsets, split)
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
    cases: Sequence[Case],
    added: Sequence[Case],
    subsets: Mapping[str, Sequence[Case]],
    split: str,
) -> None:
    """Refuses images of the groups that `split` keeps apart; groups that it divides itself are left alone."""
    apart = {case.group for case in (*subsets[VALIDATION], *subsets["test"])}
    apart -= {case.group for case in subsets["train"]}
    both = [case for case in added if case.group in apart]
    if not both:
        return
    problem = f"has {counted(len(both), 'image')} of the patients or near-copies that {split} keeps apart"
    hint = "give --split A.csv and FOLDER@B.csv (file,subset), which put a patient into the same subset"
    # Of a part of the data, or of more, a split of that name may divide the groups otherwise.
    with contextlib.suppress(InputError):
        training = split_cases(cases, split)["train"]
        if not any(case.group in apart for case in training):
            hint = f"give FOLDER@{split}"
    raise InputError(f"--also {source}", f"{problem}, first {both[0].name}", hint)


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
    # Not `load_cases`: what is doubtful about the data was said when it was gathered.
    cases = scan(data).cases
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
