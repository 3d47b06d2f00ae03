"""Pictures of a DICOM file: none that may show a name, and videos at a possible rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, make_dataset, region_item

from sonoseg.dicom.read import read_dicom
from sonoseg.segment_command import segment_command

WHOLE: list[Any] = []
NARROWER = [region_item((0, 0, 94, 63), (0.01, 0.01))]
HALVES = [
    region_item((0, 0, 47, 63), (0.01, 0.01)),
    region_item((48, 0, 95, 63), (0.02, 0.02)),
]
INSIDE = [region_item((0, 10, 95, 63), (0.01, 0.01))]


def _write(path: Path, regions: Any, frames: int = 0, **tags: Any) -> Path:
    shape = (frames, 64, 96) if frames else (64, 96)
    pixels = np.random.default_rng(0).integers(20, 90, shape, np.uint8)
    path.write_bytes(as_bytes(make_dataset(pixels, regions=regions, **tags)))
    return path


@pytest.mark.parametrize("frames", [0, 2])
@pytest.mark.parametrize("regions", [WHOLE, NARROWER, HALVES, INSIDE])
def test_with_a_pseudonym_no_picture_shows_the_whole_frame(
    tmp_path: Path, regions: Any, frames: int
) -> None:
    path = _write(tmp_path / "a.dcm", regions, frames)
    out = tmp_path / "out"
    options: dict[str, Any] = {"to": ("seg", "sr"), "explain": True, "out": out}
    words, code = segment_command([path], pseudonym="k", **options)
    (entry,) = json.loads((out / "results.json").read_text())["dicom"]
    is_inside = regions is INSIDE
    names = {one.name for one in out.iterdir()}
    pictures = {name for name in names if "overlay" in name or "heat" in name}
    assert code == 0 and "a_sr.dcm" in names
    assert bool(pictures) == is_inside == ("overlay" in entry)
    assert ("may show a name" in words) != is_inside
    assert bool(entry["notes"]) != is_inside
    again, _ = segment_command([path], **options)
    assert (out / "a_overlay.png").exists() and "may show a name" not in again


@pytest.mark.parametrize("regions", [WHOLE, NARROWER, HALVES, INSIDE])
def test_a_capture_of_almost_the_whole_frame_may_show_a_name(
    tmp_path: Path, regions: Any
) -> None:
    path = _write(tmp_path / "a.dcm", regions)
    is_inside = regions is INSIDE
    segment_command([path], to=("sc",), out=tmp_path / "out")
    capture = pydicom.dcmread(tmp_path / "out" / "a_sc.dcm")
    assert capture.BurnedInAnnotation == ("NO" if is_inside else "YES")
    out = tmp_path / "k"
    words, code = segment_command(
        [path], to=("seg", "sr", "sc"), out=out, pseudonym="k"
    )
    assert code == 0
    assert ("no overlay and no sc are written" in words) != is_inside
    (entry,) = json.loads((out / "results.json").read_text())["dicom"]
    assert bool(entry["notes"]) != is_inside
    written = {one.name for one in out.iterdir()}
    assert {"a_sr.dcm", "a_mask.png"} <= written
    assert ("a_sc.dcm" in written) == ("a_overlay.png" in written) == is_inside
    words, _ = segment_command([path], to=("coco",), out=out, pseudonym="k")
    assert ("no overlay and no image are written" in words) != is_inside
    assert (out / "a_shown.png").exists() == is_inside


@pytest.mark.parametrize("time", ["100000000", "1e-9", "0.0007", "-40", "0"])
def test_a_rate_that_cannot_be_is_the_usual_one(tmp_path: Path, time: str) -> None:
    path = _write(tmp_path / "a.dcm", INSIDE, 3, FrameTime=time)
    assert read_dicom(path).frame_time is None
    assert segment_command([path], out=tmp_path / "out")[1] == 0
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "out" / "a_overlay.mp4")) as video:
        assert float(video.streams.video[0].average_rate) == pytest.approx(25)


@pytest.mark.parametrize(("kind", "value"), [("LO", "fast"), ("OB", b"zz"), ("SQ", [])])
def test_a_time_that_is_no_number_is_the_usual_one(
    tmp_path: Path, kind: str, value: Any
) -> None:
    """The images of such a file are whole; `serve` lists the others of its folder."""
    pixels = np.zeros((3, 64, 96), np.uint8)
    dataset = make_dataset(pixels, regions=INSIDE)
    del dataset.FrameTime
    tag = pydicom.datadict.tag_for_keyword("FrameTime")
    dataset[tag] = pydicom.DataElement(tag, kind, value, validation_mode=0)
    path = tmp_path / "a.dcm"
    path.write_bytes(as_bytes(dataset))
    assert read_dicom(path).frame_time is None


@pytest.mark.parametrize("time", ["1", "10000"])
def test_the_slowest_and_the_fastest_loop(tmp_path: Path, time: str) -> None:
    path = _write(tmp_path / "a.dcm", INSIDE, 3, FrameTime=time)
    assert read_dicom(path).frame_time == float(time)
    assert segment_command([path], out=tmp_path / "out")[1] == 0
