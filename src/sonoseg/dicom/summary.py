"""What a run over DICOM files did: in results.json, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sonoseg
from sonoseg.errors import InputError, visible
from sonoseg.reader.overlay import NOTICE
from sonoseg.reader.segmenter import Segmenter

RESULTS = "results.json"


@dataclass
class Summary:
    """What a run did: entries of results.json, the errors, and how many files of a folder were passed over."""

    files: list[dict[str, Any]] = field(default_factory=list)
    failed: list[InputError] = field(default_factory=list)
    passed_over: int = 0

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some files failed; 2: nothing could be segmented."""
        if not self.files:
            return 2
        return 1 if self.failed else 0


def report(segmenter: Segmenter, summary: Summary) -> dict[str, Any]:
    """The content of results.json."""
    card = segmenter.card
    failed = [{"file": error.subject, "error": str(error)} for error in summary.failed]
    return {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": segmenter.sha256,
        },
        "images": [],
        "clips": [],
        "dicom": summary.files,
        "failed": failed,
    }


def to_text(summary: Summary, folder: Path) -> str:
    """One line for each file, its doubts, and what was passed over."""
    lines = []
    for entry in summary.files:
        name = visible(entry["file"])
        lines.append(f"{name}: {_describe(entry)}")
        lines += [f"{name}: do not trust this: {doubt}" for doubt in entry["doubts"]]
    if summary.passed_over:
        lines.append(
            f"{summary.passed_over} files were skipped: they are not ultrasound"
        )
    if summary.files:
        lines.append(f"masks, overlays and {RESULTS} are in {folder}")
    return "\n".join(lines)


def _describe(entry: dict[str, Any]) -> str:
    """The largest lesion of a file, in a line."""
    found = []
    for view in entry["views"]:
        found += [(lesion["area"], lesion, view) for lesion in view["lesions"]]
    if not found:
        return "no lesion found"
    _, lesion, view = max(found, key=lambda one: float(one[0]))
    long, short = lesion["longest_diameter"], lesion["perpendicular_diameter"]
    frame = (
        f" in frame {view['frame']} of {entry['frames']}" if entry["frames"] > 1 else ""
    )
    return (
        f"{_count(found)}, the largest{frame} {long:.1f} x {short:.1f} {view['unit']}"
    )


def _count(found: Sequence[object]) -> str:
    return "1 outline" if len(found) == 1 else f"{len(found)} outlines"
