"""The images that all jobs of a reproduction share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sonoseg.core.metrics import GRID
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import SUBSETS, split_cases
from sonoseg.errors import InputError
from sonoseg.progress import track
from sonoseg.reproduction.settings import ReproductionSettings
from sonoseg.train.record import facts_of, pixels_of

Subsets = Mapping[str, Sequence[Case]]
"""Name of a subset → its cases."""


@dataclass(frozen=True)
class Material:
    """The images that all jobs share.

    Attributes:
        subsets: split → subset → cases.
        pictures: test cases that are drawn with the prediction of every model.
        pixels: split → sha256 over names, subsets and pixels of its images and masks.
        cases: split → sha256 over names, subsets, labels, groups and spacings of its images.
    """

    subsets: dict[str, dict[str, list[Case]]]
    pictures: tuple[Case, ...]
    pixels: dict[str, str]
    cases: dict[str, str]

    @classmethod
    def read(
        cls, settings: ReproductionSettings, more_splits: Iterable[str] = ()
    ) -> Material:
        """Reads the data folder.

        Args:
            settings: of the call.
            more_splits: further splits that the report is about.

        Raises:
            InputError: the folder, a split or a named picture does not exist, or a pack has another size.
        """
        cases = load_cases(settings.data)
        is_one = settings.size == GRID[0]  # no pack has two sizes
        for case in cases:
            case.check_resizable(settings.size, "training", is_one)
            case.check_resizable(GRID[0], "evaluation", is_one)
        splits = dict.fromkeys(settings.splits) | dict.fromkeys(more_splits)
        subsets = {split: split_cases(cases, split) for split in splits}
        for split, parts in subsets.items():
            _require_all_subsets(split, parts)
        first_split = next(iter(subsets.values()))
        pictures = chosen_pictures(first_split["test"], settings.pictures)
        used = _used_in(subsets.values())
        bar = track(used.items(), "reading images", len(used), "image")
        hashes = {name: pixels_of(case) for name, case in bar}
        facts = {name: facts_of(case) for name, case in used.items()}
        return cls(
            subsets,
            pictures,
            pixels={split: digest_of(of, hashes) for split, of in subsets.items()},
            cases={split: digest_of(of, facts) for split, of in subsets.items()},
        )


def _require_all_subsets(split: str, parts: Subsets) -> None:
    for name in SUBSETS:
        if not parts[name]:
            raise InputError(
                f"--split {split}", f"leaves no {name} images", "choose another"
            )


def _used_in(splits: Iterable[Subsets]) -> dict[str, Case]:
    """Name → case, for all cases of the splits."""
    used: dict[str, Case] = {}
    for parts in splits:
        for cases in parts.values():
            used |= {case.name: case for case in cases}
    return used


def digest_of(subsets: Subsets, texts: Mapping[str, str]) -> str:
    """Returns 64 hex digits for a split.

    Args:
        subsets: subset → cases.
        texts: name of a case → `pixels_of` or `facts_of` it.
    """
    digest = hashlib.sha256()
    for name, cases in subsets.items():
        for case in cases:
            line = f"{name} {case.name} {texts[case.name]}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def chosen_pictures(test: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """Returns the test cases called `names`; without names the first benign and the first malignant one.

    If no label is known, it returns the first two cases.

    Raises:
        InputError: there is no such test case.
    """
    by_name = {case.name: case for case in test}
    for name in names:
        if name not in by_name:
            hint = f"choose one such as {test[0].name}"
            raise InputError(f"--pictures {name}", "is no test image", hint)
    if names:
        return tuple(by_name[name] for name in names)
    chosen = []
    for label in ("benign", "malignant"):
        chosen += [case for case in test if case.label == label][:1]
    return tuple(chosen) or tuple(test[:2])
