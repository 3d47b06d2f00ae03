"""A clip is segmented frame by frame as its frames alone would be, and stopped clips leave nothing behind."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from sonoseg.errors import InputError
from sonoseg.reader import cine
from sonoseg.reader.cine import COLUMNS, segment_clip
from sonoseg.reader.segmenter import Segmenter, load

MakeClip = Callable[..., Path]
Loop = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def segmenter(bundle: Path) -> Segmenter:
    return load(bundle)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_frame_is_measured_as_alone(
    tmp_path: Path, out: Path, segmenter: Segmenter, make_clip: MakeClip, loop: Loop
) -> None:
    path = make_clip(tmp_path / "loop.mkv", loop, rate=20, codec="ffv1")
    entry = segment_clip(segmenter, path, out, spacing=0.1)
    rows = _rows(out / "loop_frames.csv")
    assert tuple(rows[0]) == COLUMNS
    alone = [segmenter.segment(frame, 0.1).to_dict(False) for frame in loop]
    for number, (row, result) in enumerate(zip(rows, alone, strict=True)):
        assert (int(row["frame"]), float(row["seconds"]), row["unit"]) == (
            number + 1,
            number / 20,
            "mm",
        )
        assert int(row["lesions"]) == len(result["lesions"])
        if not result["lesions"]:
            assert set(list(row.values())[5:]) == {""}
            continue
        lesion = result["lesions"][0]
        for name in (
            "area",
            "longest_diameter",
            "perpendicular_diameter",
            "mean_probability",
        ):
            assert float(row[name]) == lesion[name]
        assert [float(row["centre_x"]), float(row["centre_y"])] == lesion["centre"]
    largest = max(range(10), key=lambda number: alone[number]["lesions"][0]["area"])
    assert entry.pop("rate_held") > 0
    assert entry == {
        "file": str(path),
        "overlay": "loop_overlay.mp4",
        "frames_table": "loop_frames.csv",
        "width": 420,
        "height": 300,
        "unit": "mm",
        "spacing": alone[0]["spacing"],
        "frames": 12,
        "frames_with_lesion": 10,
        "frames_in_doubt": 0,
        "largest": {
            "frame": largest + 1,
            "seconds": largest / 20,
            **alone[largest]["lesions"][0],
        },
        "fps": 20.0,
    }


def test_the_overlay_is_a_video_of_the_same_size_rate_and_times(
    tmp_path: Path, out: Path, segmenter: Segmenter, make_clip: MakeClip, loop: Loop
) -> None:
    ticks = [0, 40, 50, 130, 140, 150, 400, 410, 900, 910, 920, 930]
    segment_clip(segmenter, make_clip(tmp_path / "even.avi", loop), out)
    segment_clip(segmenter, make_clip(tmp_path / "uneven.mkv", loop, ticks=ticks), out)
    for name, times in (
        ("even", [40 * number for number in range(12)]),
        ("uneven", ticks),
    ):
        with av.open(str(out / f"{name}_overlay.mp4")) as file:
            stream = file.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == (
                "h264",
                420,
                300,
            )
            assert name == "uneven" or stream.average_rate == 25
            frames = list(file.decode(stream))
        assert [frame.time * 1000 for frame in frames] == pytest.approx(times)
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]
        blue = [
            picture[..., 2] - picture[..., 0] > 40 for picture in pictures
        ]  # as the outline is
        assert [bool(found.any()) for found in blue] == [True] * 10 + [False] * 2
        # The outline goes with the lesion, 10 pixels a frame.
        left = [np.flatnonzero(found[:170, :250].any(0))[0] for found in blue[:8]]
        assert np.diff(left) == pytest.approx(np.full(7, 10), abs=4)


def test_odd_sizes_are_made_even_at_the_edge(
    tmp_path: Path, out: Path, segmenter: Segmenter, make_clip: MakeClip, loop: Loop
) -> None:
    path = make_clip(
        tmp_path / "odd.mkv", [frame[:299, :419] for frame in loop], codec="ffv1"
    )
    entry = segment_clip(segmenter, path, out)
    assert (entry["width"], entry["height"]) == (419, 299)
    with av.open(str(out / "odd_overlay.mp4")) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (420, 300)


@pytest.mark.parametrize("frames", [0, 7])
def test_a_clip_that_breaks_leaves_nothing(
    tmp_path: Path,
    out: Path,
    segmenter: Segmenter,
    make_clip: MakeClip,
    loop: Loop,
    frames: int,
) -> None:
    path = tmp_path / "loop.avi"
    content = make_clip(path, loop).read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4] if frames else b"no video at all")
    threads = threading.active_count()
    with pytest.raises(InputError) as error:
        segment_clip(segmenter, path, out)
    assert error.value.subject == str(path)
    assert list(out.iterdir()) == []
    assert threading.active_count() == threads


@pytest.mark.parametrize("stage", ["progress", "draw", "segment"])
def test_a_stop_in_the_middle_leaves_no_file_and_no_thread(
    tmp_path: Path,
    out: Path,
    bundle: Path,
    make_clip: MakeClip,
    loop: Loop,
    stage: str,
    monkeypatch: Any,
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    def interrupt(frames: int) -> None:
        if frames == 3:
            assert list(out.iterdir())
            monkeypatch.setattr(
                *{"draw": (cine, "draw_frame"), "segment": (Segmenter, "segment")}[
                    stage
                ],
                stop,
            )

    path = make_clip(tmp_path / "loop.mp4", loop)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        segment_clip(
            load(bundle), path, out, progress=stop if stage == "progress" else interrupt
        )
    assert list(out.iterdir()) == []
    assert threading.active_count() == threads


INTERRUPTED = """
import os, signal, sys
from sonoseg.cli import main
from sonoseg.reader.video_writer import VideoWriter

write, written = VideoWriter.write, []

def write_some(self, picture, ticks):
    write(self, picture, ticks)
    written.append(ticks)
    if len(written) == 30:
        os.kill(os.getpid(), signal.SIGINT)

VideoWriter.write = write_some
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_the_command_with_nothing_half_written(
    tmp_path: Path, bundle: Path, make_clip: MakeClip, loop: Loop
) -> None:
    path, out = make_clip(tmp_path / "loop.mp4", loop * 5), tmp_path / "out"
    words = ["segment", str(path), "--model", str(bundle), "--out", str(out)]
    command = [sys.executable, "-c", INTERRUPTED, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "sonoseg: stopped; to finish, run the same command again\n"
    assert list(out.iterdir()) == []


def test_memory_is_the_same_for_many_frames(
    tmp_path: Path, out: Path, segmenter: Segmenter, make_clip: MakeClip, loop: Loop
) -> None:
    def peak(repeats: int) -> int:
        path = make_clip(tmp_path / f"{repeats}.mp4", loop * repeats)
        tracemalloc.start()
        segment_clip(segmenter, path, out)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    peak(1)
    # Of 96 frames more, 40 may be alive, however the threads take turns.
    assert peak(10) < peak(2) + 40 * loop[0].nbytes
