"""Segments a cine loop: measures every frame of a clip, and writes an overlay video and a table."""

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
from sonoseg.reader.video import Clip, Frame
from sonoseg.reader.video_writer import video_writer

_MEASURES = ("area", "longest_diameter", "perpendicular_diameter", "mean_probability")
_OF_FRAME = ("frame", "seconds", "in_doubt", "lesions", "unit")
COLUMNS = (*_OF_FRAME, *_MEASURES, "centre_x", "centre_y")
"""Of STEM_frames.csv. Frames are counted from 1; `in_doubt` is 1 where `SegmentationResult.doubts` has any. The columns
from `area` on describe the largest lesion; they are empty where there is none."""


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
    """Segments every frame of a clip; writes the overlay as a video, and a table.

    Only a few frames are in memory. One thread decodes, another one segments, and this one draws and encodes.

    Args:
        segmenter: the network.
        path: the clip.
        folder: the output folder. Each of the two files is written completely or not at all.
        spacing: mm per pixel of the frames as `Clip.frames` returns them, one number or (row, column); None measures
            in pixels.
        progress: called after each frame with the number of frames that are done.

    Returns:
        the entry for results.json.

    Raises:
        InputError: the clip cannot be read to its end (then `subject` is `path`), or a file cannot be written.
    """
    began = perf_counter()
    overlay, table = output_names(path)

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
    entry = {"file": str(path), "overlay": overlay, "frames_table": table}
    entry |= tally.summary()
    return entry | {"fps": round(float(clip.rate), 4), "rate_held": tally.rate(began)}


class _Tally:
    """Counts the frames of a clip and keeps its largest lesion."""

    def __init__(self, seconds_a_tick: float) -> None:
        self.frames = self.with_lesion = self.in_doubt = 0
        self._seconds_a_tick = seconds_a_tick
        self._largest, self._largest_area = None, 0.0
        self._common: dict[str, Any] = {}

    def add(self, frame: Frame, result: SegmentationResult) -> dict[str, Any]:
        """Counts a frame; returns its row of the table."""
        self.frames += 1
        entry = result.to_dict(described=False)
        is_in_doubt = bool(result.doubts)
        self.in_doubt += is_in_doubt
        self._common = {
            name: entry[name] for name in ("width", "height", "unit", "spacing")
        }
        place = {
            "frame": self.frames,
            "seconds": round(frame.ticks * self._seconds_a_tick, 4),
        }
        lesions = len(result.lesions)
        row = place | {
            "in_doubt": int(is_in_doubt),
            "lesions": lesions,
            "unit": result.unit,
        }
        if not result.lesions:
            return row
        self.with_lesion += 1
        lesion, area = entry["lesions"][0], result.lesions[0].area
        if area > self._largest_area:
            self._largest, self._largest_area = place | lesion, area
        row |= {name: lesion[name] for name in _MEASURES}
        row["centre_x"], row["centre_y"] = lesion["centre"]
        return row

    def summary(self) -> dict[str, Any]:
        """Size, unit, numbers of frames, and the largest lesion with its frame."""
        counts = {
            "frames": self.frames,
            "frames_with_lesion": self.with_lesion,
            "frames_in_doubt": self.in_doubt,
        }
        return self._common | counts | {"largest": self._largest}

    def rate(self, began: float) -> float:
        """Frames per second since `began`."""
        return round(self.frames / (perf_counter() - began), 2)
