"""Which cases are trained on, validated on and tested on, by name."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sonoseg.data.busbra import official_folds
from sonoseg.data.busi import busi_images, known
from sonoseg.data.case import NO_PATIENT, Case
from sonoseg.data.pack import is_pack
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.files import is_folder

SUBSETS = ("train", "validation", "test")
FOLDS = 5
_GROUPED = tuple(f"grouped-{fold}" for fold in range(FOLDS))
SPLITS = ("all", "paper", "paper-clean", "grouped", *_GROUPED)
TABLE_SPLIT = "a CSV file: file,subset"
"""What hints call the split that a user makes; it fits every data set."""


def split_cases(cases: Sequence[Case], name: str) -> dict[str, list[Case]]:
    """Divides `cases` into the subsets "train", "validation" and "test", each in the order of `cases`.

    Args:
        cases: of one data set.
        name: "all" puts every case into "test". "paper" is the split recovered from Anari et al. 2025 and
            "paper-clean" the same validation and test images without their near-copies; both are BUSI's.
            "grouped-K" tests on fold K of five and validates on the next, stratified by label, groups never
            apart; "grouped" is "grouped-0". Or the path of a CSV with the columns file and subset.

    Cases that a split does not name are in no subset.

    Raises:
        InputError: the split is unknown, names images that are not there, or does not fit the data set.
    """
    if name == "all":
        subset_of = {case.name: "test" for case in cases}
    elif name in ("paper", "paper-clean"):
        subset_of = _published(cases, name)
    elif name in SPLITS:
        subset_of = _grouped(cases, int(name.partition("-")[2] or 0))
    elif is_table(name):
        subset_of = _from_table(Path(name), cases)
    else:
        raise InputError(
            name,
            "there is no such split",
            f"use {', '.join(SPLITS)} or {TABLE_SPLIT}",
        )
    _require_files(name, cases, subset_of)
    subsets: dict[str, list[Case]] = {subset: [] for subset in SUBSETS}
    for case in cases:
        subset = subset_of.get(case.name, "")
        if subset in subsets:
            subsets[subset].append(case)
    return subsets


def parse_source(text: str) -> tuple[Path, str]:
    """Folder and split that FOLDER or FOLDER@SPLIT stands for; the split is "" where none is named.

    Either may have an @ in it: a folder is known by being there, a split by its name or its ending .csv.

    Raises:
        InputError: `text` can mean two different folders.
    """
    readings = [(Path(text), "")] if _is_data(text) else []
    for found in re.finditer("@", text):
        folder, split = text[: found.start()], text[found.end() :]
        is_split = split in SPLITS or is_table(split)
        if is_split and folder and _is_data(folder):
            readings.append((Path(folder), split))
    if len(readings) > 1:
        raise InputError(
            text,
            "can mean two different folders, and both exist",
            "rename one of them",
        )
    if readings:
        return readings[0]
    # Something is missing; whoever reads the folder or the split reports it.
    folder, at, split = text.rpartition("@")
    if at and _is_data(folder):
        return Path(folder), split
    return Path(text), ""


def _is_data(path: str) -> bool:
    return is_folder(path) or is_pack(path)


def is_table(split: str) -> bool:
    """Whether a split is the path of a CSV file."""
    return split.casefold().endswith(".csv")


def unnamed(
    cases: Sequence[Case], subsets: Mapping[str, Sequence[Case]], split: str
) -> str:
    """A sentence about cases that are in no subset of a table; "" if there are none, or the split is no table."""
    if not is_table(split):
        return ""
    left = len(cases) - sum(map(len, subsets.values()))
    return f"{left} of {len(cases)} images are in no subset of {split}" if left else ""


def leaked(subsets: Mapping[str, Sequence[Case]], subset: str) -> set[str]:
    """Names of the images of `subset` that share a group with an image of another subset.

    A group is a patient, or a set of near-copies.
    """
    groups_elsewhere: set[str] = set()
    for name, cases in subsets.items():
        if name != subset:
            groups_elsewhere.update(case.group for case in cases)
    return {case.name for case in subsets[subset] if case.group in groups_elsewhere}


def count_leaked(
    cases: Sequence[Case],
    subsets: Mapping[str, Sequence[Case]],
    subset: str,
    split: str,
) -> int | None:
    """The number of `leaked` images; None if nobody knows.

    So it is if each image of the data set is a group of its own, or the patient of an image in a subset is missing.
    """
    if split == "all":
        return 0
    used = itertools.chain(*subsets.values())
    if any(case.group.startswith(NO_PATIENT) for case in used):
        return None
    if _count_groups(cases) == len(cases):
        return None
    return len(leaked(subsets, subset))


def stratified_folds(labels: Sequence[str], groups: Sequence[str]) -> list[int]:
    """Five folds of nearly the same size and share of each label, in which no group is divided.

    Groups are placed one by one, the largest first; groups of one size in the order of their names. Each goes to the
    fold that stays the most even with it.

    Returns:
        the fold of each image, 0 to 4.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    kinds, label_of = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.zeros((len(names), len(kinds)))
    np.add.at(counts, (group_of, label_of), 1)
    share = counts / counts.sum(axis=0)  # a rare label weighs as much as a frequent one
    total = np.zeros((FOLDS, len(kinds)))
    fold_of_group = np.zeros(len(names), int)
    largest_first = np.argsort(-counts.sum(axis=1), kind="stable")
    for group in largest_first:
        unevenness_added = (total + share[group]) ** 2 - total**2
        fold = int(np.argmin(unevenness_added.sum(axis=1)))
        total[fold] += share[group]
        fold_of_group[group] = fold
    return [int(fold) for fold in fold_of_group[group_of]]


def _published(cases: Sequence[Case], name: str) -> dict[str, str]:
    rows = ((known(case), case) for case in cases)
    own = {row.name: case.name for row, case in rows if row is not None}
    if not own:
        problem = "this split is only for BUSI, and these images are not from BUSI"
        raise InputError(name, problem, _hint(cases))
    subset_of = {}
    for row in busi_images().values():
        subset = row.paper if name == "paper" else row.paper_clean
        if subset:
            subset_of[own.get(row.name, row.name)] = subset
    return subset_of


def _hint(cases: Sequence[Case]) -> str:
    """Names splits that fit the cases, and says of `all` that nothing can be trained with it."""
    grouped = "grouped or " if _count_groups(cases) >= FOLDS else ""
    return f"use {grouped}{TABLE_SPLIT} (to test only: all)"


def _count_groups(cases: Sequence[Case]) -> int:
    return len({case.group for case in cases})


def _grouped(cases: Sequence[Case], test: int) -> dict[str, str]:
    groups = _count_groups(cases)
    if groups < FOLDS:
        problem = (
            f"needs at least {FOLDS} groups of images, but there are only {groups}"
        )
        raise InputError("grouped", problem, _hint(cases))
    subsets = {test: "test", (test + 1) % FOLDS: "validation"}
    return {name: subsets.get(fold, "train") for name, fold in _folds(cases).items()}


def _folds(cases: Sequence[Case]) -> dict[str, int]:
    """The published folds where there are any: they hold for a part of a data set as for the whole."""
    published = {}
    for case in cases:
        row = known(case)
        if row is not None and row.fold is not None:
            published[case.name] = row.fold
    if len(published) == len(cases):
        return published
    official = official_folds(cases)
    if official is not None:
        return official
    labels, groups = [case.label for case in cases], [case.group for case in cases]
    folds = stratified_folds(labels, groups)
    names = [case.name for case in cases]
    return dict(zip(names, folds, strict=True))


def _from_table(path: Path, cases: Sequence[Case]) -> dict[str, str]:
    # macOS stores accents in another way than most programs write them.
    name_of = {unicodedata.normalize("NFC", case.name): case.name for case in cases}
    rows = read_table(path, ("file", "subset"))
    for row in rows:
        file = unicodedata.normalize("NFC", row["file"])
        row["file"] = name_of.get(file, file)
        row["subset"] = row["subset"].casefold()
        if row["subset"] not in SUBSETS:
            problem = f"puts {row['file']} into the unknown subset {row['subset']}"
            raise InputError(path, problem, f"use {', '.join(SUBSETS)}")
    hint = "give every image one row"
    if not rows:
        raise InputError(path, "names no images", hint)
    times_of = Counter(row["file"] for row in rows)
    name, times = times_of.most_common(1)[0]
    if times > 1:
        raise InputError(path, f"names {name} {times} times", hint)
    return {row["file"]: row["subset"] for row in rows}


def _require_files(name: str, cases: Sequence[Case], subset_of: dict[str, str]) -> None:
    missing = sorted(subset_of.keys() - {case.name for case in cases})
    if missing:
        problem = f"{len(missing)} of its {len(subset_of)} images are not in the data set, first {missing[0]}"
        hint = f"complete the data set, or {_hint(cases)}"
        if is_table(name) and len(missing) == len(subset_of):
            hint = f"name images without their folder and with their ending, as {cases[0].name}"
        raise InputError(f"split {name}", problem, hint)
