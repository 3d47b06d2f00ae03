"""Segments a cine loop: every frame of a clip measured, drawn, and written as a video and a table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

from sonoseg.files import atomic_path
from sonoseg.reader.ahead import ahead
from sonoseg.reader.overlay import draw_frame
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import PixelSize, Segmenter
from sonoseg.reader.video import Clip, Frame, video_writer

_MEASURES = ("area", "longest_diameter", "perpendicular_diameter", "mean_probability")
COLUMNS = ("frame", "seconds", "in_doubt", "lesions", "unit", *_MEASURES, "centre_x", "centre_y")
"""Of STEM_frames.csv. Frames are counted from 1; `in_doubt` is 1 where `SegmentationResult.doubts` has any; from `area`
on, the largest lesion's, empty where there is none."""


def output_names(clip: Path) -> tuple[str, str]:
    """The names of a clip's video and table."""
    return f"{clip.stem}_overlay.mp4", f"{clip.stem}_frames.csv"


def segment_clip(
    segmenter: Segmenter,
    path: Path,
    folder: Path,
    spacing: PixelSize | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Segments every frame of a clip, in the memory of a few; writes the overlay as a video, and a table.

    One thread decodes ahead, another segments ahead, this one draws and encodes.

    Args:
        segmenter: the network.
        path: the clip.
        folder: where the two files go; each appears whole or not at all.
        spacing: mm per pixel of the frames as `Clip.frames` returns them, one number or (row, column); None measures
            in pixels.
        progress: called with the number of frames done.

    Returns:
        the entry for results.json.

    Raises:
        InputError: the clip cannot be read to its end (`subject` is then `path`), or the disk fails.
    """
    began, (overlay, table) = perf_counter(), output_names(path)

    def segmented(frame: Frame) -> tuple[Frame, SegmentationResult]:
        return frame, segmenter.segment(frame.image, spacing)

    with (
        closing(Clip(path)) as clip,
        closing(ahead(clip.frames())) as frames,
        closing(ahead(map(segmented, frames))) as results,
        atomic_path(folder / table) as rows_path,
        rows_path.open("w", newline="", encoding="utf-8") as file,
        atomic_path(folder / overlay) as video_path,
        video_writer(video_path, clip.rate, clip.time_base) as video,
    ):
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        tally = _Tally(float(clip.time_base))
        for frame, result in results:
            rows.writerow(tally.add(frame, result))
            video.write(draw_frame(result), frame.ticks)
            if progress is not None:
                progress(tally.frames)
    files = {"file": str(path), "overlay": overlay, "frames_table": table}
    return {
        **files,
        **tally.summary(),
        "fps": round(float(clip.rate), 4),
        "rate_held": tally.rate(began),
    }


class _Tally:
    """What is told of the clip as a whole."""

    def __init__(self, seconds_a_tick: float) -> None:
        self.frames = self.with_lesion = self.in_doubt = 0
        self._seconds_a_tick = seconds_a_tick
        self._largest, self._largest_area = None, 0.0
        self._common: dict[str, Any] = {}

    def add(self, frame: Frame, result: SegmentationResult) -> dict[str, Any]:
        """Takes in a frame; gives its row of the table."""
        self.frames += 1
        told = result.to_dict()
        place = {"frame": self.frames, "seconds": round(frame.ticks * self._seconds_a_tick, 4)}
        self._common = {name: told[name] for name in ("width", "height", "unit", "spacing")}
        self.in_doubt += bool(result.doubts)
        row = {
            **place,
            "in_doubt": int(bool(result.doubts)),
            "lesions": len(result.lesions),
            "unit": told["unit"],
        }
        if not result.lesions:
            return row
        self.with_lesion += 1
        lesion = told["lesions"][0]
        if result.lesions[0].area > self._largest_area:
            self._largest, self._largest_area = place | lesion, result.lesions[0].area
        centre = dict(zip(("centre_x", "centre_y"), lesion["centre"], strict=True))
        return {**row, **{name: lesion[name] for name in _MEASURES}, **centre}

    def summary(self) -> dict[str, Any]:
        """Size, unit, numbers of frames, and the lesion where it is largest."""
        counts = {
            "frames": self.frames,
            "frames_with_lesion": self.with_lesion,
            "frames_in_doubt": self.in_doubt,
        }
        return {**self._common, **counts, "largest": self._largest}

    def rate(self, began: float) -> float:
        """Frames a second since `began`."""
        return round(self.frames / (perf_counter() - began), 2)
