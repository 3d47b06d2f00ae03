"""Segmentations: read back by highdicom and by dcmqi, checked by dciodvfy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, conformance_errors, make_dataset, region_item
from numpy.typing import NDArray
from test_read import TABLE

import sonoseg
from sonoseg.dicom.lesions import Outline, Tracker
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.seg import COLOURS, make_fractional_seg, make_seg
from sonoseg.dicom.source import Algorithm, reference_dataset
from sonoseg.errors import InputError

ALGORITHM = Algorithm("sonoseg-1", "1.0", "ab" * 32)
Mask = NDArray[np.bool_]


def _drawn(file: DicomFile, frames: list[int]) -> list[Outline]:
    """Two lesions in each region of some frames, moved a little from frame to frame."""
    tracker = Tracker()
    outlines = []
    for view in file.views(frames):
        height, width = view.region.height, view.region.width
        mask = np.zeros((height, width), np.bool_)
        y, x = np.mgrid[:height, :width]
        across = (x - width / 3 - view.frame % 3) / (width / 6)
        mask |= across**2 + ((y - height / 2) / (height / 5)) ** 2 < 1
        mask[height // 8 : height // 4, width * 3 // 4 : width * 7 // 8] = True
        outlines += tracker.follow(view, mask)
    return outlines


def _whole(outlines: list[Outline], segment: int, frame: int) -> Mask:
    (outline,) = (
        one for one in outlines if (one.segment, one.frame) == (segment, frame)
    )
    return outline.mask


def _read_back(path: Path, file: DicomFile, frames: list[int]) -> NDArray[np.uint8]:
    """(frames, H, W, segments), as highdicom reads it."""
    seg = highdicom.seg.segread(path)
    options = {
        "ignore_spatial_locations": True,
        "assert_missing_frames_are_empty": True,
    }
    if file.frames == 1:
        return seg.get_pixels_by_source_instance([file.header.instance], **options)
    return seg.get_pixels_by_source_frame(file.header.instance, frames, **options)


def test_the_version_names_the_operating_point() -> None:
    version = sonoseg.load().card.version
    assert Algorithm.of(sonoseg.load()).version == version
    high = Algorithm.of(sonoseg.load(sensitivity="high"))
    assert high.version == f"{version}, sensitivity high"


@pytest.mark.parametrize("name", TABLE)
def test_every_real_file_gets_a_valid_segmentation(
    real: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    file = read_dicom(real(name))
    frames = [frame for frame in (1, 2, 5) if frame <= file.frames]
    outlines = _drawn(file, frames)
    segments = sorted({outline.segment for outline in outlines})
    assert segments == list(range(1, 2 * len(file.layout.regions) + 1))
    for strict in (True, False):
        path = tmp_path / f"seg-{strict}.dcm"
        make_seg(file, outlines, ALGORITHM, Options(strict=strict)).save_as(path)
        # Two of the files have UIDs under a root that does not exist.
        assert [one for one in conformance_errors(path) if '"999.999' not in one] == []
        masks = _read_back(path, file, frames)
        for place, frame in enumerate(frames):
            for segment in segments:
                expected = _whole(outlines, segment, frame)
                np.testing.assert_array_equal(masks[place, ..., segment - 1], expected)


def test_dcmqi_reads_the_same_masks(
    real: Callable[[str], Path], tmp_path: Path
) -> None:
    file = read_dicom(real("color3d_jpeg_baseline.dcm"))
    frames = [3, 4, 5, 6]
    outlines = _drawn(file, frames)
    path = tmp_path / "seg.dcm"
    make_seg(file, outlines, ALGORITHM).save_as(path)
    tool = Path(sys.executable).parent / "segimage2itkimage"
    command = [
        tool,
        "--inputDICOM",
        path,
        "--outputDirectory",
        tmp_path,
        "--outputType",
        "nrrd",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    meta = json.loads((tmp_path / "meta.json").read_text())
    (segment,) = meta["segmentAttributes"][0]
    assert segment["SegmentedPropertyTypeCodeSequence"]["CodeMeaning"] == "Mass"
    for number in (1, 2):
        volume = _read_nrrd(tmp_path / f"{number}.nrrd")
        assert volume.shape == (4, 480, 640)
        for place, frame in enumerate(frames):
            expected = _whole(outlines, number, frame)
            np.testing.assert_array_equal(volume[place] > 0, expected)


def _read_nrrd(path: Path) -> NDArray[np.uint8]:
    import gzip

    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(
        line.split(": ", 1) for line in head.decode().splitlines() if ": " in line
    )
    if fields["encoding"] in ("gzip", "gz"):
        data = gzip.decompress(data)
    size = {"short": np.int16, "unsigned char": np.uint8, "uchar": np.uint8}[
        fields["type"]
    ]
    shape = tuple(map(int, fields["sizes"].split()))[::-1]
    return np.frombuffer(data, size).reshape(shape)


def _file(**tags: object) -> DicomFile:
    pixels = np.zeros((64, 80), np.uint8)
    region = region_item((8, 8, 71, 55), (0.02, 0.01))
    return read_dicom(as_bytes(make_dataset(pixels, regions=[region], **tags)))


def test_what_a_segmentation_says() -> None:
    file = _file(Laterality="L")
    seg = make_seg(file, _drawn(file, [1]), ALGORITHM)
    assert seg.SegmentationType == "BINARY" and seg.Modality == "SEG"
    assert (seg.PatientName, seg.PatientID, seg.StudyInstanceUID) == (
        "Doe^Jane",
        "P-17",
        file.dataset.StudyInstanceUID,
    )
    first = seg.SegmentSequence[0]
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    made_by = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (made_by.AlgorithmName, made_by.AlgorithmVersion) == ("sonoseg-1", "1.0")
    assert ALGORITHM.sha256 in made_by.AlgorithmParameters
    assert first.AnatomicRegionSequence[0].CodeMeaning == "Left breast"
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    source = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    reference = source.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == file.header.instance
    assert reference.ReferencedSOPClassUID == file.dataset.SOPClassUID
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(one) for one in measures.PixelSpacing] == [0.2, 0.1]


def test_uids_are_the_same_again_and_others_for_others() -> None:
    file = _file()
    outlines = _drawn(file, [1])

    def uid(algorithm: Algorithm = ALGORITHM, count: int = 2, **options: object) -> str:
        seg = make_seg(file, outlines[:count], algorithm, Options(**options))  # type: ignore[arg-type]
        return str(seg.SOPInstanceUID)

    assert uid() == uid()
    others = {
        uid(),
        uid(Algorithm("sonoseg-1", "1.0", "cd" * 32)),
        uid(count=1),
        uid(strict=True),
        uid(corrected_by="A"),
        uid(pseudonym="a"),
        uid(pseudonym="b"),
    }
    assert len(others) == 7 and all(
        one.startswith("2.25.") and len(one) <= 64 for one in others
    )


def test_a_pseudonym_replaces_the_patient(tmp_path: Path) -> None:
    file = _file()
    path = tmp_path / "seg.dcm"
    make_seg(file, _drawn(file, [1]), ALGORITHM, Options(pseudonym="key")).save_as(path)
    content = path.read_bytes()
    for secret in (b"Doe", b"P-17", b"19700101", b"20260101"):
        assert secret not in content
    assert conformance_errors(path) == []
    seg = highdicom.seg.segread(path)
    other = read_dicom(
        as_bytes(make_dataset(np.zeros((32, 32), np.uint8), PatientName="D^J"))
    )
    again = make_seg(other, _drawn(other, [1]), ALGORITHM, Options(pseudonym="key"))
    assert seg.PatientID == again.PatientID != "P-17"
    assert seg.PatientIdentityRemoved == "YES"


def _code(key: str = "key", **tags: object) -> str:
    """The code for the patient of a file."""
    nobody = {"PatientID": "", "PatientName": "", "PatientBirthDate": ""}
    kept = reference_dataset(_file(**{**nobody, **tags}), key)
    assert kept.PatientID == kept.PatientName
    return str(kept.PatientID)


def test_patients_of_whom_nothing_is_known_have_a_code_for_each_study() -> None:
    studies = [{"StudyInstanceUID": f"1.2.{number}"} for number in (3, 4)]
    for names in ({}, {"PatientName": "^"}, {"PatientBirthDate": "19700101"}):
        one, other = (_code(**study, **names) for study in studies)
        assert one != other and one == _code(**studies[0], **names)
        assert one != _code("another key", **studies[0], **names)
    known = {"PatientName": "Doe^J", "PatientBirthDate": "19700101"}
    identified = {"PatientID": "P-1", **known}
    for names in (known, {"PatientName": "Doe^J"}, identified):
        one, other = (_code(**study, **names) for study in studies)
        assert one == other
    assert _code(PatientName="Doe^J", PatientBirthDate="19700102") != _code(**known)
    assert _code(**identified) == _code(PatientID="P-1 ")


def test_probabilities_travel_in_255_steps(tmp_path: Path) -> None:
    file = _file()
    probability = np.linspace(0, 1, 64 * 80, dtype=np.float32).reshape(64, 80)
    path = tmp_path / "seg.dcm"
    make_fractional_seg(file, probability, ALGORITHM).save_as(path)
    assert conformance_errors(path) == []
    seg = highdicom.seg.segread(path)
    assert seg.SegmentationFractionalType == "PROBABILITY"
    back = seg.get_pixels_by_source_instance(
        [file.header.instance], ignore_spatial_locations=True, rescale_fractional=True
    )
    assert np.abs(back[0, ..., 0] - probability).max() <= 0.5 / 255 + 1e-6


def test_a_loop_has_no_probabilities_and_nothing_found_no_segment() -> None:
    loop = read_dicom(as_bytes(make_dataset(np.zeros((3, 32, 32), np.uint8))))
    with pytest.raises(InputError, match="single frames"):
        make_fractional_seg(loop, np.zeros((32, 32), np.float32), ALGORITHM)
    with pytest.raises(InputError, match="no lesion was found"):
        make_seg(loop, [], ALGORITHM)


def test_an_image_without_uids_gets_none() -> None:
    dataset = make_dataset(np.zeros((32, 32), np.uint8))
    del dataset.StudyInstanceUID
    file = read_dicom(as_bytes(dataset))
    with pytest.raises(InputError, match="has no StudyInstanceUID"):
        make_seg(file, _drawn(file, [1]), ALGORITHM)


def test_corrected_outlines_are_semiautomatic_and_valid(tmp_path: Path) -> None:
    file = _file()
    path = tmp_path / "seg.dcm"
    options = Options(corrected_by="Dr. A")
    make_seg(file, _drawn(file, [1]), ALGORITHM, options).save_as(path)
    kinds = {one.SegmentAlgorithmType for one in pydicom.dcmread(path).SegmentSequence}
    assert kinds == {"SEMIAUTOMATIC"}
    assert conformance_errors(path) == []


def test_each_lesion_has_a_colour_of_its_own() -> None:
    file = read_dicom(as_bytes(make_dataset(np.zeros((32, 90), np.uint8))))
    mask = np.zeros((32, 90), np.bool_)
    mask[8:16, 4::10] = True  # nine parts
    (view,) = file.views()
    seg = make_seg(file, Tracker().follow(view, mask), ALGORITHM)
    found = [tuple(one.RecommendedDisplayCIELabValue) for one in seg.SegmentSequence]
    wanted = [highdicom.color.CIELabColor.from_rgb(*rgb).value for rgb in COLOURS]
    assert len(set(wanted)) == 7
    assert found == wanted + wanted[:2]


def test_a_name_in_another_alphabet_stays(tmp_path: Path) -> None:
    file = _file(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Änne")
    path = tmp_path / "seg.dcm"
    make_seg(file, _drawn(file, [1]), ALGORITHM).save_as(path)
    assert pydicom.dcmread(path).PatientName == "Müller^Änne"
    assert conformance_errors(path) == []


def test_the_same_input_makes_the_same_bytes() -> None:
    file = _file()
    outlines = _drawn(file, [1])
    one, other = (make_seg(file, outlines, ALGORITHM) for _ in range(2))
    assert as_bytes(one) == as_bytes(other)
    assert (one.ContentDate, one.ContentTime) == ("20260101", "120000")
    hidden = make_seg(file, outlines, ALGORITHM, Options(pseudonym="key"))
    assert hidden.ContentDate == "19000101"
