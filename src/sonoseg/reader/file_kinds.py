"""Kinds of files that hold several images, such as DICOM: who segments them is noted here.

The reader does not know DICOM: `sonoseg.dicom` lies above it. `sonoseg/__init__.py` adds what segments DICOM files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonoseg.reader.result import SegmentationResult
    from sonoseg.reader.segmenter import PixelSize, Segmenter

SegmentFrames = Callable[
    ["Segmenter", Any, "PixelSize | None", bool], "Iterator[SegmentationResult]"
]
"""Takes a segmenter, the source, the spacing and whether to explain; yields one result for each region of each frame.
"""
SegmentStill = Callable[
    ["Segmenter", Any, "PixelSize | None", bool], "SegmentationResult"
]
"""The same for a source that holds one image only; raises InputError for another."""


@dataclass(frozen=True)
class FileKind:
    """A kind of files.

    Attributes:
        recognises: whether a source (see `sonoseg.core.source.Source`) is of this kind; fast, and never raises.
        segment_still, segment_frames: see the types.
    """

    recognises: Callable[[Any], bool]
    segment_still: SegmentStill
    segment_frames: SegmentFrames


_kinds: list[FileKind] = []


def add_kind(kind: FileKind) -> None:
    """Makes every segmenter take files of this kind."""
    _kinds.append(kind)


def kind_of(source: Any) -> FileKind | None:
    """The kind that a source is of; None for pictures and arrays."""
    for kind in _kinds:
        if kind.recognises(source):
            return kind
    return None
