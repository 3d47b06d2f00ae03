"""Identifiers: equal for equal objects and lesions, different for all others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dicom_files import as_bytes, make_dataset, region_item
from pydicom.dataset import Dataset
from test_report import _segmented
from test_seg import ALGORITHM, _drawn

from sonoseg.dicom.capture import make_capture
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile, read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_fractional_seg, make_seg
from sonoseg.dicom.source import Algorithm

HIGH = Algorithm("sonoseg-1", "1.0, sensitivity high", ALGORITHM.sha256)
OTHER = Algorithm("sonoseg-1", "1.0", "cd" * 32)


def _file(frames: int = 0, **tags: Any) -> DicomFile:
    shape = (frames, 96, 128) if frames else (96, 128)
    pixels = np.full(shape, 90, np.uint8)
    region = region_item((8, 8, 119, 87), (0.02, 0.01))
    return read_dicom(as_bytes(make_dataset(pixels, regions=[region], **tags)))


def _content(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _objects(
    file: DicomFile,
    algorithm: Algorithm = ALGORITHM,
    outlines: Sequence[Outline] | None = None,
    **options: Any,
) -> dict[str, Dataset]:
    found = _drawn(file, [1]) if outlines is None else outlines
    one = Options(**options)
    return {
        "SEG": make_seg(file, found, algorithm, one),
        "SR": make_report(file, found, algorithm, one),
        "SC": make_capture(file, _segmented(file), algorithm, one),
    }


VARIANTS: list[dict[str, Any]] = [
    {},
    {"file": _file(ImageLaterality="L")},
    {"file": _file(ImageLaterality="R")},
    {"file": _file(PatientName="Roe^Mary", PatientID="P-18")},
    {"file": _file(PatientName="Roe^Mary")},
    {"file": _file(PatientBirthDate="19700102")},
    {"file": _file(AccessionNumber="A2")},
    {"file": _file().with_spacing((0.2, 0.2))},
    {"file": _file().with_spacing((0.2, 0.1))},
    {"algorithm": HIGH},
    {"algorithm": OTHER},
    {"pseudonym": "a"},
    {"pseudonym": "b"},
]


def test_two_objects_have_one_uid_only_if_they_are_the_same() -> None:
    variants = [{"file": _file(), **one} for one in VARIANTS]
    all_made = [_objects(**one) for one in variants]
    all_again = [_objects(**one) for one in variants]
    for kind in ("SEG", "SR", "SC"):
        made = [one[kind] for one in all_made]
        contents = [_content(one) for one in made]
        assert contents == [_content(one[kind]) for one in all_again]
        uids = {str(one.SOPInstanceUID) for one in made}
        # Of the two spacings, one is that of the file.
        assert len(uids) == len(set(contents)) == len(VARIANTS) - 1
        for one in made:
            assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_a_series_is_of_one_patient_and_one_image_and_pictures_of_one_side() -> None:
    def series(file: DicomFile, algorithm: Algorithm = ALGORITHM) -> list[str]:
        made = _objects(file, algorithm).values()
        return [str(one.SeriesInstanceUID) for one in made]

    plain = series(_file())
    assert len(set(plain)) == 3
    *left, picture = series(_file(ImageLaterality="L"))
    assert left == plain[:2] and picture != plain[2]
    assert series(_file().with_spacing((0.2, 0.2))) == plain
    # Viewers show one segmentation and one report of a series; pictures are all shown.
    seg, report, picture = series(_file(SOPInstanceUID="1.2.3"))
    assert picture == plain[2] and not {seg, report} & set(plain)
    others = [
        series(_file(PatientName="Roe^Mary", PatientID="P-18")),
        series(_file(), HIGH),
        series(_file(), OTHER),
        series(_file(SeriesInstanceUID="1.2.4")),
    ]
    assert len({uid for uids in [plain, *others] for uid in uids}) == 15


def _tracked(dataset: Dataset) -> list[str]:
    """The tracking UIDs of segments or of measurement groups."""
    found = []
    for element in dataset.iterall():
        if element.keyword == "TrackingUID":
            found.append(str(element.value))
    for item in dataset.get("ContentSequence", []):
        for group in item.get("ContentSequence", []):
            for one in group.get("ContentSequence", []):
                if one.ConceptNameCodeSequence[0].CodeValue == "112040":
                    found.append(str(one.UID))
    return found


def test_the_right_lesion_does_not_get_the_identifier_of_the_left_one() -> None:
    file = _file()
    left, right = _drawn(file, [1])
    both = _objects(file, outlines=[left, right])
    assert len(set(_tracked(both["SEG"]))) == 2
    assert _tracked(both["SEG"]) == _tracked(both["SR"])
    alone = _objects(file, outlines=[replace(right, segment=1)])
    assert _tracked(alone["SEG"]) == _tracked(alone["SR"]) == _tracked(both["SR"])[1:]


def test_the_identifier_of_a_lesion_is_made_of_its_place_and_shape() -> None:
    file = _file(frames=3)
    outline = _drawn(file, [1])[0]
    smaller = outline.part.copy()
    smaller[smaller.shape[0] // 2 :] = False
    column, row = outline.corner
    lesions = [
        [outline],
        [replace(outline, frame=2)],
        [replace(outline, corner=(column + 1, row))],
        [replace(outline, part=smaller)],
        [replace(outline, part=outline.part.T)],
        [outline, replace(outline, frame=2)],
    ]
    found = []
    for outlines in lesions:
        (tracked,) = _tracked(make_seg(file, outlines, ALGORITHM))
        assert [tracked] == _tracked(make_report(file, outlines, ALGORITHM))
        found.append(tracked)
    assert len(set(found)) == len(lesions)


def test_a_segment_that_was_numbered_anew_agrees_with_the_report() -> None:
    file = _file()
    outlines = [
        replace(one, segment=number)
        for one, number in zip(_drawn(file, [1]), (5, 2), strict=True)
    ]
    seg, report = (make(file, outlines, ALGORITHM) for make in (make_seg, make_report))
    assert [one.SegmentNumber for one in seg.SegmentSequence] == [1, 2]
    assert _tracked(seg) == _tracked(report)


def test_a_probability_map_is_no_lesion() -> None:
    file = _file()
    probability = np.full((96, 128), 0.25, np.float32)
    made = [
        make_fractional_seg(file, probability * factor, ALGORITHM) for factor in (1, 2)
    ]
    tracked = [uid for one in made for uid in _tracked(one)]
    lesions = _tracked(make_seg(file, _drawn(file, [1]), ALGORITHM))
    assert len({*tracked, *lesions}) == 4
