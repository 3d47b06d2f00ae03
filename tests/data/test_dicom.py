"""Which segmentations of a DICOM data set are merged, and which may be of several readers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from sonoseg.data.check import check_folder
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.dicom.lesions import Tracker
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.source import Algorithm
from sonoseg.errors import InputError

STILL, LOOP, SPLIT = "synthetic_00_still", "synthetic_01_loop", "synthetic_02_split"
FIRST = (slice(20, 30), slice(20, 30))
SECOND = (slice(50, 60), slice(60, 80))
TWO = "has 2 segmentations"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A still, a loop and a split screen without segmentations."""
    write_dicom_phantoms(tmp_path, 3)
    shutil.rmtree(tmp_path / "masks")
    return tmp_path


def _outline(
    folder: Path,
    name: str,
    reader: str,
    place: tuple[slice, slice],
    frames: tuple[int, ...] = (1,),
    stem: str = STILL,
    program: str = "other",
    series: str = "1.2.3",
    regions: tuple[int, ...] = (1, 2),
) -> Path:
    """Writes a segmentation of one lesion, by default as a program would that puts all of them into one series."""
    file, tracker = read_dicom(folder / "images" / f"{stem}.dcm"), Tracker()
    outlines = []
    for view in file.views(frames):
        mask = np.zeros((view.region.height, view.region.width), np.bool_)
        mask[place] = view.number in regions
        outlines += tracker.follow(view, mask)
    options = Options(corrected_by=reader or None)
    algorithm = Algorithm("test", "1", "0" * 64)
    seg = make_seg(file, outlines, algorithm, options)
    if program != "sonoseg":
        seg.Manufacturer, seg.SeriesInstanceUID = program, series
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    seg.save_as(path)
    if program == "sonoseg":  # which writes the report beside it
        report = make_report(file, outlines, algorithm, options)
        report.save_as(path.with_name(f"{path.stem}_sr.dcm"))
    return path


def _refusal(folder: Path) -> str:
    """What `load_cases` says; the same is the only finding about segmentations."""
    with pytest.raises(InputError) as refused:
        load_cases(folder)
    found = check_folder(folder).findings
    kinds = {one.kind for one in found} - {"image without mask"}
    assert kinds == {"several segmentations"}
    return str(refused.value)


def _keep(folder: Path, stem: str) -> None:
    for path in (folder / "images").iterdir():
        if path.stem != stem:
            path.unlink()


def test_two_readers_of_a_still_are_refused(images: Path) -> None:
    _keep(images, STILL)
    _outline(images, "a/still_seg.dcm", "Anna", FIRST)
    _outline(images, "b/still_seg.dcm", "Bob", SECOND)
    message = _refusal(images)
    assert message.endswith(
        f"{STILL}.dcm: {TWO} (a/still_seg.dcm, b/still_seg.dcm); keep those of one reader"
    )
    assert "\n" not in message
    (images / "b" / "still_seg.dcm").unlink()
    (case,) = load_cases(images)
    assert case.read_mask().sum() == 100


def test_frames_of_a_loop_that_two_readers_outlined_are_named(images: Path) -> None:
    _keep(images, LOOP)
    _outline(images, "a/seg.dcm", "Anna", FIRST, (1, 2, 3, 4), LOOP)
    _outline(images, "b/seg.dcm", "Bob", FIRST, (3, 4, 5), LOOP)
    names = "a/seg.dcm, b/seg.dcm"
    words = f"{LOOP}.dcm: frame 3 and 1 more have 2 segmentations ({names});"
    assert words in _refusal(images)
    # Two who share the frames between them do not contradict each other.
    _outline(images, "b/seg.dcm", "Bob", FIRST, (5, 6), LOOP)
    cases = load_cases(images)
    assert [len(case.masks) for case in cases] == [1] * 6
    assert check_folder(images).findings == ()


def test_a_reader_may_have_a_file_for_each_lesion(images: Path) -> None:
    _keep(images, STILL)
    _outline(images, "a/1.dcm", "Anna", FIRST)
    _outline(images, "a/2.dcm", "Anna", SECOND)
    (case,) = load_cases(images)
    expected = np.zeros(case.read_image().shape, np.bool_)
    expected[FIRST] = expected[SECOND] = True
    np.testing.assert_array_equal(case.read_mask(), expected)
    assert check_folder(images).findings == ()


@pytest.mark.parametrize("changed", ["1.2.4", ""])
def test_one_name_in_two_series_does_not_tell_that_it_is_one_reader(
    images: Path, changed: str
) -> None:
    """Many programs write the same name for everybody, such as Reader1."""
    _keep(images, STILL)
    _outline(images, "a/1.dcm", "Reader1", FIRST, series=changed)
    _outline(images, "a/2.dcm", "Reader1", SECOND, series=changed and "1.2.3")
    assert f"{TWO} (a/1.dcm, a/2.dcm)" in _refusal(images)


def test_files_of_one_series_that_mark_the_same_pixel_are_versions(
    images: Path,
) -> None:
    _keep(images, STILL)
    _outline(images, "a/1.dcm", "Anna", FIRST)
    _outline(images, "a/2.dcm", "Anna", (slice(29, 40), slice(29, 40)))
    (case,) = load_cases(images)
    with pytest.raises(InputError, match=r"a/2\.dcm: marks pixels that another"):
        case.read()
    (finding,) = check_folder(images).findings
    assert (finding.kind, finding.files) == ("unreadable", ("a/2.dcm",))


def test_two_files_of_sonoseg_are_two_versions(images: Path) -> None:
    """It writes all lesions of a frame into one file; an archive keeps the older ones."""
    _keep(images, STILL)
    one = _outline(images, "a/1.dcm", "Anna", FIRST, program="sonoseg")
    two = _outline(images, "a/2.dcm", "Anna", SECOND, program="sonoseg")
    series = {pydicom.dcmread(path).SeriesInstanceUID for path in (one, two)}
    assert len(series) == 1
    assert TWO in _refusal(images)


def test_readers_who_accept_what_was_found_have_the_same_file(images: Path) -> None:
    _keep(images, STILL)
    for reader in ("anna", "bob"):
        _outline(images, f"{reader}/seg.dcm", "", FIRST, program="sonoseg")
    (case,) = load_cases(images)
    assert [path.parent.name for path in case.masks] == ["anna"]
    assert check_folder(images).findings == ()


def test_the_half_of_a_screen_that_nobody_read_is_left_out(
    images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was a case without lesion."""
    _keep(images, SPLIT)
    path = _outline(images, "a/seg.dcm", "Anna", FIRST, stem=SPLIT, regions=(2,))
    (case,) = load_cases(images)
    assert (case.name, case.read_mask().sum()) == (f"images_{SPLIT}.dcm_region2", 100)
    problem = "region 1 is left out: there is a segment in another region only"
    (line,) = caplog.messages
    assert line.endswith(f"{SPLIT}.dcm: {problem}; see sonoseg data check")
    (finding,) = check_folder(images).findings
    assert (finding.kind, finding.message) == ("region without mask", problem)
    _outline(images, "a/seg.dcm", "Anna", FIRST, stem=SPLIT)
    assert [case.read_mask().sum() for case in load_cases(images)] == [100, 100]
    # An empty segmentation says of the whole screen that there is no lesion.
    seg = pydicom.dcmread(path)
    seg.PixelData = bytes(len(seg.PixelData))
    seg.save_as(path)
    assert [case.read_mask().sum() for case in load_cases(images)] == [0, 0]
    assert check_folder(images).findings == ()


@pytest.mark.parametrize(
    ("width", "problem"),
    [
        (25, "50 of the 100 pixels that it marks lie beside the ultrasound image"),
        (18, "marks nothing within the ultrasound image, only beside it"),
    ],
)
def test_what_lies_beside_the_ultrasound_image_is_reported(
    images: Path, width: int, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    _keep(images, STILL)
    _outline(images, "a/seg.dcm", "Anna", FIRST)
    path = images / "images" / f"{STILL}.dcm"
    image = pydicom.dcmread(path)
    (region,) = image.SequenceOfUltrasoundRegions
    region.RegionLocationMaxX1 = region.RegionLocationMinX0 + width - 1
    image.save_as(path)
    (case,) = load_cases(images)
    if width > 20:
        assert case.read_mask().sum() == 50
        assert caplog.messages == [f"{images / 'a' / 'seg.dcm'}: {problem}"]
    else:
        with pytest.raises(InputError, match=problem):
            case.read()
    (finding,) = check_folder(images).findings
    assert (finding.files, finding.message) == (("a/seg.dcm",), problem)


def test_a_segment_that_is_only_an_outline_is_refused(images: Path) -> None:
    _keep(images, STILL)
    path = _outline(images, "a/seg.dcm", "Anna", SECOND)
    seg = pydicom.dcmread(path)
    pixels = seg.pixel_array
    rows, columns = np.nonzero(pixels)
    pixels[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()] = 0
    seg.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    seg.save_as(path)
    (case,) = load_cases(images)
    with pytest.raises(
        InputError, match=r"a/seg\.dcm: the mask seems to be an outline"
    ):
        case.read()
