"""Files that are damaged or lie: one line says so, nothing hangs, no traceback."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import types
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, find_real, make_dataset, region_item
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from test_seg import ALGORITHM

from sonoseg.dicom import storage
from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.decode import complaints
from sonoseg.dicom.lesions import Tracker
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.recognise import is_dicom, is_dicom_file
from sonoseg.dicom.report import make_report
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.source import as_bytes as written_bytes
from sonoseg.dicom.storage import PHOTOMETRIC
from sonoseg.errors import InputError

PIXELS = np.arange(40 * 50, dtype=np.uint16).astype(np.uint8).reshape(40, 50)
FUZZED = (
    "ExplVR_BigEnd.dcm",
    "OBXXXX1A_rle.dcm",
    "examples_ybr_color.dcm",
    "US1_J2KI.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
)


def _read(content: bytes) -> int:
    """Frames and regions that could be read, of at most four frames; an InputError must be one line."""
    try:
        file = read_dicom(content)
        return sum(1 for _ in file.views(range(1, min(file.frames, 4) + 1)))
    except InputError as error:
        assert "\n" not in str(error)
        raise


def _refused(content: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        _read(content)


def _made(**tags: Any) -> bytes:
    return as_bytes(make_dataset(PIXELS, **tags))


def test_recognised_by_content(tmp_path: Path) -> None:
    content = _made()
    assert is_dicom(content) and is_dicom(content[132:])
    others = (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"BM6",
        b"II*\0",
        b"GIF89a",
        b"{}",
    )
    for other in others:
        assert not is_dicom(other + bytes(132))
    path = tmp_path / "IM0001"
    path.write_bytes(content)
    assert is_dicom_file(path) and not is_dicom_file(tmp_path / "absent")
    assert not is_dicom_file(tmp_path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.6.2", "Enhanced US Volume"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "is a segmentation"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "is a segmentation"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR Storage"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.7.1", "Single Bit"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_other_kinds_are_refused_by_name(kind: str, words: str) -> None:
    tags = {} if "7.1" not in kind else {"Modality": "CT"}
    _refused(_made(SOPClassUID=kind, **tags), words)


def test_a_real_ct_is_refused() -> None:
    with pytest.raises(InputError, match="CT Image Storage, modality CT"):
        read_dicom(find_real("CT_small.dcm"))


def test_a_list_of_files_is_called_so() -> None:
    dataset = make_dataset(PIXELS)
    del dataset.SOPClassUID, dataset.PixelData
    dataset.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    _refused(as_bytes(dataset), "is a DICOMDIR, a list of files; give the folder")


def test_a_picture_is_not_dicom() -> None:
    with pytest.raises(InputError, match="is not a DICOM file"):
        read_dicom(b"\x89PNG\r\n\x1a\n" + bytes(200))


def test_names_of_patients_are_in_no_error() -> None:
    content = _made()
    for end in range(200, len(content), 97):
        with pytest.raises(InputError) as caught:
            _read(content[:end])
        assert "Doe" not in str(caught.value) and "P-17" not in str(caught.value)


@pytest.mark.parametrize("frames", ["2147483648", "-1", "99999", "2"])
def test_a_number_of_frames_that_cannot_be(frames: str) -> None:
    _refused(_made(NumberOfFrames=frames), "frames")


@pytest.mark.parametrize("length", [0, 16, 1998, 2**31 - 1, 2**32 - 2])
def test_pixel_data_of_another_length_than_their_size(length: int) -> None:
    content = bytearray(_made())
    place = content.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OB"))
    struct.pack_into("<I", content, place + 8, length)
    _refused(bytes(content), "is cut short")


@pytest.mark.parametrize("rows", [1, 20])
def test_pixel_data_of_more_than_the_frames_is_refused(rows: int) -> None:
    dataset = make_dataset(np.zeros((3, 40, 50), np.uint8))
    dataset.Rows = dataset.Rows - rows
    _refused(as_bytes(dataset), "has more pixel data than 3 frames of 50 × ")
    dataset.Rows = 40
    dataset.NumberOfFrames = 2
    _refused(as_bytes(dataset), "has more pixel data than 2 frames of 50 × 40 pixels")
    dataset.NumberOfFrames = 3
    dataset.compress(uid.RLELossless)
    dataset.NumberOfFrames = 2
    _refused(as_bytes(dataset), "has more pixel data than 2 frames of 50 × 40 pixels")


def _in_jpeg_2000(frame: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
    return buffer.getvalue()


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize(
    "syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
)
def test_compressed_frames_without_a_table_are_counted(
    syntax: uid.UID, frames: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8)
    dataset = make_dataset(pixels)
    if syntax == uid.JPEG2000Lossless:
        encoded = [_in_jpeg_2000(frame) for frame in pixels]
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.compress(syntax)
        encoded = [*generate_frames(dataset.PixelData, number_of_frames=3)]
    dataset.PixelData = encapsulate(encoded, has_bot=False)
    assert read_dicom(as_bytes(dataset)).frames == 3
    dataset.NumberOfFrames = frames
    _refused(as_bytes(dataset), "has more pixel data than")
    # The fragments of one frame are not taken for frames.
    dataset.NumberOfFrames = 3
    if syntax != uid.RLELossless:
        dataset.PixelData = encapsulate(encoded, 4, has_bot=True)
        assert len(list(read_dicom(as_bytes(dataset)).views())) == 3
        dataset.NumberOfFrames = 1
        dataset.PixelData = encapsulate(encoded[:1], 4, has_bot=False)
        (view,) = read_dicom(as_bytes(dataset)).views()
        np.testing.assert_array_equal(view.image.pixels, pixels[0])


def test_a_file_without_pixels_is_refused_as_such() -> None:
    dataset = make_dataset(PIXELS)
    del dataset.PixelData
    _refused(as_bytes(dataset), "has no pixel data")


def test_a_decoder_that_is_missing_is_not_damage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = find_real("JPGLosslessP14SV1_1s_1f_8b.dcm")
    assert read_dicom(path).frames == 1
    decoder = get_decoder(uid.JPEGLosslessSV1)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError, match="is not read here") as caught:
        read_dicom(path)
    assert caught.value.hint == "export it uncompressed"
    monkeypatch.setattr(storage, "_DECODERS", ("gdcm", "not_a_module"))
    with pytest.raises(InputError, match=r"pip install '.\[dicom\]'"):
        read_dicom(path)


def test_a_data_set_in_memory_needs_a_transfer_syntax() -> None:
    dataset = make_dataset(PIXELS)
    del dataset.file_meta
    with pytest.raises(InputError, match=r"has no transfer syntax; set its file_meta"):
        read_dicom(dataset)


@pytest.mark.parametrize(
    ("line", "is_damage"),
    [
        (b"Invalid HTTP request received.\n", False),
        (b"Invalid SOS parameters for sequential JPEG\n", True),
        (b"Corrupt JPEG data: premature end of data segment\n", True),
    ],
)
def test_what_other_threads_write_meanwhile_is_no_damage(
    line: bytes,
    is_damage: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The decoder complains on stderr, which all threads share."""
    header = read_dicom(find_real("JPGLosslessP14SV1_1s_1f_8b.dcm")).header
    refused = pytest.raises(InputError, match="damaged JPEG data")
    with refused if is_damage else contextlib.nullcontext(), complaints(header):
        os.write(2, line)
    assert capfd.readouterr().err.encode() == (b"" if is_damage else line)


def test_zero_frames_are_one() -> None:
    assert _read(_made(NumberOfFrames="0")) == 1


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 41},
        {"Columns": 8},
        {"Rows": 0},
        {"BitsAllocated": 16},
        {"BitsAllocated": 7},
        {"BitsStored": 9},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": "CMYK"},
    ],
    ids=str,
)
def test_sizes_and_kinds_that_do_not_fit(tags: dict[str, Any]) -> None:
    _refused(_made(**tags), ";")


NEEDED = (
    "SOPClassUID",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PixelData",
)


@pytest.mark.parametrize("tag", NEEDED)
def test_missing_tags(tag: str) -> None:
    dataset = make_dataset(PIXELS)
    delattr(dataset, tag)
    _refused(as_bytes(dataset), ";")


def test_private_types_and_odd_regions_are_read_over() -> None:
    dataset = make_dataset(PIXELS, regions=[region_item((0, 0, 49, 39), (0.01, 0.01))])
    dataset.add_new(0x00091001, "UN", b"\0\1\2\3")
    dataset.SequenceOfUltrasoundRegions.append(pydicom.Dataset())
    content = as_bytes(dataset)
    assert _read(content) == 1
    private = content.replace(b"\x09\x00\x01\x10UN", b"\x09\x00\x01\x10ZZ")
    assert private != content
    try:
        assert _read(private) == 1
    except InputError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        (uid.MPEG4HP41, "is a video .MPEG-4"),
        ("1.2.3.4", "not known .1.2.3.4"),
        (uid.HTJ2KLossless, "is not read here .High-Throughput JPEG 2000"),
        (uid.UID("1.2.840.10008.1.2.4.92"), "is not read here .JPEG 2000 Part 2"),
    ],
)
def test_videos_and_unknown_forms_are_refused_by_name(syntax: str, words: str) -> None:
    dataset = make_dataset(PIXELS)
    dataset.compress(uid.RLELossless)
    content = as_bytes(dataset)
    value = str(syntax).encode()
    value += b"\0" * (len(value) % 2)
    old = str(uid.RLELossless).encode()
    old += b"\0" * (len(old) % 2)
    before = struct.pack("<HH2sH", 2, 0x10, b"UI", len(old)) + old
    after = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    assert before in content
    length = int.from_bytes(content[140:144], "little") + len(after) - len(before)
    content = content[:140] + length.to_bytes(4, "little") + content[144:]
    _refused(content.replace(before, after), words)


def test_a_deflated_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sonoseg.dicom.stream.MAX_BYTES", 10_000_000)
    dataset = make_dataset(PIXELS)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    content = as_bytes(dataset)
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = content[:start] + deflater.compress(bytes(100_000_000)) + deflater.flush()
    _refused(bomb, "over 10 MB when it is inflated")


def test_sequences_in_sequences_do_not_exhaust_the_stack() -> None:
    opening = struct.pack("<HH2sHI", 0x0018, 0x6011, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    content = _made()
    place = content.index(struct.pack("<HH2s", 0x0020, 0x000D, b"UI"))
    _refused(content[:place] + (opening + item) * 5000 + content[place:], "damaged")


def test_a_number_of_one_byte_is_damage() -> None:
    content = _made()
    place = content.index(struct.pack("<HH2s", 0x0028, 0x0010, b"US"))
    one_byte = struct.pack("<HH2sHB", 0x0028, 0x0010, b"UL", 1, 196)
    _refused(content[:place] + one_byte + content[place + 10 :], "damaged")


@functools.cache
def _real(name: str) -> bytes:
    return find_real(name).read_bytes()


def _either(content: bytes) -> None:
    with contextlib.suppress(InputError):
        assert _read(content) >= 1


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=25, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    places=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6
    ),
    in_header=st.booleans(),
)
def test_changed_bytes(
    name: str, places: list[tuple[float, int]], in_header: bool
) -> None:
    content = bytearray(_real(name))
    end = min(len(content), 3000) if in_header else len(content)
    for share, value in places:
        content[int(share * (end - 1))] = value
    _either(bytes(content))


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=12, deadline=5000, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 1), in_header=st.booleans())
def test_cut_short(name: str, share: float, in_header: bool) -> None:
    content = _real(name)
    end = min(len(content), 3000) if in_header else len(content)
    _either(content[: int(share * end)])


@pytest.mark.parametrize("name", FUZZED)
def test_any_tag_may_be_missing(name: str) -> None:
    whole = pydicom.dcmread(find_real(name))
    tags = [
        one.tag for one in whole if one.tag.group in (0x0008, 0x0018, 0x0020, 0x0028)
    ]
    for tag in tags:
        dataset = pydicom.dcmread(find_real(name))
        del dataset[tag]
        _either(as_bytes(dataset))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_jpeg_of_which_a_part_is_missing_is_refused(share: float) -> None:
    content = _real("JPGLosslessP14SV1_1s_1f_8b.dcm")
    middle = int(share * len(content))
    _refused(content[:middle] + bytes(2000) + content[middle + 2000 :], "damaged")


EXTREMES = (0, 1, 2, 7, 15, 16, 17, 255, 4096, 32767, 32768, 65535)
SHORT = st.sampled_from(EXTREMES) | st.integers(0, 65535)
CORNER = st.sampled_from(
    (0, 1, 15, 16, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1)
) | st.integers(0, 2000)
COLOURS = st.sampled_from((*PHOTOMETRIC, "ARGB", "CMYK", "", "RGB\\RGB"))
FRAMES = st.sampled_from(("0", "1", "2", "119", "-1", "2147483648", "", "1.5", "2\\3"))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "Rows": SHORT,
        "Columns": SHORT,
        "NumberOfFrames": FRAMES,
        "BitsAllocated": st.sampled_from((0, 1, 7, 8, 12, 16, 32, 64, 65535)),
        "BitsStored": st.sampled_from((0, 1, 7, 8, 12, 16, 32, 64, 65535)),
        "SamplesPerPixel": st.sampled_from((0, 1, 2, 3, 4, 65535)),
        "PixelRepresentation": st.sampled_from((0, 1, 2)),
        "PlanarConfiguration": st.sampled_from((0, 1, 2)),
        "PhotometricInterpretation": COLOURS,
    },
)


@pytest.mark.parametrize("name", FUZZED)
@settings(max_examples=25, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    changes=CHANGES,
    corners=st.lists(CORNER, min_size=4, max_size=4),
    delta=st.sampled_from((0.01, 0.0, -0.01, float("nan"), float("inf"), 1e300)),
)
def test_changed_values(
    name: str, changes: dict[str, Any], corners: list[int], delta: float
) -> None:
    dataset = pydicom.dcmread(find_real(name))
    item = region_item((0, 0, 0, 0), (delta, 0.01))
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for corner, value in zip(names, corners, strict=True):
        setattr(item, f"RegionLocation{corner}", value)
    dataset.SequenceOfUltrasoundRegions = [item]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        try:
            content = as_bytes(dataset)
        except ValueError:  # pydicom does not write 1.5 frames
            return
    _either(content)


@pytest.mark.parametrize(
    "changes",
    [{"Rows": 700}, {"BitsAllocated": 32}],
    ids=str,
)
def test_lossless_jpeg_unlike_its_header_does_not_reach_gdcm(
    changes: dict[str, int],
) -> None:
    dataset = pydicom.dcmread(find_real("JPGLosslessP14SV1_1s_1f_8b.dcm"))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    _refused(as_bytes(dataset), "samples of 8 bits, unlike its header")


def test_a_mistake_of_our_own_is_not_called_damage() -> None:
    def mistaken(value: Any) -> None:
        value.no_such_name()

    # As if the function were one of sonoseg.
    ours = types.FunctionType(mistaken.__code__, {"__name__": "sonoseg.dicom.x"})
    with pytest.raises(AttributeError, match="no_such_name"), dicom_errors("a"):
        ours(1)
    with pytest.raises(InputError, match="is damaged"), dicom_errors("a"):
        len(pydicom.Dataset().Rows)
    with pytest.raises(NameError), dicom_errors("a"):
        raise NameError("x")


@settings(max_examples=40, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    places=st.lists(
        st.tuples(st.integers(132, 2600), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_what_is_written_of_a_damaged_header_is_whole_or_an_error(
    places: list[tuple[int, int]],
) -> None:
    content = bytearray(_real("US1_UNCI.dcm"))
    for place, value in places:
        content[place] = value
    with contextlib.suppress(InputError):
        file, tracker = read_dicom(bytes(content)), Tracker()
        outlines = []
        for view in file.views([1]):
            mask = np.zeros(view.image.pixels.shape, np.bool_)
            mask[3:12, 3:12] = True
            outlines += tracker.follow(view, mask)
        for made in (
            make_seg(file, outlines, ALGORITHM),
            make_report(file, outlines, ALGORITHM),
        ):
            assert written_bytes(file, made)[128:132] == b"DICM"
