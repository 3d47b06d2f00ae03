"""An archive in one process: what is written, what is resumed, what is refused. `tests/test_cluster.py` has workers."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

import sonoseg
from sonoseg.archive import shard
from sonoseg.archive.command import archive_command
from sonoseg.archive.files import add_list, files_below, read_lists
from sonoseg.cli import main
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import write_phantoms
from sonoseg.errors import InputError


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures, two DICOM files with SEG, a text, a damaged picture, a mask, a video and hidden files."""
    folder = tmp_path_factory.mktemp("archive")
    write_phantoms(folder / "a", 8, size=(128, 160))
    shutil.rmtree(folder / "a" / "masks")
    write_dicom_phantoms(folder / "b" / "deep", 2)
    for path in (folder / "b" / "deep" / "images").iterdir():
        path.rename(path.with_suffix(""))  # DICOM is known by its content
    picture = folder / "a" / "images" / "synthetic_00.png"
    (folder / "damaged.png").write_bytes(picture.read_bytes()[:300])
    (folder / "readme.txt").write_text("no image")
    shutil.copy(picture, folder / "x_mask.png")
    (folder / ".hidden").mkdir()
    shutil.copy(picture, folder / ".hidden")
    shutil.copy(picture, folder / ".hidden.png")
    (folder / "clip.mp4").write_bytes(b"video")
    return folder


@pytest.fixture(scope="module")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the archive in shards of four files. They must not be changed."""
    out = tmp_path_factory.mktemp("finished") / "out"
    text, code = archive_command([archive], out=out, workers=1, shard=4)
    assert code == 1 and "1 failed" in text
    return out


def rows_of(out: Path) -> dict[tuple[str, int | None], dict[str, Any]]:
    """(file, frame) → row; each may be there once only."""
    found = parquet.read_table(out / "results.parquet").to_pylist()
    rows = {(row["file"], row["frame"]): row for row in found}
    assert len(rows) == len(found)
    return rows


def masks_of(out: Path) -> dict[str, bytes]:
    masks = {}
    for path in sorted((out / "masks").iterdir()):
        with ZipFile(path) as file:
            for name in file.namelist():
                masks[f"{path.name}/{name}"] = file.read(name)
    return masks


def test_each_image_has_a_row_and_each_lesion_a_mask(
    archive: Path, finished: Path
) -> None:
    rows, masks = rows_of(finished), masks_of(finished)
    pictures = [f"a/images/synthetic_0{number}.png" for number in range(8)]
    loop = "b/deep/images/synthetic_01_loop"
    files = {file for file, _ in rows}
    assert files == {
        *pictures,
        loop,
        "b/deep/images/synthetic_00_still",
        "damaged.png",
    }
    assert len([file for file, _ in rows if file == loop]) == 12
    for name in pictures:
        row, result = rows[name, None], sonoseg.segment(archive / name)
        assert (row["width"], row["height"]) == (160, 128)
        assert len(row["lesions"]) == len(result.lesions)
        for entry, lesion in zip(row["lesions"], result.lesions, strict=True):
            assert entry.pop("malignancy") == lesion.malignancy.to_dict()
            box = dict(zip(("x", "y", "width", "height"), lesion.box, strict=True))
            assert entry["area"] == pytest.approx(lesion.area, abs=0.01)
            assert entry["box"] == box
        assert (row["mask"] is None) == (not result.mask.any())
        if row["mask"] is not None:
            with Image.open(io.BytesIO(masks[row["mask"]])) as picture:
                assert picture.mode == "1"
                assert np.array_equal(np.array(picture), result.mask)
    assert masks.keys() == {row["mask"] for row in rows.values()} - {None}
    assert any(row["mask"] is None for row in rows.values())
    still = rows["b/deep/images/synthetic_00_still", 1]
    assert still["unit"] == "mm" and still["spacing"] == pytest.approx([0.1, 0.1])
    damaged = rows["damaged.png", None]
    assert damaged["state"] == "failed" and "cut short" in damaged["reason"]
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["sha256"] == sonoseg.load().sha256
    # The texts and the two SEG are not ultrasound.
    assert (manifest["files"], manifest["passed_over"]) == (15, 4)
    assert manifest["images"] == len(rows) and manifest["failed"] == 1
    assert manifest["doubtful"] == sum(bool(row["doubts"]) for row in rows.values())


def test_dicom_has_the_size_and_the_positions_of_the_whole_frame(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    name = "b/deep/images/synthetic_00_still"
    row = rows_of(finished)[name, 1]
    assert main(["segment", str(archive / name), "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (view,) = results["dicom"][0]["views"]
    left, top, width, height = row["region"]
    assert left > 0 and top > 0
    assert (view["left"], view["top"]) == (left, top)
    assert (view["width"], view["height"]) == (width, height)
    assert row["width"] >= left + width and row["height"] >= top + height
    assert row["spacing"] == view["spacing"]["mm_per_pixel"]
    (mine,), (other,) = row["lesions"], view["lesions"]
    assert mine["box"] == {
        **other["box"],
        "x": other["box"]["x"] + left,
        "y": other["box"]["y"] + top,
    }
    x, y = other["centre"]
    assert mine["centre"] == pytest.approx([x + left, y + top])
    assert mine["area"] == other["area"]
    assert mine["longest_diameter"] == other["longest_diameter"]


def test_the_operating_point_is_used_and_noted(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pictures = archive / "a" / "images"
    archive_command([pictures], out=out, workers=1, sensitivity="high")
    segmenter = sonoseg.load(sensitivity="high")
    found = {file: len(row["lesions"]) for (file, _), row in rows_of(out).items()}
    assert found == {
        name: len(segmenter.segment(pictures / name).lesions) for name in found
    }
    usual = {file: row["lesions"] for (file, _), row in rows_of(finished).items()}
    assert any(found[name] > len(usual[f"a/images/{name}"]) for name in found)
    assert json.loads((out / "manifest.json").read_text())["sensitivity"] == "high"
    with pytest.raises(InputError, match=r"another sensitivity \(high\)"):
        archive_command([pictures], out=out, workers=1, sensitivity="specific")


def test_only_what_is_missing_is_done_again(
    archive: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "parts" / "000002.parquet").unlink()
    (out / "results.parquet").unlink()
    seen = []
    real = shard.segment_file

    def note(segmenter: Any, name: str, settings: Any) -> Any:
        seen.append(name)
        return real(segmenter, name, settings)

    monkeypatch.setattr(shard, "segment_file", note)
    assert archive_command([archive], out=out, workers=1)[1] == 1
    assert sorted(seen) == sorted(list(read_lists(out, 4))[2])
    assert rows_of(out) == rows_of(finished)
    assert masks_of(out) == masks_of(finished)


def test_files_that_are_added_or_replaced_later_are_segmented_too(
    archive: Path, tmp_path: Path
) -> None:
    """All others keep their rows. A call that finds nothing new changes nothing."""
    grown, out = tmp_path / "archive", tmp_path / "out"
    grown.mkdir()
    pictures = archive / "a/images"
    for number in range(3):
        shutil.copy(pictures / f"synthetic_0{number}.png", grown / f"{number}.png")
    archive_command([grown], out=out, workers=1, shard=2)
    before = rows_of(out)
    shutil.copy(pictures / "synthetic_05.png", grown / "later.png")
    shutil.copy(pictures / "synthetic_04.png", grown / "1.png")
    for _ in range(2):
        assert archive_command([grown], out=out, workers=1)[1] == 0
        rows, masks = rows_of(out), masks_of(out)
        assert rows.keys() == before.keys() | {("later.png", None)}
        for name in ("0.png", "2.png"):
            assert rows[name, None] == before[name, None]
        for name in ("1.png", "later.png"):
            row, result = rows[name, None], sonoseg.segment(grown / name)
            areas = [entry["area"] for entry in row["lesions"]]
            expected = [lesion.area for lesion in result.lesions]
            assert areas == pytest.approx(expected, abs=0.01)
            assert row["mask"] == f"000002.zip/{Path(name).stem}.png_mask.png"
            with Image.open(io.BytesIO(masks[row["mask"]])) as picture:
                assert np.array_equal(np.array(picture), result.mask)
        manifest = json.loads((out / "manifest.json").read_text())
        assert (manifest["images"], manifest["files"]) == (4, 5)
        assert len(list((out / "parts").iterdir())) == 3


def test_an_image_that_ends_three_processes_is_given_up(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    """As a shard leaves it whose process was killed at its second file, twice alone, and once beside the third."""
    out = shutil.copytree(finished, tmp_path / "out")
    names = next(iter(read_lists(out, 4)))
    (out / "parts" / "000000.parquet").unlink()
    noted = {"ended": {"1": 2, "2": 1}, "first": 1, "stop": 2}
    (out / "parts" / "000000.json").write_text(json.dumps(noted))
    archive_command([archive], out=out, workers=1)
    rows, before = rows_of(out), rows_of(finished)
    given_up = [key for key in rows if rows[key] != before.get(key)]
    assert given_up == [(names[1], None)]
    reason = "3 processes ended while they segmented it"
    assert rows[names[1], None]["reason"] == reason
    assert not (out / "parts" / "000000.json").exists()


def test_a_killed_process_has_noted_where_it_was(
    archive: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "parts" / "000001.parquet").unlink()

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard, "segment_file", die)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                archive_command([archive], out=out, workers=1)
    noted = json.loads((out / "parts" / "000001.json").read_text())
    assert noted == {"ended": {"0": 1, "1": 1, "2": 1, "3": 1}, "first": 0, "stop": 1}
    archive_command([archive], out=out, workers=1)
    assert rows_of(out) == rows_of(finished)


def test_of_thousands_of_files_none_is_listed_twice(tmp_path: Path) -> None:
    """Whether a file is known again must not depend on the bytes of its mark."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3000):
        (data / f"{number}.png").touch()
    for _ in range(2):
        assert add_list(data, tmp_path) == 3000


def test_names_of_any_kind_are_listed_once(tmp_path: Path) -> None:
    names = ["line\nend.png", "quote'\".png", "ä 图.png", os.fsdecode(b"\xff.png")]
    folder = tmp_path / "data"
    (folder / "out").mkdir(parents=True)
    for name in [*names, "out/not_this.png"]:
        (folder / name).touch()
    (folder / "link").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    count = add_list(folder, folder / "out")
    shards = list(read_lists(folder / "out", 3))
    assert [len(names) for names in shards] == [3, 1] and count == 4
    assert sorted(shards[0] + shards[1]) == sorted(names)
    (folder / "later.png").touch()
    for _ in range(2):
        assert add_list(folder, folder / "out") == 5
        *earlier, last = read_lists(folder / "out", 3)
        assert earlier == shards and last == ("later.png",)
    (folder / "later.png").write_text("changed")
    assert add_list(folder, folder / "out") == 6
    assert list(read_lists(folder / "out", 3))[-1] == ("later.png",)


def test_names_that_are_no_utf_8_have_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_phantoms(tmp_path / "made", 1, size=(128, 160))
    folder.mkdir()
    (tmp_path / "made/images/synthetic_00.png").rename(
        folder / os.fsdecode(b"\xff\n.png")
    )
    assert archive_command([folder], out=tmp_path / "out", workers=1)[1] == 0
    ((file, _),) = rows_of(tmp_path / "out")
    assert file == "\\udcff\\n.png"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(InputError, match="cannot be listed"):
        list(files_below(tmp_path, ""))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--spacing", "0.2"], "another spacing (none was given)"),
        (["--explain"], "--explain: is not for archives"),
        (["--to", "coco"], "--to: is not for archives"),
        (["--model", "nowhere"], "nowhere: no such model"),
        (["--cluster", "tcp://x:1"], "cannot be used with --workers"),
    ],
)
def test_what_does_not_fit_is_one_line(
    archive: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    problem: str,
) -> None:
    line = ["segment", str(archive), "--workers", "1", "--out", str(finished)]
    assert main([*line, *more]) == 2
    error = capsys.readouterr().err
    assert problem in error and len(error.strip().splitlines()) == 1


def test_no_images_or_several_folders_are_one_line(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no image")
    for paths, problem in (
        ([tmp_path / "empty"], "no images in it"),
        ([tmp_path / "texts"], "no ultrasound in it could be segmented"),
        ([archive, archive], "are for one folder"),
        ([archive / "damaged.png"], "are for one folder"),
    ):
        out = str(tmp_path / f"out-{len(problem)}")
        assert main(["segment", *map(str, paths), "--workers", "1", "--out", out]) == 2
        assert problem in capsys.readouterr().err
    assert not (tmp_path / f"out-{len('no images in it')}" / "files.txt").exists()
