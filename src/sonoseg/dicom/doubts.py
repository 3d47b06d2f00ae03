"""The doubts about a DICOM file: those of its frames together, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from sonoseg.dicom.segment import Segmented

_Frames = dict[int, None]


@dataclass
class Doubts:
    """Collects the doubts of the frames of a file, each once."""

    _seen: _Frames = field(default_factory=dict)
    _frames: dict[str, _Frames] = field(default_factory=dict)
    _words: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, one: Segmented) -> None:
        """Adds those of one region of a frame."""
        frame = one.view.frame
        self._seen[frame] = None
        for doubt in one.result.doubts:
            kind = doubt.partition(" (")[0]  # without a number that differs
            self._frames.setdefault(kind, {})[frame] = None
            self._words.setdefault(kind, {})[doubt] = None

    @property
    def words(self) -> list[str]:
        """One sentence for each kind of doubt; says on how many frames, if it is not on all of them."""
        sentences = []
        for kind, words in self._words.items():
            sentence = kind if len(words) > 1 else next(iter(words))
            frames, count = self._frames[kind], len(self._seen)
            if len(frames) < count:
                sentence = f"{sentence}, on {len(frames)} of {count} frames"
            sentences.append(sentence)
        return sentences
