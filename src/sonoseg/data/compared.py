"""Compares the images of a data set with each other: copies, labels that differ among them, leakage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sonoseg.data.case import Case
from sonoseg.data.copies import connected, thumbnail
from sonoseg.data.scan import Finding, Scan


@dataclass
class Images:
    """The images that can be read, as far as comparing them needs."""

    cases: list[Case] = field(default_factory=list)
    thumbnails: list[NDArray[np.float32]] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)

    def add(self, case: Case, image: NDArray[np.uint8]) -> None:
        self.cases.append(case)
        self.thumbnails.append(thumbnail(image))
        content = repr(image.shape).encode() + image.tobytes()
        self.digests.append(hashlib.sha256(content).digest())


def check_copies(found: Scan, images: Images, pairs: list[tuple[int, int]]) -> None:
    count = len(images.cases)
    first: dict[bytes, int] = {}
    same = [(first.setdefault(digest, i), i) for i, digest in enumerate(images.digests)]
    exact = [members for members in connected(count, same) if len(members) > 1]
    for members in exact:
        _add_group(found, images, "exact copies", members, "same pixels")
    for members in connected(count, pairs + same):
        if len(members) > 1 and members not in exact:
            _add_group(found, images, "near-copies", members, "nearly the same image")
        labels = {images.cases[i].label for i in members} - {"unknown"}
        if len(labels) > 1:
            message = f"labelled {' and '.join(sorted(labels))}"
            _add_group(found, images, "label conflict", members, message)


def check_leakage(
    found: Scan,
    images: Images,
    pairs: list[tuple[int, int]],
    subsets: dict[str, list[Case]],
) -> None:
    """Copies and groups that lie in more than one subset; images in no subset join nothing.

    All frames of a loop are of one group, but only the first one is compared with other images.
    """
    cases, subset_of = [], []
    for subset, own in subsets.items():
        cases += own
        subset_of += [subset] * len(own)
    place_of = {case.name: place for place, case in enumerate(cases)}
    first: dict[str, int] = {}
    joined = [(first.setdefault(case.group, n), n) for n, case in enumerate(cases)]
    for one, other in pairs:
        names = images.cases[one].name, images.cases[other].name
        if names[0] in place_of and names[1] in place_of:
            joined.append((place_of[names[0]], place_of[names[1]]))
    for members in connected(len(cases), joined):
        if len({subset_of[i] for i in members}) > 1:
            found_in = {(found.relative(cases[i].image), subset_of[i]) for i in members}
            files, places = zip(*sorted(found_in), strict=True)
            message = f"copies or one patient, in {', '.join(places)} in this order"
            found.findings.append(Finding("leakage", files, message))


def _add_group(
    found: Scan, images: Images, kind: str, members: Iterable[int], message: str
) -> None:
    files = tuple(found.relative(images.cases[i].image) for i in members)
    found.findings.append(Finding(kind, files, message))
