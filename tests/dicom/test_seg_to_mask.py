"""Segmentations become masks again: ours, and those as other programs write them; data sets of them."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import (
    as_bytes,
    conformance_errors,
    find_real,
    make_dataset,
    region_item,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from test_seg import ALGORITHM, _drawn

from sonoseg.core.mask import read_mask
from sonoseg.core.measure import find_lesions
from sonoseg.data.case import NO_PATIENT
from sonoseg.data.dicom import DicomCase, find_dicom, scan_dicom
from sonoseg.data.dicom_phantom import KINDS, make_screen, write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.data.packing import pack_folder
from sonoseg.dicom.lesions import Tracker
from sonoseg.dicom.mask_files import write_masks
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_fractional_seg, make_seg
from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame
from sonoseg.errors import InputError
from sonoseg.evaluate.surface import measure_surface, pixel_size

FRAMES = [2, 3]


def _loop() -> DicomFile:
    regions = [region_item((0, 0, 79, 63), (0.01, 0.01))]
    return read_dicom(
        as_bytes(make_dataset(np.zeros((4, 64, 80), np.uint8), regions=regions))
    )


def _expected(outlines: Any) -> dict[int, Any]:
    union: dict[int, Any] = {}
    for one in outlines:
        union[one.frame] = one.mask | union.get(
            one.frame, np.zeros(one.shape, np.bool_)
        )
    return union


def _assert_same(found: dict[int, Any], expected: dict[int, Any]) -> None:
    assert sorted(found) == sorted(expected)
    for frame, mask in expected.items():
        np.testing.assert_array_equal(found[frame], mask)


@pytest.mark.parametrize("strict", [True, False])
def test_ours_come_back_as_png_with_the_frames_names(
    tmp_path: Path, strict: bool
) -> None:
    file = _loop()
    outlines = _drawn(file, FRAMES)
    path = tmp_path / "seg.dcm"
    make_seg(file, outlines, ALGORITHM, Options(strict=strict)).save_as(path)
    assert isinstance(file.header.stream, bytes)
    (tmp_path / "IM01.dcm").write_bytes(file.header.stream)
    words = write_masks(path, tmp_path / "out", tmp_path / "IM01.dcm")
    assert words.startswith("2 masks written")
    for frame, mask in _expected(outlines).items():
        written = read_mask(tmp_path / "out" / f"IM01_frame{frame:04d}_mask.png").pixels
        np.testing.assert_array_equal(written, mask)


def test_a_still_has_one_mask_without_a_number(
    real: Callable[[str], Path], tmp_path: Path
) -> None:
    file = read_dicom(real("gdcm-US-ALOKA-16.dcm"))
    make_seg(file, _drawn(file, [1]), ALGORITHM).save_as(tmp_path / "seg.dcm")
    write_masks(tmp_path / "seg.dcm", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seg_mask.png"]


def test_segmentations_of_other_programs() -> None:
    file = _loop()
    outlines = _drawn(file, FRAMES)
    seg = make_seg(file, outlines, ALGORITHM)
    # Sources named once for the whole file, frames by their place in time.
    by_time = copy.deepcopy(seg)
    for group in by_time.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    _assert_same(union_by_frame(read_seg(as_bytes(by_time))), _expected(outlines))
    # References to frames, no place in time.
    by_reference = copy.deepcopy(seg)
    for group in by_reference.PerFrameFunctionalGroupsSequence:
        del group.FrameContentSequence[0].TemporalPositionIndex
    _assert_same(union_by_frame(read_seg(as_bytes(by_reference))), _expected(outlines))


@pytest.mark.parametrize("kind", ["LABELMAP", "FRACTIONAL", "BINARY"])
def test_the_three_kinds_of_a_still_by_highdicom(kind: str) -> None:
    dataset = make_dataset(np.zeros((40, 52), np.uint8))
    mask = np.zeros((40, 52), np.uint8)
    mask[10:20, 10:31] = 1
    file = read_dicom(as_bytes(dataset))
    mine = make_seg(file, _drawn(file, [1]), ALGORITHM)
    description = highdicom.seg.SegmentDescription.from_dataset(mine.SegmentSequence[0])
    seg = highdicom.seg.Segmentation(
        source_images=[dataset],
        pixel_array=mask * np.float32(0.9) if kind == "FRACTIONAL" else mask,
        segmentation_type=kind,
        segment_descriptions=[description],
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="other",
        manufacturer_model_name="other",
        software_versions="1",
        device_serial_number="1",
    )
    _assert_same(union_by_frame(read_seg(as_bytes(seg))), {1: mask == 1})


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("frames", [1, 4])
def test_segmentations_of_dcmqi(tmp_path: Path, kind: str, frames: int) -> None:
    shape = (frames, 64, 80)
    pixels = np.zeros(shape if frames > 1 else shape[1:], np.uint8)
    labels = np.zeros(shape, np.uint8)
    labels[-1, 10:30, 20:50] = 1
    if frames > 1:
        labels[1, 12:31, 21:50] = 1
    _run_dcmqi(tmp_path, pixels, labels, kind)
    found = union_by_frame(read_seg(tmp_path / "seg.dcm"))
    expected = {}
    for number, mask in enumerate(labels == 1, start=1):
        if mask.any():
            expected[number] = mask
    with_lesion = {frame: mask for frame, mask in found.items() if mask.any()}
    _assert_same(with_lesion, expected)
    _assert_data_set(tmp_path, expected)


@pytest.mark.parametrize(("first", "step"), [(-2.5, 1), (-3, 1), (2, 1), (0, -1)])
def test_masks_that_lie_elsewhere_than_the_frames_are_refused(
    tmp_path: Path, first: float, step: float
) -> None:
    """Slices about the middle of the volume, beyond its end, or counted backwards: the frame cannot be told."""
    labels = np.zeros((6, 64, 80), np.uint8)
    for frame in range(6):
        labels[frame, 10:18, 5 + 8 * frame : 17 + 8 * frame] = 1
    _run_dcmqi(tmp_path, np.zeros_like(labels), labels, "binary", first, step)
    scan = scan_dicom(tmp_path)
    assert scan.cases == []
    assert {finding.kind for finding in scan.findings} == {
        "image without mask",
        "not read" if first != 2 else "mask without image",
    }
    with pytest.raises(InputError, match=r"which frames|a mask for frame 8"):
        write_masks(tmp_path / "seg.dcm", tmp_path / "out", tmp_path / "image.dcm")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("first", [-2.5, 0, 12])
def test_the_place_of_a_still_in_space_says_nothing(
    tmp_path: Path, first: float
) -> None:
    labels = np.zeros((1, 64, 80), np.uint8)
    labels[0, 10:18, 5:17] = 1
    _run_dcmqi(tmp_path, labels[0], labels, "binary", first)
    _assert_data_set(tmp_path, {1: labels[0] == 1})
    write_masks(tmp_path / "seg.dcm", tmp_path / "out", tmp_path / "image.dcm")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["image_mask.png"]
    # So it is if the still is named, but no frame of it.
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    image = pydicom.dcmread(tmp_path / "image.dcm")
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedInstanceSequence = [item]
    seg.ReferencedSeriesSequence = [series]
    seg.save_as(tmp_path / "seg.dcm")
    _assert_data_set(tmp_path, {1: labels[0] == 1})


@pytest.mark.parametrize("places", [(-0.5, 0), (0, 0.5), (-0.5, 0, 0.5), (0.2, 1.0)])
def test_masks_that_name_stills_belong_to_them_wherever_they_lie(
    tmp_path: Path, places: tuple[float, ...]
) -> None:
    """Slices of a volume scan: each frame of the SEG names its still, and no number."""
    pixels = np.zeros((64, 80), np.uint8)
    file = _loop()
    seg = make_seg(file, _drawn(file, FRAMES)[:1], ALGORITHM)
    (first,) = seg.PerFrameFunctionalGroupsSequence
    groups, masks = [], []
    for number, z in enumerate(places):
        still = make_dataset(pixels, SOPInstanceUID=f"1.2.3.{number + 1}")
        (tmp_path / f"{number}.dcm").write_bytes(as_bytes(still))
        group = copy.deepcopy(first)
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedSOPInstanceUID = still.SOPInstanceUID
        if "ReferencedFrameNumber" in image:
            del image.ReferencedFrameNumber
        del group.FrameContentSequence
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, z]
        groups.append(group)
        masks.append(
            np.roll(np.pad(np.ones((8, 12), np.uint8), ((0, 56), (0, 68))), number, 1)
        )
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = 0.5
    seg.PerFrameFunctionalGroupsSequence = groups
    seg.NumberOfFrames = len(places)
    seg.PixelData = np.packbits(np.stack(masks), bitorder="little").tobytes()
    seg.save_as(tmp_path / "seg.dcm")
    scan = scan_dicom(tmp_path)
    assert scan.findings == []
    for case, mask in zip(scan.cases, masks, strict=True):
        np.testing.assert_array_equal(case.read()[1], mask == 1)


def test_a_frame_that_the_image_does_not_have_is_refused(tmp_path: Path) -> None:
    file = _loop()
    seg = make_seg(file, _drawn(file, FRAMES), ALGORITHM)
    seg.save_as(tmp_path / "seg.dcm")
    short = make_dataset(np.zeros((2, 64, 80), np.uint8))
    short.SOPInstanceUID = file.header.instance
    (tmp_path / "image.dcm").write_bytes(as_bytes(short))
    problem = f"has a mask for frame {max(FRAMES)}, but the image has 2 frames"
    assert ("not read", problem) in {
        (finding.kind, finding.message) for finding in scan_dicom(tmp_path).findings
    }
    with pytest.raises(InputError, match=problem):
        write_masks(tmp_path / "seg.dcm", tmp_path / "out", tmp_path / "image.dcm")


def test_masks_have_the_names_that_segment_gives(tmp_path: Path) -> None:
    """A UID is no stem with an ending; the only mask of a loop has its frame's number."""
    file = _loop()
    make_seg(file, _drawn(file, [1]), ALGORITHM).save_as(tmp_path / "seg.dcm")
    assert isinstance(file.header.stream, bytes)
    for name in ("1.2.840.1.1", "1.2.840.1.2"):
        (tmp_path / name).write_bytes(file.header.stream)
        write_masks(tmp_path / "seg.dcm", tmp_path / "out", tmp_path / name)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "1.2.840.1.1_frame0001_mask.png",
        "1.2.840.1.2_frame0001_mask.png",
    }


def test_a_segmentation_without_reference_goes_to_the_only_image_that_fits(
    tmp_path: Path,
) -> None:
    file = _loop()
    seg = make_seg(file, _drawn(file, FRAMES), ALGORITHM)
    del seg.ReferencedSeriesSequence
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    seg.save_as(tmp_path / "seg.dcm")
    assert isinstance(file.header.stream, bytes)
    (tmp_path / "loop").write_bytes(file.header.stream)
    still = make_dataset(np.zeros((64, 80), np.uint8), SOPInstanceUID="1.2.3")
    (tmp_path / "still").write_bytes(as_bytes(still))
    scan = scan_dicom(tmp_path)
    assert [case.frame for case in scan.cases if "loop" in case.name] == FRAMES  # type: ignore[attr-defined]
    other = make_dataset(np.zeros((4, 64, 80), np.uint8), SOPInstanceUID="1.2.4")
    (tmp_path / "other").write_bytes(as_bytes(other))
    kinds = [finding.kind for finding in scan_dicom(tmp_path).findings]
    assert "mask without image" in kinds


def _assert_data_set(folder: Path, expected: dict[int, Any]) -> None:
    """Checks that a folder with an image and its segmentation is a data set with these masks."""
    scan = scan_dicom(folder)
    assert scan.findings == []
    read = {case.frame: case.read()[1] for case in scan.cases}  # type: ignore[attr-defined]
    _assert_same({frame: mask for frame, mask in read.items() if mask.any()}, expected)


def _run_dcmqi(
    folder: Path,
    pixels: Any,
    labels: Any,
    kind: str = "binary",
    first: float = 0,
    step: float = 1,
) -> None:
    """Writes image.dcm, and seg.dcm by dcmqi, which 3D Slicer uses, from a volume of labels placed in space."""
    (folder / "image.dcm").write_bytes(as_bytes(make_dataset(pixels)))
    _write_nrrd(folder / "labels.nrrd", labels, first, step)
    category = {"CodeValue": "49755003", "CodingSchemeDesignator": "SCT"}
    category["CodeMeaning"] = "Morphologically Abnormal Structure"
    mass = {"CodeValue": "4147007", "CodingSchemeDesignator": "SCT"}
    mass["CodeMeaning"] = "Mass"
    segment = {
        "labelID": 1,
        "SegmentDescription": "lesion",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": category,
        "SegmentedPropertyTypeCodeSequence": mass,
    }
    words = {
        "ContentCreatorName": "Reader",
        "SeriesDescription": "Segmentation",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "segmentAttributes": [[segment]],
    }
    (folder / "words.json").write_text(json.dumps(words))
    tool = Path(sys.executable).parent / "itkimage2segimage"
    options = {
        "inputImageList": "labels.nrrd",
        "inputDICOMList": "image.dcm",
        "inputMetadata": "words.json",
        "outputDICOM": "seg.dcm",
        "segmentationType": kind,
        "referencesGeometryCheck": "0",
    }
    command = [str(tool)]
    for name, value in options.items():
        command += [f"--{name}", value]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def _write_nrrd(path: Path, volume: Any, first: float = 0, step: float = 1) -> None:
    """A volume (frames, rows, columns) of bytes, its first frame at z = `first`, the others `step` apart."""
    sizes = " ".join(str(size) for size in reversed(volume.shape))
    lines = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: (0.1,0,0) (0,0.1,0) (0,0,{step})",
        "kinds: domain domain domain",
        "encoding: raw",
        f"space origin: (0,0,{first})",
    ]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + volume.tobytes())


def test_probabilities_are_cut_at_one_half() -> None:
    file = read_dicom(as_bytes(make_dataset(np.zeros((32, 32), np.uint8))))
    probability = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
    seg = make_fractional_seg(file, probability, ALGORITHM)
    _assert_same(
        union_by_frame(read_seg(as_bytes(seg))), {1: np.rint(probability * 255) > 127.5}
    )


def test_what_is_no_segmentation_is_refused() -> None:
    with pytest.raises(InputError, match="is not a DICOM segmentation"):
        read_seg(find_real("CT_small.dcm"))


@functools.cache
def _whole_seg() -> bytes:
    file = _loop()
    return as_bytes(make_seg(file, _drawn(file, FRAMES), ALGORITHM))


@settings(max_examples=60, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5),
    share=st.floats(0.5, 1),
)
def test_damaged_segmentations(places: list[tuple[float, int]], share: float) -> None:
    content = bytearray(_whole_seg())
    for place, value in places:
        content[int(place * (len(content) - 1))] = value
    with contextlib.suppress(InputError):
        union_by_frame(read_seg(bytes(content[: int(share * len(content))])))


def test_phantoms_are_a_data_set(tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path / "set", 3, seed=5)
    assert (
        find_dicom(tmp_path / "set") == tmp_path / "set"
        and find_dicom(tmp_path / "no") is None
    )
    scan = scan_dicom(tmp_path / "set")
    assert scan.findings == []
    by_kind = {
        kind: [case for case in scan.cases if kind in case.name] for kind in KINDS
    }
    assert [len(cases) for cases in by_kind.values()] == [1, 12, 2]
    assert len({case.name for case in scan.cases}) == 15
    assert len({case.group for case in scan.cases}) == 3
    for place, (kind, cases) in enumerate(by_kind.items()):
        screen = make_screen(kind, 5 + 2 * place)
        for case in cases:
            assert isinstance(case, DicomCase)
            assert case.spacing == pytest.approx((0.1, 0.1))
            left, top, width, height = screen.boxes[case.region - 1]
            cut = slice(top, top + height), slice(left, left + width)
            image, mask = case.read()
            np.testing.assert_array_equal(image, screen.frames[case.frame - 1][cut])
            np.testing.assert_array_equal(mask, screen.masks[case.frame - 1][cut])
            assert mask.any() and case.has_truth
    for path in (tmp_path / "set").rglob("*.dcm"):
        assert conformance_errors(path) == []


@pytest.mark.parametrize("has_study", [True, False])
def test_files_without_an_id_are_never_called_one_patient_or_known(
    tmp_path: Path, has_study: bool
) -> None:
    """As de-identified archives are: the same file names in a folder for each patient."""
    for number in range(2):
        folder = tmp_path / f"patient{number}"
        write_dicom_phantoms(folder, 2, seed=number)
        for path in folder.rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = ""
            dataset.PatientName = "^"
            if not has_study:
                dataset.StudyInstanceUID = ""
            dataset.save_as(path)
    cases = scan_dicom(tmp_path).cases
    folders: dict[str, set[str]] = {}
    for case in cases:
        place = case.image.relative_to(tmp_path).parts[0]
        folders.setdefault(case.group, set()).add(place)
    assert all(group.startswith(NO_PATIENT) for group in folders)
    assert all(len(places) == 1 for places in folders.values())
    # Those with a name are known by it and the birth date.
    for path in tmp_path.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "Meier^Anna"
        dataset.PatientBirthDate = "19700101"
        dataset.save_as(path)
    (group,) = {case.group for case in scan_dicom(tmp_path).cases}
    assert group.startswith("patient-")


def test_two_images_that_would_have_one_name_are_found(tmp_path: Path) -> None:
    for number, name in enumerate(("1/1_2.dcm", "1_1/2.dcm")):
        (tmp_path / name).parent.mkdir()
        dataset = make_dataset(
            np.zeros((64, 80), np.uint8), SOPInstanceUID=f"1.2.{number}"
        )
        (tmp_path / name).write_bytes(as_bytes(dataset))
    with pytest.raises(InputError, match=r"has the same name as 1/1_2\.dcm"):
        load_cases(tmp_path)


def test_pixels_that_are_not_square_keep_both_sizes(tmp_path: Path) -> None:
    regions = [region_item((0, 0, 79, 63), (0.02, 0.01))]
    image = make_dataset(np.zeros((64, 80), np.uint8), regions=regions)
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "IM1"
    path.write_bytes(as_bytes(image))
    file = read_dicom(path)
    seg = make_seg(file, _drawn(file, [1]), ALGORITHM)
    seg.save_as(tmp_path / "set" / "seg.dcm")
    (case,) = load_cases(tmp_path / "set")
    pack_folder(tmp_path / "set", 64, tmp_path / "a.safetensors")
    (packed,) = load_cases(tmp_path / "a.safetensors")
    for one in (case, packed):
        assert one.spacing == one.pixel_size == pytest.approx((0.2, 0.1))
    truth = np.zeros((64, 80), np.bool_)
    truth[20:40, 20:60] = True
    surface = measure_surface(
        np.roll(truth, 3, axis=0), truth, pixel_size(case, (64, 80), (64, 80))
    )
    assert surface.hd95_mm == pytest.approx(0.6)
    aside = measure_surface(
        np.roll(truth, 3, axis=1), truth, pixel_size(packed, (64, 80), (64, 80))
    )
    assert aside.hd95_mm == pytest.approx(0.3)


def test_the_lab_loads_it_as_any_other_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom_phantoms(tmp_path, 1)
    (case,) = load_cases(tmp_path)
    assert case.read()[1].any()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pydicom is not installed; pip install"):
        load_cases(tmp_path)


def test_an_image_or_a_mask_without_the_other_is_found(tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path, 2)
    (tmp_path / "images" / "synthetic_00_still.dcm").unlink()
    (tmp_path / "masks" / "synthetic_01_loop_seg.dcm").unlink()
    (tmp_path / "images" / "other").write_bytes(find_real("CT_small.dcm").read_bytes())
    kinds = sorted(finding.kind for finding in scan_dicom(tmp_path).findings)
    assert kinds == ["image without mask", "mask without image", "not read"]


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_of_phantoms_are_measured_in_mm(tmp_path: Path, kind: str) -> None:
    write_dicom_phantoms(tmp_path, 3, seed=9)
    (path,) = (tmp_path / "images").glob(f"*{kind}.dcm")
    screen = make_screen(kind, 9 + 2 * KINDS.index(kind))
    file, tracker = read_dicom(path), Tracker()
    outlines = []
    for view in file.views([1]):
        outlines += tracker.follow(view, screen.masks[0][view.region.slices])
    report = make_report(file, outlines, ALGORITHM)
    lengths = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in _numeric_items(report)
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Long Axis"
    ]
    known = []
    for left, top, width, height in screen.boxes:
        mask = screen.masks[0][top : top + height, left : left + width]
        known += [
            one.longest.length * 0.1
            for one in find_lesions(mask, mask.astype(np.float32))
        ]
    assert sorted(lengths) == pytest.approx(sorted(known), abs=0.1)


def _numeric_items(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    found = []
    for item in dataset.get("ContentSequence") or ():
        if item.ValueType == "NUM":
            found.append(item)
        found += _numeric_items(item)
    return found
