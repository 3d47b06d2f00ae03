"""`sonoseg segment` on DICOM: files, folders, what is written and what is not."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, conformance_errors, find_real, make_dataset
from PIL import Image

import sonoseg
from sonoseg.cli import main
from sonoseg.core.mask import read_mask
from sonoseg.data.dicom import scan_dicom
from sonoseg.data.dicom_phantom import make_screen, write_dicom_phantoms
from sonoseg.dicom.find import find_files
from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError
from sonoseg.reader.overlay import write_picture
from sonoseg.reader.video_writer import video_writer
from sonoseg.segment_command import segment_command


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still, a loop and a split screen in folders, with a CT, a text and a DICOMDIR among them."""
    folder = tmp_path_factory.mktemp("study")
    write_dicom_phantoms(folder / "set", 3, seed=3)
    shutil.move(folder / "set" / "images", folder / "series")
    shutil.rmtree(folder / "set")
    shutil.copy(find_real("CT_small.dcm"), folder / "series" / "IM0009")
    (folder / "notes.txt").write_text("text")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    return folder


def test_a_study_from_folder_to_files(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words, code = segment_command([study], out=out, to=("seg", "sr", "sc"))
    assert code == 0
    assert "3 files were skipped" in words
    results = json.loads((out / "results.json").read_text())
    entries = {Path(entry["file"]).stem: entry for entry in results["dicom"]}
    assert list(entries) == [
        "synthetic_00_still",
        "synthetic_01_loop",
        "synthetic_02_split",
    ]
    for name, entry in entries.items():
        file = read_dicom(entry["file"])
        stem = out / f"series_{name}"
        sr = pydicom.dcmread(f"{stem}_sr.dcm")
        assert sr.StudyInstanceUID == file.dataset.StudyInstanceUID
        kinds = [one.split("_")[-1] for one in entry["written"]]
        assert {"seg.dcm", "sr.dcm", "sc.dcm", "mask.png"} <= set(kinds)
        for kind in ("seg", "sr", "sc"):
            assert conformance_errors(Path(f"{stem}_{kind}.dcm")) == []
        seg = highdicom.seg.segread(f"{stem}_seg.dcm")
        for frame, path in _masks(out, entry).items():
            mask = read_mask(path).pixels
            assert mask.shape == file.shape
            if file.frames == 1:
                union = seg.get_pixels_by_source_instance(
                    [file.header.instance], ignore_spatial_locations=True
                )
            else:
                union = seg.get_pixels_by_source_frame(
                    file.header.instance, [frame], ignore_spatial_locations=True
                )
            np.testing.assert_array_equal(union[0].any(axis=-1), mask)
        assert all(view["unit"] == "mm" for view in entry["views"])
        assert entry["views"][0]["spacing"]["source"].startswith("DICOM")
    assert "Phantom" not in (out / "results.json").read_text()
    assert len(entries["synthetic_01_loop"]["views"]) == 12
    split = entries["synthetic_02_split"]["views"]
    assert [(view["region"], view["left"]) for view in split] == [(1, 24), (2, 424)]


def _masks(out: Path, entry: dict[str, list[str]]) -> dict[int, Path]:
    found = {}
    for name in entry["written"]:
        if name.endswith("_mask.png"):
            frame = int(name.split("_frame")[1][:4]) if "_frame" in name else 1
            found[frame] = out / name
    return found


def test_the_bundled_network_finds_the_phantoms_lesions_in_mm(
    study: Path, tmp_path: Path
) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    segment_command([still], out=tmp_path / "out")
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["dicom"]
    mask = read_mask(tmp_path / "out" / "synthetic_00_still_mask.png").pixels
    truth = make_screen("still", 3).masks[0]
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
    (lesion,) = entry["views"][0]["lesions"]
    assert lesion["area"] == pytest.approx(mask.sum() * 0.01, rel=1e-3)


def test_a_second_run_gives_the_same_uids_and_replaces_its_own(
    study: Path, tmp_path: Path
) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    uids = []
    for _ in range(2):
        segment_command([still], out=tmp_path, to=("seg", "sr", "sc"))
        kinds = ("seg", "sr", "sc")
        read = [
            pydicom.dcmread(tmp_path / f"synthetic_00_still_{kind}.dcm")
            for kind in kinds
        ]
        uids.append([str(one.SOPInstanceUID) for one in read])
    assert uids[0] == uids[1] and len(set(uids[0])) == 3


def test_what_another_has_written_is_not_replaced(study: Path, tmp_path: Path) -> None:
    (tmp_path / "synthetic_00_still_mask.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        segment_command([study / "series" / "synthetic_00_still.dcm"], out=tmp_path)
    assert (tmp_path / "synthetic_00_still_mask.png").read_bytes() == b"mine"


def test_a_damaged_file_leaves_nothing_half_written(tmp_path: Path) -> None:
    dataset = make_dataset(np.full((3, 64, 64), 90, np.uint8))
    dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    content = as_bytes(dataset)
    (tmp_path / "loop").write_bytes(content[:-200])
    words, code = segment_command(
        [tmp_path / "loop"], out=tmp_path / "out", to=("seg", "sr")
    )
    assert (words, code) == ("", 2)
    assert not (tmp_path / "out").exists()


def test_nothing_of_the_patient_is_printed_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "IM1").write_bytes(
        as_bytes(make_dataset(np.full((64, 64), 90, np.uint8)))
    )
    (tmp_path / "IM2").write_bytes(
        as_bytes(make_dataset(np.full((64, 64), 9, np.uint8)))[:-99]
    )
    words, code = segment_command(
        [tmp_path / "IM1", tmp_path / "IM2"], out=tmp_path / "out"
    )
    assert code == 1
    for text in (words, caplog.text, (tmp_path / "out" / "results.json").read_text()):
        assert "Doe" not in text and "P-17" not in text
    assert "IM2" in caplog.text


def test_the_command_line_knows_dicom_by_content(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "1.2.840.113"
    shutil.copy(study / "series" / "synthetic_00_still.dcm", bare)
    assert find_files([bare]).dicom and not find_files([study / "notes.txt"]).dicom
    out = tmp_path / "out"
    code = main(
        [
            "segment",
            str(bare),
            "--out",
            str(out),
            "--to",
            "seg",
            "sr",
            "--pseudonym",
            "k",
        ]
    )
    assert code == 0 and "1.2.840.113" in capsys.readouterr().out
    seg = out / "1.2.840.113_seg.dcm"
    assert pydicom.dcmread(seg).PatientID != "phantom-3-0"
    assert main(["dicom", "seg-to-mask", str(seg), str(tmp_path / "masks")]) == 0
    mask = read_mask(tmp_path / "masks" / "1.2.840.113_seg_mask.png").pixels
    np.testing.assert_array_equal(mask, read_mask(out / "1.2.840.113_mask.png").pixels)


def test_the_command_line_makes_phantoms_as_dicom(tmp_path: Path) -> None:
    folder = tmp_path / "phantoms"
    assert main(["data", "phantom", str(folder), "--count", "2", "--dicom"]) == 0
    assert len(list(folder.rglob("*.dcm"))) == 4
    assert main(["data", "check", str(folder)]) == 0


def test_info_names_regions_and_doubts(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("gdcm-US-ALOKA-16.dcm", "examples_palette.dcm")
    assert main(["dicom", "info", *(str(find_real(name)) for name in names)]) == 0
    said = capsys.readouterr().out
    assert "region 304 × 392 at (336, 24), pixels of 0.3827 × 0.3827 mm" in said
    assert "beyond the image" in said and "size of a pixel not known" in said


def test_info_goes_on_after_a_file_that_is_not_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, other = (
        str(find_real(name)) for name in ("gdcm-US-ALOKA-16.dcm", "CT_small.dcm")
    )
    assert main(["dicom", "info", other, image]) == 1
    said = capsys.readouterr()
    assert "region 304 × 392" in said.out
    assert "is not an ultrasound image" in said.err
    assert main(["dicom", "info", other]) == 2


def test_an_empty_key_is_refused_before_any_work(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still, out = str(study / "series" / "synthetic_00_still.dcm"), tmp_path / "out"
    assert main(["segment", still, "--out", str(out), "--pseudonym", "  "]) == 2
    assert "--pseudonym: the key is empty" in capsys.readouterr().err
    assert not out.exists()


def test_outlines_for_annotation_programs(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = str(study / "series")
    formats = ["coco", "geojson", "labelme"]
    assert main(["segment", folder, "--out", str(out), "--to", *formats]) == 0
    coco = json.loads((out / "lesions_coco.json").read_text())
    names = [one["file_name"] for one in coco["images"]]
    assert coco["annotations"]
    # Every picture that is named is there, and has the size of its mask; where the view is, its pixels.
    assert {
        "synthetic_00_still_shown.png",
        "synthetic_01_loop_frame0001_shown.png",
    } <= set(names)
    for one in coco["images"]:
        with Image.open(out / one["file_name"]) as picture:
            assert picture.size == (one["width"], one["height"])
    for path in out.glob("*_labelme.json"):
        named = json.loads(path.read_text())["imagePath"]
        assert (
            named == path.name.replace("_labelme.json", "_shown.png") and named in names
        )
    with Image.open(out / "synthetic_02_split_shown.png") as picture:
        pixels = np.asarray(picture)
    views = list(read_dicom(study / "series" / "synthetic_02_split.dcm").views())
    assert len(views) == 2
    for view in views:
        np.testing.assert_array_equal(pixels[view.region.slices], view.image.pixels)
    assert (out / "synthetic_00_still_lesions.geojson").exists()
    # The next call without these formats removes the pictures too.
    assert main(["segment", folder, "--out", str(out)]) == 0
    assert not list(out.glob("*_shown.png"))


def test_hidden_folders_are_left_out(study: Path, tmp_path: Path) -> None:
    """What a trash bin or a snapshot holds was deleted, or is there already."""
    still = study / "series" / "synthetic_00_still.dcm"
    for name in ("IM1.dcm", ".Trash-1000/files/IM9.dcm", ".snapshot/IM1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(still, tmp_path / name)
    found = find_files([tmp_path])
    assert [one.path for one in found.dicom] == [tmp_path / "IM1.dcm"]
    assert [case.name for case in scan_dicom(tmp_path).cases] == ["IM1.dcm"]


@pytest.fixture
def mixed(study: Path, tmp_path: Path) -> Path:
    """A folder with a DICOM still, a DICOM file that is cut short, a picture, a text and a CT."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    still = study / "series" / "synthetic_00_still.dcm"
    shutil.copy(still, folder / "IM0001")
    (folder / "IM0002").write_bytes(still.read_bytes()[:-500])
    write_picture(folder / "a.png", make_screen("still", 5).frames[0])
    shutil.copy(find_real("CT_small.dcm"), folder / "IM0009")
    (folder / "notes.txt").write_text("text")
    return folder


def test_pictures_and_dicom_of_one_folder_share_one_results_file(
    mixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    words, code = segment_command([mixed], out=out, to=("seg", "coco", "geojson"))
    assert code == 1 and "2 files were skipped" in words
    assert "pictures and videos have no seg file" in words
    assert "IM0002" in caplog.text
    results = json.loads((out / "results.json").read_text())
    (picture,), (still,) = results["images"], results["dicom"]
    assert picture["geojson"] == "a_lesions.geojson" and picture["unit"] == "px"
    assert "IM0001_lesions.geojson" in still["written"]
    assert [Path(one["file"]).name for one in results["failed"]] == ["IM0002"]
    listed = {picture[kind] for kind in ("mask", "overlay", "geojson")}
    listed |= {*still["written"], still["overlay"], results["coco"], "results.json"}
    assert {path.name for path in out.iterdir()} == listed
    coco = json.loads((out / results["coco"]).read_text())
    assert [one["file_name"] for one in coco["images"]] == ["a.png", "IM0001_shown.png"]


@pytest.mark.parametrize(
    "name",
    [
        "IM0001_mask.png",
        "IM0001_seg.dcm",
        "IM0001_heat.png",
        "lesions_coco.json",
        "a_lesions.geojson",
        "IM0001_labelme.json",
    ],
)
def test_no_file_of_others_is_replaced(mixed: Path, tmp_path: Path, name: str) -> None:
    options = {
        "to": ("seg", "coco", "geojson", "labelme"),
        "explain": True,
        "out": tmp_path / "out",
    }
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already, and no results"):
        segment_command([mixed], **options)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    (tmp_path / "out" / name).unlink()
    for _ in range(2):
        assert segment_command([mixed], **options)[1] == 1
    assert (tmp_path / "out" / name).read_bytes() != b"mine"
    # A call that writes less removes older files of the same image. It keeps those of others as its own.
    segment_command([mixed / "IM0001"], out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    is_of_others = name in ("lesions_coco.json", "a_lesions.geojson")
    assert (name in results["earlier_files"]) == is_of_others
    is_new = name == "IM0001_mask.png"
    assert (tmp_path / "out" / name).exists() == (is_of_others or is_new)


def _black(path: Path) -> None:
    """Makes a file black under the same UIDs, so that it has no lesion."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(path)


@pytest.mark.parametrize("name", ["synthetic_00_still", "synthetic_01_loop"])
def test_no_older_object_contradicts_a_new_report(
    study: Path, tmp_path: Path, name: str
) -> None:
    path, out = tmp_path / "in" / "a.dcm", tmp_path / "out"
    path.parent.mkdir()
    shutil.copy(study / "series" / f"{name}.dcm", path)
    segment_command([path], out=out, to=("seg", "sr", "sc", "geojson"))
    masks = len(list(out.glob("*_mask.png")))
    assert (out / "a_seg.dcm").exists() and masks >= 1
    words, _ = segment_command([path], out=out, to=("sr",))
    assert not list(out.glob("*_s[ce]*.dcm")) and not list(out.glob("*.geojson"))
    assert "older results of the same files were removed" in words
    segment_command([path], out=out, to=("seg", "sr"))
    _black(path)
    segment_command([path], out=out, to=("seg", "sr"))
    assert "No lesion was found" in pydicom.dcmread(out / "a_sr.dcm").to_json()
    results = json.loads((out / "results.json").read_text())
    (entry,) = results["dicom"]
    listed = {*entry["written"], entry["overlay"], "results.json"}
    listed |= {entry["video"]} if "video" in entry else set()
    assert {one.name for one in out.iterdir()} == listed
    assert results["earlier_files"] == [] and "a_seg.dcm" not in listed


def test_an_object_that_somebody_changed_is_not_removed(
    study: Path, tmp_path: Path
) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    out = tmp_path / "out"
    segment_command([still], out=out, to=("seg", "sr"))
    seg = out / "synthetic_00_still_seg.dcm"
    seg.write_bytes(seg.read_bytes() + b"corrected")
    with pytest.raises(InputError, match="has been changed since"):
        segment_command([still], out=out, to=("seg",))
    words, _ = segment_command([still], out=out)
    assert seg.read_bytes().endswith(b"corrected") and "_sr.dcm" in words
    results = json.loads((out / "results.json").read_text())
    assert results["earlier_files"] == [seg.name]
    assert not (out / "synthetic_00_still_sr.dcm").exists()


def test_a_pseudonym_removes_the_older_pictures(tmp_path: Path) -> None:
    path, out = tmp_path / "a.dcm", tmp_path / "out"
    for frames in (0, 2):
        shape = (frames, 64, 96) if frames else (64, 96)
        path.write_bytes(as_bytes(make_dataset(np.full(shape, 90, np.uint8))))
        segment_command([path], out=out, to=("sr", "sc"), explain=True)
        assert (out / "a_overlay.png").exists() and (out / "a_sc.dcm").exists()
        segment_command([path], out=out, to=("sr",), pseudonym="k")
        left = {one.name for one in out.iterdir()} - {"results.json", "a_sr.dcm"}
        assert {one for one in left if not one.endswith("_mask.png")} == set()


def test_a_file_that_is_also_given_by_its_folder_is_segmented_once(
    mixed: Path, tmp_path: Path
) -> None:
    (mixed / "IM0002").unlink()
    segment_command([mixed / "IM0001", mixed], out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results["dicom"]) == len(results["images"]) == 1


def test_results_that_would_overwrite_each_other_are_refused(
    mixed: Path, tmp_path: Path
) -> None:
    shutil.copy(mixed / "a.png", mixed / "im0001.png")
    with pytest.raises(InputError, match="would overwrite that of"):
        segment_command([mixed], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_our_own_objects_in_a_folder_are_not_segmented(
    study: Path, tmp_path: Path
) -> None:
    still = tmp_path / "IM1.dcm"
    shutil.copy(study / "series" / "synthetic_00_still.dcm", still)
    for _ in range(2):
        segment_command([tmp_path], out=tmp_path, to=("seg", "sr", "sc"))
        results = json.loads((tmp_path / "results.json").read_text())
        assert [entry["file"] for entry in results["dicom"]] == [str(still)]
        assert results["failed"] == [] and results["images"] == []


def test_the_heat_map_has_the_size_of_the_whole_frame(
    study: Path, tmp_path: Path
) -> None:
    split = study / "series" / "synthetic_02_split.dcm"
    segment_command([split], out=tmp_path / "out", explain=True)
    heat = np.array(Image.open(tmp_path / "out" / "synthetic_02_split_heat.png"))
    overlay = np.array(Image.open(tmp_path / "out" / "synthetic_02_split_overlay.png"))
    file = read_dicom(split)
    assert heat.shape == overlay.shape == (*file.shape, 3)
    outside = np.ones(file.shape, bool)
    for region in file.layout.regions:
        outside[region.slices] = False
        assert np.ptp(heat[region.slices].astype(int), axis=2).any()
    assert not heat[outside].any()


def test_a_spacing_of_the_user_replaces_that_of_the_file(
    study: Path, tmp_path: Path
) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    areas = []
    for spacing in (None, "0.2", "0.1"):
        out = tmp_path / f"out-{spacing}"
        segment_command([still], out=out, spacing=spacing, to=("sr",))
        (entry,) = json.loads((out / "results.json").read_text())["dicom"]
        (view,) = entry["views"]
        areas.append(view["lesions"][0]["area"])
        source = view["spacing"]["source"]
        said = "the file says that its pixels are 0.1 x 0.1 mm, the user says otherwise"
        assert (said in entry["doubts"]) == (spacing == "0.2")
        assert ("in place of the file's own" in source) == (spacing is not None)
    assert areas[1] == pytest.approx(4 * areas[0], rel=1e-3)
    assert areas[2] == pytest.approx(areas[0], rel=1e-3)


def test_a_loop_becomes_a_video_of_the_whole_frame(study: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    loop = study / "series" / "synthetic_01_loop.dcm"
    segment_command([loop], out=tmp_path / "out")
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["dicom"]
    file = read_dicom(loop)
    with av.open(str(tmp_path / "out" / entry["video"])) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        rate = video.streams.video[0].average_rate
    assert len(frames) == 12 and frames[0].shape == (*file.shape, 3)
    assert file.frame_time is not None
    assert float(rate) == pytest.approx(1000 / file.frame_time, rel=1e-3)
    assert frames[0][:16].max() < 40  # nothing of what is outside the region


def test_options_of_dicom_are_refused_for_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    write_picture(picture, np.full((64, 64), 90, np.uint8))
    out = ["--out", str(tmp_path / "out")]
    assert main(["segment", str(picture), *out, "--to", "seg"]) == 2
    assert "are for DICOM" in capsys.readouterr().err
    assert main(["segment", str(picture), *out, "--to", "coco"]) == 0
    assert (tmp_path / "out" / "lesions_coco.json").exists()


def test_python_segments_a_still_and_the_frames_of_a_loop(study: Path) -> None:
    still, loop, split = sorted((study / "series").glob("*.dcm"))
    result = sonoseg.segment(still)
    assert result.record.source.region == (24, 24, 400, 320)
    assert result.mask.shape == (368, 448) and result.spacing == pytest.approx(
        (0.1, 0.1)
    )
    assert result.unit == "mm" and result.lesions
    with pytest.raises(InputError, match="has 12 frames with 1 B-mode region"):
        sonoseg.segment(loop)
    with pytest.raises(InputError, match="has 1 frame with 2 B-mode regions"):
        sonoseg.segment(str(split))
    segmenter = sonoseg.load()
    results = list(segmenter.segment_frames(loop))
    assert [one.record.source.frame for one in results] == list(range(1, 13))
    assert {one.mask.shape for one in results} == {(368, 448)}
    left, right = segmenter.segment_frames(split)
    assert left.mask[:, :424].any() and not left.mask[:, 424:].any()
    assert right.mask[:, 424:].any() and not right.mask[:, :424].any()


def test_results_have_the_size_of_the_whole_frame(study: Path) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    result = sonoseg.load().segment(still, explain=True)
    (view,) = read_dicom(still).views()
    part = sonoseg.load().segment(view.image, explain=True)
    inside = view.region.slices
    outside = np.ones(view.shape, bool)
    outside[inside] = False
    assert result.heat is not None and part.heat is not None
    maps = [
        (result.mask, part.mask),
        (result.probability, part.probability),
        (result.heat, part.heat),
    ]
    for whole, own in maps:
        assert whole.shape == view.shape and not whole[outside].any()
        np.testing.assert_array_equal(whole[inside], own)
    overlay = result.overlay()
    assert overlay.shape == (*view.shape, 3) and not overlay[outside].any()
    assert not result.image[outside].any()
    lesion, own_lesion = result.lesions[0], part.lesions[0]
    assert lesion.area == own_lesion.area
    assert lesion.longest.length == own_lesion.longest.length
    moved = np.subtract(lesion.longest.start, own_lesion.longest.start)
    np.testing.assert_allclose(moved, 24)
    assert result.to_dict()["region"] == [24, 24, 400, 320]


def test_python_takes_bytes_files_and_data_sets(study: Path) -> None:
    still = study / "series" / "synthetic_00_still.dcm"
    expected = sonoseg.segment(still)
    with still.open("rb") as file:
        sources = [still.read_bytes(), file, pydicom.dcmread(still)]
        for source in sources:
            found = sonoseg.segment(source)
            np.testing.assert_array_equal(found.mask, expected.mask)
            assert found.spacing == expected.spacing
    mine = sonoseg.segment(still, spacing=(0.2, 0.1))
    assert mine.spacing == (0.2, 0.1)
    assert mine.to_dict()["spacing"]["source"].startswith("given by the user, in place")
    assert any("the user says otherwise" in doubt for doubt in mine.doubts)
    with pytest.raises(InputError, match="has no transfer syntax"):
        sonoseg.segment(pydicom.Dataset())


def test_an_option_that_does_nothing_is_said(study: Path, tmp_path: Path) -> None:
    loop = study / "series" / "synthetic_01_loop.dcm"
    words, _ = segment_command([loop], out=tmp_path / "a", fractional=True)
    assert "DICOM loops have no probability file" in words
    with video_writer(tmp_path / "v.mp4", Fraction(5), Fraction(1, 5)) as video:
        video.write(np.full((64, 64, 3), 90, np.uint8), 0)
    options: dict[str, Any] = {"explain": True, "to": ("coco", "labelme")}
    words, _ = segment_command([tmp_path / "v.mp4"], out=tmp_path / "b", **options)
    assert "videos have no heat map, no coco file, no labelme file" in words
    assert "outlines for" not in words
    assert not (tmp_path / "b" / "lesions_coco.json").exists()
    assert "no heat map" not in segment_command([loop], out=tmp_path / "c")[0]
