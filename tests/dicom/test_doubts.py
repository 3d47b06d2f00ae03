"""What is said of DICOM files that contradict themselves, and of files that are left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, conformance_errors, make_dataset, region_item
from pydicom.dataset import Dataset
from test_seg import ALGORITHM, _drawn

from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.describe.malignancy import Malignancy
from sonoseg.dicom.doubts import Doubts
from sonoseg.dicom.frames import NONE, largest_lesion
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.regions import CONTRADICTED, HUGE, MIXED, NO_B_MODE, OBLONG
from sonoseg.dicom.report import DOUBTED, make_report
from sonoseg.dicom.source import reference_dataset
from sonoseg.errors import InputError
from sonoseg.reader.overlay import WARNING, write_picture
from sonoseg.segment_command import _describe_dicom, segment_command

BOX = (0, 0, 39, 63)
OTHER = (48, 0, 95, 63)


def _doubts(regions: Any, **tags: Any) -> tuple[str, ...]:
    pixels = np.full((64, 96), 90, np.uint8)
    file = read_dicom(as_bytes(make_dataset(pixels, regions=regions, **tags)))
    mine = set(file.with_spacing((0.1, 0.1)).layout.doubts)
    assert mine.isdisjoint((MIXED, CONTRADICTED, OBLONG, HUGE))
    return file.layout.doubts


def test_regions_of_two_units_are_doubted() -> None:
    known, unknown = region_item(BOX, (0.01, 0.01)), region_item(OTHER, (0.01, 0.01))
    assert _doubts([known, unknown]) == ()
    unknown.PhysicalUnitsXDirection = 0
    assert _doubts([known, unknown]) == (MIXED,)
    assert _doubts([known, unknown], PixelSpacing=[0.1, 0.1]) == ()


@pytest.mark.parametrize(("size", "is_doubted"), [(0.1005, False), (0.102, True)])
def test_pixel_spacing_that_contradicts_the_region(
    size: float, is_doubted: bool
) -> None:
    doubts = _doubts([region_item(BOX, (0.01, 0.01))], PixelSpacing=[0.1, size])
    assert doubts == ((CONTRADICTED,) if is_doubted else ())


def test_oblong_pixels_without_a_size_are_doubted() -> None:
    assert _doubts([], PixelAspectRatio=["4", "3"]) == (OBLONG,)
    assert _doubts([], PixelAspectRatio=["1", "1"]) == ()
    assert _doubts([], PixelAspectRatio=["0", "3"]) == ()
    spacing: dict[str, Any] = {"PixelSpacing": [0.2, 0.1]}
    assert _doubts([], PixelAspectRatio=["2", "1"], **spacing) == ()
    known = [region_item(BOX, (0.02, 0.01))]
    assert _doubts(known, PixelAspectRatio=["2", "1"]) == ()
    longest = str(2**31 - 1)
    assert _doubts([], PixelAspectRatio=[longest, "1"]) == (OBLONG,)


@pytest.mark.parametrize(("form", "kind"), [(3, 3), (2, 1), (0, 0), (1, 10)], ids=str)
def test_regions_without_a_b_mode_image_are_doubted(form: int, kind: int) -> None:
    """Spectral Doppler, M-mode, none, an ECG: Pixel Spacing would not be that of an image."""
    region = region_item(BOX, (0.01, 0.01), kind=kind, form=form)
    assert _doubts([region], PixelSpacing=[0.1, 0.1]) == (NO_B_MODE,)
    pixels = np.full((64, 96), 90, np.uint8)
    dataset = make_dataset(pixels, regions=[region], PixelSpacing=[0.1, 0.1])
    (view,) = read_dicom(as_bytes(dataset)).views()
    assert view.region.spacing is None and view.shape == (64, 96)
    assert NO_B_MODE in view.image.doubts


def test_a_size_that_the_user_gives_is_known() -> None:
    """What is wrong with the regions stays a doubt; that the size is not known does not."""
    beyond = region_item((0, 0, 200, 63), (0.01, 0.01))
    pixels = np.full((64, 96), 90, np.uint8)
    file = read_dicom(as_bytes(make_dataset(pixels, regions=[beyond])))
    words = "its regions lie beyond the image"
    assert file.layout.doubts == (f"{words}, so the size of a pixel is not known",)
    assert file.with_spacing((0.1, 0.1)).layout.doubts == (words,)


def test_an_image_that_is_too_large_is_doubted() -> None:
    # The box is 40 × 64 pixels: 640 mm where 1 mm was written as 1 cm.
    assert _doubts([region_item(BOX, (0.1, 0.1))]) == ()
    assert _doubts([region_item(BOX, (1.0, 1.0))]) == (HUGE,)
    assert _doubts([region_item(BOX, (0.01, 0.01))], PixelSpacing=[9, 9]) == (
        CONTRADICTED,
    )
    assert _doubts([], PixelSpacing=[9, 9]) == (HUGE,)


def _lesion(area: float) -> dict[str, float]:
    return {"area": area, "longest_diameter": area, "perpendicular_diameter": 1}


def test_mm_are_not_compared_with_pixels() -> None:
    views = [
        {"frame": 1, "unit": "px", "lesions": [_lesion(900)]},
        {"frame": 1, "unit": "mm", "lesions": [_lesion(4), _lesion(9)]},
    ]
    words = "3 outlines, the largest 9.0 x 1.0 mm"
    assert _describe_dicom({"views": views, "frames": 1}) == words

    class One:
        def __init__(self, size: int, spacing: Any) -> None:
            part = np.ones((size, size), np.bool_)
            self.outlines = (Outline(1, 1, part, (0, 0), (64, 64), spacing),)

    pixels, known = One(30, None), One(3, (0.1, 0.1))
    frames: list[Any] = [pixels, known]
    assert largest_lesion(frames)[0] and largest_lesion([]) == NONE
    assert largest_lesion(frames[1:]) > largest_lesion(frames[:1]) > NONE


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A folder with DICOM and pictures two folders down, and one the other way round."""
    write_dicom_phantoms(tmp_path / "set", 1, seed=3)
    (still,) = (tmp_path / "set" / "images").iterdir()
    for name in ("a/deep/x", "b/deep/x"):
        (tmp_path / name).mkdir(parents=True)
    picture = np.full((64, 64), 90, np.uint8)
    for name in ("a/deep/p.png", "a/deep/x/q.png", "b/r.png"):
        write_picture(tmp_path / name, picture)
    shutil.copy(still, tmp_path / "a" / "IM1")
    shutil.copy(still, tmp_path / "b" / "deep" / "x" / "IM2")
    return tmp_path


def test_what_is_left_out_in_subfolders_is_said(nested: Path) -> None:
    words, code = segment_command([nested / "a"], out=nested / "o1")
    assert code == 0 and "not ultrasound" not in words
    assert "2 pictures in subfolders were skipped: name their folders" in words
    words, _ = segment_command([nested / "b"], out=nested / "o2")
    assert "1 DICOM file in subfolders was skipped: name their folders" in words
    assert "picture" not in words
    for name in ("p.png", "p_overlay.png"):  # the second one is a result
        shutil.copy(nested / "b" / "r.png", nested / "b" / "deep" / name)
    words, _ = segment_command([nested / "b"], out=nested / "o2")
    assert "1 picture in subfolders was skipped: name their folders" in words
    both = [nested / "b", nested / "b" / "deep"]
    words, _ = segment_command(both, out=nested / "o4")
    assert "picture in" not in words
    with pytest.raises(InputError, match="or name the subfolders that hold DICOM"):
        segment_command([nested / "b"], out=nested / "o3", to=("sr",))


def test_what_is_skipped_is_counted_by_its_kind(nested: Path) -> None:
    folder = nested / "a" / "deep" / "x"
    pixels = np.full((64, 64), 90, np.uint8)
    for name, modality in (("ct1", "CT"), ("ct2", "CT"), ("odd", "")):
        other = make_dataset(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
        other.Modality = modality
        (folder / name).write_bytes(as_bytes(other))
    (folder / "DICOMDIR").write_bytes(as_bytes(other))
    (folder / "notes.txt").write_text("words")
    words, code = segment_command([nested / "a"], out=nested / "out")
    kinds = "2 CT, 1 DICOMDIR, 1 no DICOM, 1 other"
    assert code == 0
    assert f"5 files were skipped, not ultrasound ({kinds})" in words


def test_what_is_named_as_well_is_not_left_out(nested: Path) -> None:
    folders = [nested / "a", nested / "a" / "deep", nested / "a" / "deep" / "x"]
    folders += [nested / "b", nested / "b" / "deep"]
    words, code = segment_command(folders, out=nested / "out")
    assert code == 0 and "skipped" not in words
    results = json.loads((nested / "out" / "results.json").read_text())
    assert len(results["images"]) == 3 and len(results["dicom"]) == 2


@pytest.mark.parametrize(
    "name", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
)
@pytest.mark.parametrize("value", ["not.a.uid.abc", "1", "1." + "2" * 63, "1..2"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.filterwarnings("ignore:The value length")
def test_an_identifier_that_is_none_cannot_be_referred_to(
    name: str, value: str
) -> None:
    pixels = np.full((64, 96), 90, np.uint8)
    content = as_bytes(make_dataset(pixels, **{name: value}))
    with pytest.raises(InputError, match=f"has a {name} that is no UID"):
        reference_dataset(read_dicom(content))


@pytest.mark.parametrize("kind", ["sr", "sc"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_objects_of_a_study_without_a_uid_are_refused(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.full((64, 96), 90, np.uint8)
    dataset = make_dataset(pixels, StudyInstanceUID="not.a.uid.abc")
    (tmp_path / "a.dcm").write_bytes(as_bytes(dataset))
    code = segment_command([tmp_path / "a.dcm"], out=tmp_path / "out", to=(kind,))[1]
    assert code == 2 and "has a StudyInstanceUID that is no UID" in caplog.text
    assert segment_command([tmp_path / "a.dcm"], out=tmp_path / "out")[1] == 0


def _comments(report: Dataset) -> list[str]:
    found = []
    for item in report.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeValue == "121106":
            found.append(str(item.TextValue))
    return found


CONTRADICTING = {
    "regions": [region_item((16, 16, 79, 79), (0.01, 0.01))],
    "PixelSpacing": [0.2, 0.2],
}


@pytest.mark.parametrize("has_lesion", [True, False])
def test_doubts_are_comments_of_the_report(tmp_path: Path, has_lesion: bool) -> None:
    pixels = np.full((96, 128), 90, np.uint8)
    file = read_dicom(as_bytes(make_dataset(pixels, **CONTRADICTING)))
    outlines = _drawn(file, [1]) if has_lesion else []
    doubts = ["it is blurred", "it is upside down (180°)"]
    report = make_report(file, outlines, ALGORITHM, None, doubts)
    path, out = tmp_path / "sr.dcm", tmp_path / "sr.json"
    report.save_as(path)
    assert conformance_errors(path) == []
    wanted = [f"Do not trust this: {doubt}." for doubt in doubts]
    assert set(wanted) <= set(_comments(pydicom.dcmread(path)))
    read = highdicom.sr.srread(path)
    tree = highdicom.sr.utils.find_content_items(read, value_type="TEXT")
    assert set(wanted) <= {item.TextValue for item in tree}
    tool = Path(sys.executable).parent / "tid1500reader"
    command = [tool, "--inputDICOM", path, "--outputMetadata", out]
    if has_lesion:
        subprocess.run(command, check=True, capture_output=True)
        assert len(json.loads(out.read_text())["Measurements"]) == 2
    dump = shutil.which("dsrdump")
    if dump is not None:
        done = subprocess.run([dump, "+Pl", path], check=True, capture_output=True)
        for words in wanted:
            assert words in done.stdout.decode()
    of_header = _comments(make_report(file, outlines, ALGORITHM))
    assert f"Do not trust this: {CONTRADICTED}." in of_header
    assert (
        "Do not trust" not in make_report(file, outlines, ALGORITHM, None, []).to_json()
    )


def test_no_probability_of_cancer_is_given_with_doubts() -> None:
    file = read_dicom(as_bytes(make_dataset(np.full((96, 128), 90, np.uint8))))
    outlines = []
    for outline in _drawn(file, [1]):
        outlines.append(replace(outline, malignancy=Malignancy(0.925, 0.8, 0.97)))
    sure = make_report(file, outlines, ALGORITHM, None, [])
    doubtful = make_report(file, outlines, ALGORITHM, None, ["it is blurred"])
    assert "111047" in str(sure) and "111047" not in str(doubtful)
    words = f"Lesion 1: no probability of malignancy is given: {DOUBTED}."
    assert words in _comments(doubtful) and words not in _comments(sure)


def test_what_the_command_doubts_is_in_report_and_picture(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "a.dcm"
    pixels = np.random.default_rng(1).integers(20, 90, (160, 320), np.uint8)
    box = region_item((160, 0, 319, 119), (0.01, 0.01))
    regions: dict[str, Any] = {"regions": [box], "PixelSpacing": [0.2, 0.2]}
    captures = []
    for doubted in (True, False):
        if not doubted:
            regions.pop("PixelSpacing")
        path.write_bytes(as_bytes(make_dataset(pixels, **regions)))
        words, _ = segment_command([path], out=tmp_path / "out", to=("sr", "sc"))
        (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["dicom"]
        report = pydicom.dcmread(tmp_path / "out" / "a_sr.dcm")
        assert (CONTRADICTED in entry["doubts"]) == (CONTRADICTED in words) == doubted
        for doubt in entry["doubts"]:
            assert f"Do not trust this: {doubt}." in _comments(report)
        captures.append(pydicom.dcmread(tmp_path / "out" / "a_sc.dcm").pixel_array)
    doubtful, sure = captures
    below = slice(120, None)
    assert _is_coloured(doubtful[below]) and not doubtful[below][:, :4].any()
    assert (doubtful[below] != sure[below]).any()


def _is_coloured(picture: Any) -> bool:
    return bool((picture == WARNING).all(axis=-1).any())


def _view(frame: int, *doubts: str) -> Any:
    view, result = SimpleNamespace(frame=frame), SimpleNamespace(doubts=doubts)
    return SimpleNamespace(view=view, result=result)


def test_doubts_of_a_loop_are_counted() -> None:
    doubts = Doubts()
    assert doubts.words == []
    for frame in (1, 2, 3):
        strange = [f"unlike the others ({frame} times)"] if frame > 1 else []
        doubts.add(_view(frame, MIXED, *strange))
        doubts.add(_view(frame, MIXED, *(["torn (a little)"] if frame == 2 else [])))
    assert doubts.words == [
        MIXED,
        "unlike the others, on 2 of 3 frames",
        "torn (a little), on 1 of 3 frames",
    ]
