"""Reports and captures: values read back, checked by dciodvfy and by dcmqi's tid1500reader."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, conformance_errors, make_dataset, region_item
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from skimage.draw import ellipse
from skimage.measure import label
from test_read import TABLE
from test_seg import ALGORITHM, _drawn

from sonoseg.core.measure import find_lesions
from sonoseg.dicom.capture import make_capture
from sonoseg.dicom.lesions import Outline, Tracker
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.report import BIDIRECTIONAL, NO_SCALE, make_report
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.segment import Segmented
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult

ROW, COLUMN = 0.2, 0.1


def _outline(part: NDArray[np.bool_], spacing: tuple[float, float] | None) -> Outline:
    return Outline(1, 1, part, (0, 0), part.shape, spacing)


def test_axes_are_those_of_the_reader_where_pixels_are_square() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        mask = np.zeros((60, 70), np.bool_)
        rows, columns = ellipse(
            30, 35, *rng.uniform(3, 25, 2), mask.shape, rng.uniform(0, 3)
        )
        mask[rows, columns] = True
        (lesion,) = find_lesions(mask, mask.astype(np.float32))
        outline = _outline(mask, (0.5, 0.5))
        long, short = outline.axes()
        assert long.length == pytest.approx(lesion.longest.length / 2)
        assert short.length == pytest.approx(lesion.across.length / 2)
        assert outline.area == pytest.approx(lesion.area / 4)


def test_axes_of_oblong_pixels_are_measured_in_mm() -> None:
    mask = np.zeros((120, 120), np.bool_)
    mask[ellipse(60, 60, 20, 25)] = True  # 8 mm high and 5 mm wide
    outline = _outline(mask, (ROW, COLUMN))
    long, short = outline.axes()
    assert long.length == pytest.approx(8, abs=ROW)
    assert short.length == pytest.approx(5, abs=COLUMN)
    assert outline.area == pytest.approx(math.pi * 4 * 2.5, rel=0.02)
    assert abs(long.start[1] - long.end[1]) > 38  # it stands upright


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
)
def test_the_longest_axis_is_the_largest_distance_of_corners(
    mask: NDArray[np.bool_],
) -> None:
    if label(mask, connectivity=2).max() != 1:  # an outline is one part
        return
    outline = _outline(mask, (ROW, COLUMN))
    y, x = np.nonzero(mask)
    corners = np.concatenate(
        [np.stack([x + i, y + j], 1) for i in (0, 1) for j in (0, 1)]
    )
    places = corners * (COLUMN, ROW)
    largest = np.linalg.norm(places[:, None] - places[None], axis=2).max()
    long, short = outline.axes()
    assert long.length == pytest.approx(largest)
    assert short.length <= long.length + 1e-9
    one, other = np.subtract(*_ends(long)), np.subtract(*_ends(short))
    scale = np.array((COLUMN, ROW))
    assert np.dot(one * scale, other * scale) == pytest.approx(0, abs=1e-9)


def _ends(diameter: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(diameter.start), np.array(diameter.end)


def test_a_lesion_keeps_its_number_through_a_loop() -> None:
    file = read_dicom(as_bytes(make_dataset(np.zeros((4, 64, 64), np.uint8))))
    tracker = Tracker()
    found = []
    for view in file.views():
        mask = np.zeros((64, 64), np.bool_)
        if view.frame != 3:  # out of sight for a frame
            mask[10:20, 10 + view.frame : 20 + view.frame] = True
        if view.frame >= 2:
            mask[40:60, 40:60] = True
        found.append([(one.segment, one.corner) for one in tracker.follow(view, mask)])
    assert found == [
        [(1, (11, 10))],
        [(2, (40, 40)), (1, (12, 10))],
        [(2, (40, 40))],
        [(2, (40, 40)), (1, (14, 10))],
    ]


def _numbers(report: Dataset) -> list[dict[str, float]]:
    """The measurements of each group, by the meaning of their names."""
    groups = []
    for container in report.ContentSequence:
        if container.ConceptNameCodeSequence[0].CodeValue != "126010":
            continue
        for group in container.ContentSequence:
            values = {}
            for item in group.ContentSequence:
                if item.ValueType == "NUM":
                    value = item.MeasuredValueSequence[0]
                    name = item.ConceptNameCodeSequence[0].CodeMeaning
                    unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                    values[f"{name} {unit}"] = float(value.NumericValue)
            groups.append(values)
    return groups


def _file(
    spacing: tuple[float, float] | None = (ROW / 10, COLUMN / 10), **tags: Any
) -> DicomFile:
    pixels = np.full((120, 160), 90, np.uint8)
    regions = [] if spacing is None else [region_item((8, 8, 151, 111), spacing)]
    return read_dicom(as_bytes(make_dataset(pixels, regions=regions, **tags)))


def test_values_ends_and_identifiers(tmp_path: Path) -> None:
    file = _file(Laterality="R")
    outlines = _drawn(file, [1])
    report = make_report(file, outlines, ALGORITHM)
    path = tmp_path / "sr.dcm"
    report.save_as(path)
    assert conformance_errors(path) == []
    read = pydicom.dcmread(path)
    groups = _numbers(read)
    assert len(groups) == 2
    for outline, values in zip(outlines, groups, strict=True):
        long, short = outline.axes()
        assert values == {
            "Long Axis mm": round(long.length, 2),
            "Short Axis mm": round(short.length, 2),
            "Area mm2": round(outline.area, 2),
        }
    text = read.to_json()
    assert BIDIRECTIONAL in text and "Right breast" in text and ALGORITHM.sha256 in text
    seg = make_seg(file, outlines, ALGORITHM)
    for segment in seg.SegmentSequence:
        assert segment.TrackingUID in text
    long, _ = outlines[0].axes()
    ends = next(one.value for one in read.iterall() if one.keyword == "GraphicData")
    np.testing.assert_allclose(ends, [*long.start, *long.end], rtol=1e-5)


def test_dcmqi_reads_the_report(tmp_path: Path) -> None:
    file = _file()
    path, out = tmp_path / "sr.dcm", tmp_path / "sr.json"
    make_report(file, _drawn(file, [1]), ALGORITHM).save_as(path)
    tool = Path(sys.executable).parent / "tid1500reader"
    command = [tool, "--inputDICOM", path, "--outputMetadata", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads(out.read_text())
    assert len(read["Measurements"]) == 2
    items = read["Measurements"][0]["measurementItems"]
    values = {one["quantity"]["CodeMeaning"]: float(one["value"]) for one in items}
    assert values == {
        name.rsplit(" ", 1)[0]: value
        for name, value in _numbers(pydicom.dcmread(path))[0].items()
    }


def test_pixels_are_not_millimetres(tmp_path: Path) -> None:
    file = _file(None)
    report = make_report(file, _drawn(file, [1]), ALGORITHM)
    report.save_as(tmp_path / "sr.dcm")
    assert conformance_errors(tmp_path / "sr.dcm") == []
    assert (
        _numbers(report) == [{}, {}]
        and NO_SCALE in pydicom.dcmread(tmp_path / "sr.dcm").to_json()
    )


def test_of_two_lesions_only_the_one_without_a_scale_has_no_lengths() -> None:
    file = _file()
    first, second = _drawn(file, [1])
    mixed = [first, dataclasses.replace(second, spacing=None)]
    report = make_report(file, mixed, ALGORITHM)
    numbers = _numbers(report)
    assert numbers[0] and not numbers[1]
    text = report.to_json()
    assert "Lesion 2: the size of a pixel is not known" in text
    assert "Lesion 1: the size" not in text and NO_SCALE not in text


def test_nothing_found_is_said(tmp_path: Path) -> None:
    report = make_report(_file(), [], ALGORITHM)
    report.save_as(tmp_path / "sr.dcm")
    assert conformance_errors(tmp_path / "sr.dcm") == []
    text = pydicom.dcmread(tmp_path / "sr.dcm").to_json()
    assert "No lesion was found" in text and NO_SCALE not in text
    assert _numbers(report) == []


@pytest.mark.parametrize("name", TABLE)
def test_every_real_file_gets_a_valid_report(
    real: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    file = read_dicom(real(name))
    outlines = _drawn(file, [frame for frame in (1, 5) if frame <= file.frames])
    report = make_report(file, outlines, ALGORITHM)
    path = tmp_path / "sr.dcm"
    report.save_as(path)
    assert [one for one in conformance_errors(path) if '"999.999' not in one] == []
    known = file.layout.regions[0].spacing is not None
    assert [len(values) for values in _numbers(report)] == [3 * known] * len(
        {outline.segment for outline in outlines}
    )
    assert (
        report.SOPInstanceUID == make_report(file, outlines, ALGORITHM).SOPInstanceUID
    )


def _segmented(file: DicomFile) -> list[Segmented]:
    found = []
    tracker = Tracker()
    for view in file.views([1]):
        pixels = view.image.pixels
        mask = np.zeros(pixels.shape, np.bool_)
        mask[20:60, 30:80] = True
        small = np.zeros((32, 32), np.float32)
        result = SegmentationResult(view.image, small, mask, "sonoseg-1")
        found.append(Segmented(view, result, tuple(tracker.follow(view, mask))))
    return found


def test_a_capture_shows_the_regions_and_nothing_beside_them(
    real: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "sc.dcm"
    for name in ("gdcm-US-ALOKA-16.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm"):
        file = read_dicom(real(name))
        make_capture(
            file, _segmented(file), ALGORITHM, Options(pseudonym="key")
        ).save_as(path)
        assert conformance_errors(path) == []
        capture = pydicom.dcmread(path)
        picture = capture.pixel_array
        assert picture.shape == (*file.shape, 3) and capture.BurnedInAnnotation == "NO"
        outside = np.ones(file.shape, np.bool_)
        for region in file.layout.regions:
            assert picture[region.slices].std() > 5
            outside[region.slices] = False
        assert outside.any() and not picture[outside].any()
        assert (
            str(file.dataset.PatientName) not in str(capture)
            or not file.dataset.PatientName
        )


def test_captures_of_one_series_are_of_one_side(tmp_path: Path) -> None:
    """Laterality is of the series: dcentvfy of dicom3tools compares the objects of each."""
    series = set()
    for number, side in enumerate("LR"):
        file = _file(None, ImageLaterality=side, SOPInstanceUID=f"1.2.3.{number}")
        capture = make_capture(file, _segmented(file), ALGORITHM)
        capture.save_as(tmp_path / f"{side}.dcm")
        series.add(capture.SeriesInstanceUID)
        assert capture.Laterality == side
    assert len(series) == 2
    tool = Path(sys.executable).parent / "dcentvfy"
    words = [tool, tmp_path / "L.dcm", tmp_path / "R.dcm"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "Error" not in done.stdout + done.stderr


def test_a_picture_that_may_show_a_name_is_not_written_under_a_pseudonym() -> None:
    file = _file(None)
    assert make_capture(file, _segmented(file), ALGORITHM).BurnedInAnnotation == "YES"
    with pytest.raises(InputError, match="may show a name"):
        make_capture(file, _segmented(file), ALGORITHM, Options(pseudonym="key"))


def test_a_pseudonym_leaves_no_patient_in_report_and_capture(tmp_path: Path) -> None:
    file = _file()
    options = Options(pseudonym="key")
    make_report(file, _drawn(file, [1]), ALGORITHM, options).save_as(
        tmp_path / "sr.dcm"
    )
    make_capture(file, _segmented(file), ALGORITHM, options).save_as(
        tmp_path / "sc.dcm"
    )
    for name in ("sr.dcm", "sc.dcm"):
        content = (tmp_path / name).read_bytes()
        for secret in (b"Doe", b"P-17", b"19700101", b"20260101"):
            assert secret not in content
        assert conformance_errors(tmp_path / name) == []


def test_who_corrected_the_outlines_is_an_observer(tmp_path: Path) -> None:
    file = _file()
    outlines = _drawn(file, [1])
    path = tmp_path / "sr.dcm"
    report = make_report(file, outlines, ALGORITHM, Options(corrected_by="Dr. Ito=X^Y"))
    report.save_as(path)
    assert conformance_errors(path) == []
    context = [
        one
        for one in pydicom.dcmread(path).ContentSequence
        if one.RelationshipType == "HAS OBS CONTEXT"
    ]
    assert [one.ConceptNameCodeSequence[0].CodeValue for one in context[:3]] == [
        "121005",
        "121008",
        "121005",
    ]
    kinds = [one.ConceptCodeSequence[0].CodeMeaning for one in (context[0], context[2])]
    assert kinds == ["Person", "Device"]
    assert context[1].PersonName == "Dr. Ito X Y"
    own = make_report(file, outlines, ALGORITHM)
    assert own.SOPInstanceUID != report.SOPInstanceUID
    assert not any("121008" in str(one) for one in own.ContentSequence)
