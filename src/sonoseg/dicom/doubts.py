"""The doubts about a DICOM file: those of its frames together, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from sonoseg.dicom.segment import Segmented


@dataclass
class _Kind:
    """Doubts that differ at most in a number in brackets: their sentences, and the frames that have one."""

    sentences: set[str] = field(default_factory=set)
    frames: set[int] = field(default_factory=set)


class Doubts:
    """Collects the doubts of the frames of a file, each kind once."""

    def __init__(self) -> None:
        self._frames: set[int] = set()
        self._kinds: dict[str, _Kind] = {}

    def add(self, one: Segmented) -> None:
        """Adds those of one region of a frame."""
        frame = one.view.frame
        self._frames.add(frame)
        for doubt in one.result.doubts:
            name, _, _ = doubt.partition(" (")
            kind = self._kinds.setdefault(name, _Kind())
            kind.sentences.add(doubt)
            kind.frames.add(frame)

    @property
    def words(self) -> list[str]:
        """One sentence for each kind of doubt; says on how many frames, if it is not on all of them."""
        all_words = []
        for name, kind in self._kinds.items():
            words = name
            if len(kind.sentences) == 1:
                (words,) = kind.sentences
            if kind.frames != self._frames:
                words += f", on {len(kind.frames)} of {len(self._frames)} frames"
            all_words.append(words)
        return all_words
