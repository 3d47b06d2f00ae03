"""POST /api/segment of DICOM: the whole frame, the file's own spacing, SEG and SR; and what is refused."""

import base64
import io

import numpy as np
import pydicom
import pytest
from PIL import Image

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.dicom.objects import segment_to_objects
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.segment import segment_frames
from sonoseg.serve.limits import Limits


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """The contents of a still, a loop and a split screen."""
    folder = tmp_path_factory.mktemp("dicom")
    write_dicom_phantoms(folder, 3)
    contents = {}
    for path in (folder / "images").iterdir():
        contents[path.stem.rpartition("_")[2]] = path.read_bytes()
    return contents


def send(client, content, **fields):
    files = {"image": ("scan.dcm", content)}
    return client.post("/api/segment", files=files, data=fields)


def mask_in(answer):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"])))) > 0


def dataset_in(text):
    return pydicom.dcmread(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize(("kind", "frame"), [("still", 1), ("loop", 7), ("split", 1)])
def test_the_answer_is_about_the_whole_frame(client, scans, segmenter, kind, frame):
    answer = send(client, scans[kind], frame=frame).json()
    parts = [
        part
        for part in segment_frames(segmenter, scans[kind])
        if part.view.frame == frame
    ]
    wanted = np.any([part.mask for part in parts], axis=0)
    assert wanted.any()
    mask = mask_in(answer)
    np.testing.assert_array_equal(mask, wanted)
    assert (answer["height"], answer["width"]) == wanted.shape
    areas = []
    for part in parts:
        areas += [lesion.to_dict()["area"] for lesion in part.lesions]
    shown = [lesion["area"] for lesion in answer["lesions"]]
    assert shown == sorted(areas, reverse=True)
    assert answer["unit"] == "mm"
    assert answer["spacing"]["mm_per_pixel"] == list(parts[0].record.spacing)
    assert (answer["frame"], answer["frames"]) == (frame, 12 if kind == "loop" else 1)
    seg, report = dataset_in(answer["seg"]), dataset_in(answer["sr"])
    assert (seg.Modality, report.Modality) == ("SEG", "SR")
    image = pydicom.dcmread(io.BytesIO(scans[kind]))
    assert seg.StudyInstanceUID == report.StudyInstanceUID == image.StudyInstanceUID
    drawn = seg.pixel_array.reshape(-1, *mask.shape).any(0)
    np.testing.assert_array_equal(drawn, mask)


def test_the_objects_of_a_still_are_those_of_segment(client, scans, segmenter):
    answer = send(client, scans["still"]).json()
    wanted = segment_to_objects(segmenter, read_dicom(scans["still"]))
    assert base64.b64decode(answer["seg"]) == wanted.seg
    assert base64.b64decode(answer["sr"]) == wanted.report
    assert b"Probability of cancer" in base64.b64decode(answer["sr"])
    doubted = send(client, scans["still"], spacing="0.5").json()
    assert doubted["doubts"][0].encode() in base64.b64decode(doubted["sr"])


def with_delta(content, delta):
    """The split screen with another pixel size of its right region, in cm."""
    image = pydicom.dcmread(io.BytesIO(content))
    right = image.SequenceOfUltrasoundRegions[1]
    right.PhysicalDeltaX = right.PhysicalDeltaY = delta
    file = io.BytesIO()
    image.save_as(file)
    return file.getvalue()


def test_each_lesion_of_a_split_screen_has_the_unit_of_its_region(client, scans):
    own = send(client, scans["split"]).json()
    assert {lesion["unit"] for lesion in own["lesions"]} == {"mm"}
    mixed = send(client, with_delta(scans["split"], 0.0)).json()
    left = [one for one in own["lesions"] if one["centre"][0] < 424]
    units = [lesion["unit"] for lesion in mixed["lesions"]]
    assert units == ["mm"] * len(left) + ["px"] * (len(units) - len(left))
    assert [one["area"] for one in mixed["lesions"][: len(left)]] == [
        one["area"] for one in left
    ]
    assert "its regions have pixels of different sizes" in mixed["doubts"]


def test_sizes_that_differ_by_rounding_are_the_same(client, scans):
    known = pydicom.dcmread(io.BytesIO(scans["split"])).SequenceOfUltrasoundRegions[0]
    near = with_delta(scans["split"], -known.PhysicalDeltaX * (1 + 1e-12))
    assert send(client, near).json()["doubts"] == []


def test_options_work_as_for_pictures(client, scans):
    own = send(client, scans["still"]).json()
    assert "heat" not in own
    low = send(client, scans["still"], threshold=0.05, spacing="0.2", explain="true")
    answer = low.json()
    assert mask_in(answer).sum() > mask_in(own).sum()
    assert answer["spacing"]["mm_per_pixel"] == [0.2, 0.2]
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["heat"]))))
    assert heat.shape == mask_in(own).shape
    assert heat.max() > 100


def refine(client, content, mask=None, **fields):
    files = {"image": ("scan.dcm", content)}
    if mask is not None:
        files["mask"] = ("mask.png", mask)
    return client.post("/api/refine", files=files, data=fields)


def kind_of(seg):
    return seg.SegmentSequence[0].SegmentAlgorithmType


def test_a_click_on_a_still_refines_mask_measurements_and_objects(client, scans):
    own = send(client, scans["still"]).json()
    x, y = map(int, own["lesions"][0]["centre"])
    gone = refine(client, scans["still"], remove=f"{x},{y}").json()
    assert not mask_in(gone)[y, x]
    assert len(gone["lesions"]) == len(own["lesions"]) - 1
    back = refine(
        client, scans["still"], base64.b64decode(gone["mask"]), add=f"{x},{y}"
    ).json()
    mask = mask_in(back)
    assert mask[y, x]
    row, column = back["spacing"]["mm_per_pixel"]
    assert back["unit"] == "mm"
    areas = sum(lesion["area"] for lesion in back["lesions"])
    assert areas == pytest.approx(mask.sum() * row * column, rel=1e-5)
    seg = dataset_in(back["seg"])
    np.testing.assert_array_equal(seg.pixel_array.reshape(-1, *mask.shape).any(0), mask)
    assert kind_of(seg) == "SEMIAUTOMATIC"
    assert dataset_in(back["sr"]).Modality == "SR"


def test_a_mask_of_a_frame_comes_back_and_what_lies_outside_is_said(client, scans):
    own = send(client, scans["split"]).json()
    content = base64.b64decode(own["mask"])
    same = refine(client, scans["split"], content).json()
    np.testing.assert_array_equal(mask_in(same), mask_in(own))
    assert kind_of(dataset_in(same["seg"])) == "AUTOMATIC"
    assert same["doubts"] == own["doubts"]
    drawn = mask_in(own).astype(np.uint8) * 255
    drawn[:4, :40] = 255  # in the text above the image
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    cut = refine(client, scans["split"], file.getvalue()).json()
    np.testing.assert_array_equal(mask_in(cut), mask_in(own))
    assert any("reached out" in doubt for doubt in cut["doubts"])


def test_a_frame_of_a_loop_is_refined(client, scans):
    own = send(client, scans["loop"], frame=7).json()
    x, y = map(int, own["lesions"][0]["centre"])
    gone = refine(client, scans["loop"], frame=7, remove=f"{x},{y}").json()
    assert (gone["frame"], gone["frames"]) == (7, 12)
    assert not mask_in(gone)[y, x]


@pytest.mark.parametrize(
    ("field", "text"), [("add", "0,0"), ("box", "0,0,9,9"), ("remove", "2,1")]
)
def test_places_outside_of_the_ultrasound_image_are_refused(client, scans, field, text):
    answer = refine(client, scans["still"], **{field: text})
    assert answer.status_code == 422
    assert answer.json()["subject"] == field


def test_a_loop_without_a_frame_is_its_first_and_says_so(client, scans):
    named = send(client, scans["loop"], frame=1).json()
    plain = send(client, scans["loop"]).json()
    assert (plain["frame"], plain["frames"]) == (1, 12)
    np.testing.assert_array_equal(mask_in(plain), mask_in(named))
    (doubt,) = set(plain["doubts"]) - set(named["doubts"])
    assert "first of 12 frames" in doubt


def test_a_frame_that_is_not_there_is_refused(client, scans):
    answer = send(client, scans["loop"], frame=13)
    assert answer.status_code == 422
    assert "frame 13" in answer.json()["problem"]
    assert send(client, scans["loop"], frame=0).status_code == 422


def test_without_uids_there_are_no_objects_and_a_doubt(client, scans):
    dataset = pydicom.dcmread(io.BytesIO(scans["still"]))
    dataset.StudyInstanceUID = ""
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    answer = send(client, buffer.getvalue()).json()
    assert answer["seg"] is None
    assert answer["sr"] is None
    assert any("StudyInstanceUID" in doubt for doubt in answer["doubts"])
    assert answer["lesions"]


def test_what_is_no_image_is_refused(client, scans):
    seg = base64.b64decode(send(client, scans["still"]).json()["seg"])
    for content in (seg, scans["still"][:3000], b"\0" * 128 + b"DICM"):
        answer = send(client, content)
        assert answer.status_code == 422, answer.text
        assert answer.json()["hint"]


def test_deflated_files_and_large_frames_are_refused(client, scans):
    dataset = pydicom.dcmread(io.BytesIO(scans["still"]))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    answer = send(client, buffer.getvalue())
    assert answer.status_code == 422
    assert "deflated" in answer.json()["problem"]
    dataset = pydicom.dcmread(io.BytesIO(scans["still"]))
    side = int(Limits().pixels ** 0.5) + 1
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = bytes(side * side + side * side % 2)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    answer = send(client, buffer.getvalue())
    assert answer.status_code == 422
    assert "megapixels" in answer.json()["problem"]


def test_without_the_extra_it_is_said_how_to_install_it(client, scans, monkeypatch):
    monkeypatch.setattr(
        "sonoseg.dicom.recognise.importlib.util.find_spec", lambda name: None
    )
    answer = send(client, scans["still"])
    assert answer.status_code == 422
    assert ".[dicom]" in answer.json()["hint"]
