"""What a reader sees of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sonoseg.core.mask import outline_problem
from sonoseg.core.measure import Lesion
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve.calipers import sized, spacing_of
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Finding, Network
from sonoseg.serve.scans import open_scan
from sonoseg.serve.scenes import Shot


@dataclass(frozen=True)
class View:
    """What a reader sees of one image.

    Attributes:
        mask: (H, W) bool.
        revision: number of the last change; 0 if nothing was drawn.
        undo, redo: how many changes can be undone and redone.
        lesions: of the mask, in mm if the reader typed a spacing.
        by_hand: for each lesion, whether its diameters are the reader's calipers.
        finding: what the reader wrote; of a frame that has none yet, what was last written for its loop.
        state: open (not touched), edited, accepted, or changed (after it was accepted).
        network: whose mask the reader began with.
        doubts: why the result should not be trusted, in words.
        notes: what else the reader should know, in words.
    """

    mask: Mask
    revision: int
    undo: int
    redo: int
    lesions: Sequence[Lesion]
    by_hand: list[bool]
    finding: Finding
    state: str
    network: Network
    doubts: list[str]
    notes: list[str]


def doubts_of(
    shot: Shot, result: SegmentationResult, mask: Mask, finding: Finding, limits: Limits
) -> list[str]:
    """The doubts of a result with the mask (H, W) that the reader drew and the size of a pixel that was typed.

    Raises:
        InputError: the image cannot be read.
    """
    own = [doubt] if (doubt := outline_problem(mask)) else []
    size = spacing_of(finding, result.spacing)
    if size == result.spacing or not is_dicom_file(shot.path):
        return [*result.doubts, *own]
    file = open_scan(shot.path, limits)
    typed = sized(file, shot.scene.region, [size])
    kept = [one for one in result.doubts if one not in file.layout.doubts]
    return [*kept, *typed.layout.doubts, *own]


def other_network(made_with: Network, in_use: Network) -> str:
    """A note if the outline is not of the network in use; else ""."""
    if made_with == in_use:
        return ""
    network = f"{made_with.name} {made_with.version}"
    return f"the outline is of {network}, not of the network in use"
