"""Descriptors in a report: the codes of DICOM, read back by pydicom, dciodvfy, dcmqi and dsrdump."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, conformance_errors, make_dataset, region_item
from pydicom.sr.codedict import codes
from test_seg import ALGORITHM

from sonoseg.describe.descriptors import Descriptor, Descriptors
from sonoseg.describe.malignancy import Malignancy
from sonoseg.dicom.evaluations import (
    NAMES,
    WORDS,
    add_evaluations,
    describe_in_words,
    describe_outlines,
)
from sonoseg.dicom.lesions import Tracker
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.segment import segment_dicom
from sonoseg.dicom.whole_frame import in_whole_frame
from sonoseg.reader.result import SegmentationResult
from sonoseg.serve.lexicon import DESCRIPTORS

CONTEXT_GROUPS = {
    "shape": codes.cid6004,
    "orientation": codes.cid6152,
    "margin": codes.cid6006,
    "echo pattern": codes.cid6154,
    "posterior features": codes.cid6155,
}


def scan(frames=1):
    """A wide dark ellipse with a shadow in the second region of each frame, and its file."""
    y, x = np.mgrid[:200, :400]
    lesion = ((x - 300) / 50) ** 2 + ((y - 80) / 25) ** 2 < 1
    shadow = (np.abs(x - 300) < 50) & (y > 80) & ~lesion
    gray = np.random.default_rng(0).normal(120, 12, (200, 400))
    gray = np.where(lesion, 40, np.where(shadow, 35, gray))
    pixels = np.clip(gray, 0, 255).astype(np.uint8)
    stack = np.stack([np.full_like(pixels, 90)] * (frames - 1) + [pixels])
    regions = [region_item((0, 0, 199, 199), (0.01, 0.01))]
    regions.append(region_item((200, 0, 399, 199), (0.01, 0.01)))
    dataset = make_dataset(stack[0] if frames == 1 else stack, regions=regions)
    return read_dicom(as_bytes(dataset)), lesion


def outlines_of(file, lesion):
    tracker = Tracker()
    outlines = []
    for view in file.views([file.frames]):
        outlines += tracker.follow(view, lesion[view.region.slices])
    return outlines


def evaluations(report):
    """Of each measurement group the meaning of each coded value by that of its name."""
    found = []
    for container in report.ContentSequence:
        if container.ConceptNameCodeSequence[0].CodeValue != "126010":
            continue
        for group in container.ContentSequence:
            words = {}
            for item in group.ContentSequence:
                name = item.ConceptNameCodeSequence[0]
                if (name.CodeValue, name.CodingSchemeDesignator) in KNOWN:
                    words[name.CodeMeaning] = item.ConceptCodeSequence[0].CodeMeaning
            found.append(words)
    return found


def comments(report):
    return [one.TextValue for one in report.ContentSequence if one.ValueType == "TEXT"]


KNOWN = {name[:2] for name in NAMES.values()}


@pytest.mark.parametrize("frames", [1, 3])
def test_a_lesion_is_described_in_its_region_and_frame(frames):
    file, lesion = scan(frames)
    (found,) = describe_outlines(file, outlines_of(file, lesion))
    assert found.shape.word == "oval"
    assert found.orientation.word == "parallel"
    assert found.posterior_features.word == "shadowing"


def test_a_pixel_aspect_ratio_decides_forms_as_pixel_spacing_does():
    """The same pixels: an ellipse of 180 × 120 pixels that is 180 × 360 in the body."""
    y, x = np.mgrid[:300, :400]
    lesion = ((x - 200) / 90) ** 2 + ((y - 130) / 60) ** 2 < 1
    gray = np.random.default_rng(0).normal(np.where(lesion, 40, 120), 12)
    pixels = np.clip(gray, 0, 255).astype(np.uint8)
    found = []
    for tags in ({"PixelSpacing": [0.3, 0.1]}, {"PixelAspectRatio": ["3", "1"]}):
        file = read_dicom(as_bytes(make_dataset(pixels, **tags)))
        outlines = outlines_of(file, lesion)
        (coded,) = evaluations(make_report(file, outlines, ALGORITHM))
        (view,) = file.views()
        alone = SegmentationResult(view.image, lesion.astype(np.float32), lesion, "")
        lesions = [one.lesions[0] for one in (alone, in_whole_frame(view, alone))]
        words = [one.descriptors for one in lesions] + describe_outlines(file, outlines)
        # Rounded: 0.3 / 0.1 is not quite 3.
        found.append(([one.to_dict() for one in words], coded))
    assert alone.unit == "px"
    assert found[0] == found[1]
    assert found[1][1]["Orientation"] == "Not parallel"
    # The size that a user gives comes first.
    file = file.with_spacing((0.1, 0.1))
    (square,) = describe_outlines(file, outlines_of(file, lesion))
    assert square.orientation.word == "parallel"


def test_a_report_has_the_words_as_codes(tmp_path):
    file, lesion = scan()
    report = make_report(file, outlines_of(file, lesion), ALGORITHM)
    path = tmp_path / "sr.dcm"
    report.save_as(path)
    assert conformance_errors(path) == []
    (words,) = evaluations(pydicom.dcmread(path))
    assert words["Shape"] == "Ovoid shape (Oval)"
    assert words["Orientation"] == "Parallel"
    assert words["Posterior acoustic features"] == "Posterior shadowing"
    comments = [
        item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"
    ]
    assert any(
        "Lesion 1, suggested by a program: shape oval" in one for one in comments
    )


def test_dcmqi_and_dcmtk_read_the_words(tmp_path):
    file, lesion = scan()
    path, out = tmp_path / "sr.dcm", tmp_path / "sr.json"
    make_report(file, outlines_of(file, lesion), ALGORITHM).save_as(path)
    tool = Path(sys.executable).parent / "tid1500reader"
    command = [tool, "--inputDICOM", path, "--outputMetadata", out]
    subprocess.run(command, check=True, capture_output=True)
    (group,) = json.loads(out.read_text())["Measurements"]
    read = {}
    for one in group["qualitativeEvaluations"]:
        read[one["conceptCode"]["CodeMeaning"]] = one["conceptValue"]["CodeMeaning"]
    assert read == evaluations(pydicom.dcmread(path))[0]
    dump = shutil.which("dsrdump")
    if dump is None:
        pytest.skip("dcmtk is not installed")
    text = subprocess.run([dump, path], check=True, capture_output=True, text=True)
    assert "Ovoid shape (Oval)" in text.stdout


def test_the_probability_of_malignancy_is_a_number_in_percent(tmp_path):
    file, lesion = scan()
    (outline,) = outlines_of(file, lesion)
    judged = dataclasses.replace(outline, malignancy=Malignancy(0.314, 0.2, 0.44))
    report = make_report(file, [judged], ALGORITHM)
    path = tmp_path / "sr.dcm"
    report.save_as(path)
    assert conformance_errors(path) == []
    read = pydicom.dcmread(path)
    (item,) = [
        one
        for one in read.iterall()
        if one.keyword == "ConceptNameCodeSequence"
        and one.value[0].CodeValue == "111047"
    ]
    concept = codes.DCM.ProbabilityOfCancer
    assert item.value[0].CodeMeaning == concept.meaning
    text = str(read)
    assert "'31.4'" in text
    assert "probability of malignancy 31 % (20 % to 44 %)" in " ".join(comments(read))
    plain = make_report(file, [outline], ALGORITHM)
    assert plain.SOPInstanceUID != report.SOPInstanceUID
    assert "111047" not in str(plain)


def test_outlines_of_a_file_have_the_malignancy_of_their_lesions():
    file, lesion = scan()
    mask = lesion.copy()
    mask[150:180, 220:240] = True  # a second, smaller lesion

    class Stub:
        """Outlines what is known, and judges lesions by their size."""

        def segment_batch(self, images, explain=False):
            return [self.segment(image) for image in images]

        def segment(self, image):
            part = mask[:, :200] if image.pixels.min() > 60 else mask[:, 200:]

            def judge(own, outline):
                return Malignancy(own.mean(), 0, 1)

            return SegmentationResult(
                image, part.astype(np.float32), part, "stub", judge=judge
            )

    found = [one for view in segment_dicom(Stub(), file) for one in view.outlines]
    assert len(found) == 2
    for outline in found:
        expected = outline.part.sum() / (200 * 200)
        assert outline.malignancy.probability == pytest.approx(expected)


def test_a_withheld_probability_is_only_said_to_be_withheld():
    file, lesion = scan()
    (outline,) = outlines_of(file, lesion)
    silent = Malignancy(0.5, 0.1, 0.9, withheld="the outline is uncertain")
    judged = dataclasses.replace(outline, malignancy=silent)
    report = make_report(file, [judged], ALGORITHM)
    assert "111047" not in str(report)
    words = "no probability of malignancy is given: the outline is uncertain"
    assert words in " ".join(comments(report))


def test_codes_are_those_of_the_context_groups():
    for name, group in CONTEXT_GROUPS.items():
        known = [getattr(group, word) for word in group.dir()]
        pairs = {(one.value, one.scheme_designator) for one in known}
        for word in DESCRIPTORS[name]:
            if word != "heterogeneous":  # DICOM has no code for it
                assert WORDS[word][:2] in pairs


def test_what_cannot_be_said_is_left_out():
    file, lesion = scan()
    outlines = outlines_of(file, lesion)
    plain = make_report(file, outlines, ALGORITHM)
    before = evaluations(plain)
    silent = Descriptors(
        shape=Descriptor(None, {"oval": 0.4}),
        echo_pattern=Descriptor("heterogeneous", {"heterogeneous": 0.7}),
    )
    count = len(plain.ContentSequence)
    add_evaluations(plain, [silent], [None])
    assert evaluations(plain) == before
    assert len(plain.ContentSequence) == count + 1
    assert describe_in_words(silent) == "echo pattern heterogeneous (0.70)"
    assert describe_in_words(Descriptors()) == ""


def test_other_descriptors_are_another_report(monkeypatch):
    file, lesion = scan()
    outlines = outlines_of(file, lesion)
    one = make_report(file, outlines, ALGORITHM)
    again = make_report(file, outlines, ALGORITHM)
    monkeypatch.setattr(
        "sonoseg.dicom.report.describe_outlines", lambda *_: [Descriptors()]
    )
    other = make_report(file, outlines, ALGORITHM)
    assert one.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
