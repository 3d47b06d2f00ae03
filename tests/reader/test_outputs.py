"""`segment` replaces what an earlier call of it wrote, and nothing else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sonoseg.errors import InputError
from sonoseg.reader.outputs import AT_WORK, at_work, output_names, plan_outputs
from sonoseg.reader.segment_files import segment_files


@pytest.fixture
def folder(tmp_path: Path, scan: NDArray[np.uint8]) -> Path:
    """A folder with the images a.png and b.png."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.fromarray(scan).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["a_mask.png", "b_overlay.png"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_of_others_is_never_replaced(
    folder: Path, bundle: Path, name: str, linked: bool
) -> None:
    truth = folder / name
    truth.write_bytes(b"drawn by hand")
    if linked:
        truth = truth.rename(folder / "truth")
        (folder / name).symlink_to("truth")
    before = _names(folder)
    with pytest.raises(
        InputError,
        match=rf"{name}: is there already, and no results\.json of sonoseg segment lists",
    ):
        segment_files([folder], bundle, folder)
    assert truth.read_bytes() == b"drawn by hand"
    assert _names(folder) == before


def test_how_many_files_are_in_the_way_is_told(folder: Path, bundle: Path) -> None:
    for name in ("a_mask.png", "b_mask.png", "b_overlay.png"):
        (folder / name).touch()
    with pytest.raises(
        InputError, match="lists it, and 2 more such; choose another output folder"
    ):
        segment_files([folder], bundle, folder)


def test_a_heat_map_in_the_way_matters_only_where_one_is_drawn(folder: Path) -> None:
    (folder / "a_heat.png").touch()
    image = folder / "a.png"
    assert plan_outputs([(image, output_names(image, False))], folder) == (
        ["a_mask.png", "a_overlay.png"],
        [],
    )
    with pytest.raises(InputError, match=r"a_heat\.png: is there already"):
        plan_outputs([(image, output_names(image, True))], folder)


@pytest.mark.parametrize(
    "content",
    [
        b'{"mine": 1}',
        b"[]",
        b"no JSON",
        b"",
        b'{"sonoseg": "0.1", "images": [], "conventions": {}}',
        b'{"images": [], "clips": [], "failed": []}',
        b'{"sonoseg": "0.1", "images": {}, "clips": [], "failed": []}',
    ],
)
def test_a_results_json_of_others_is_never_replaced(
    folder: Path, bundle: Path, content: bytes
) -> None:
    (folder / "results.json").write_bytes(content)
    with pytest.raises(
        InputError,
        match=r"results\.json: is there already, and was not written by sonoseg segment; choose",
    ):
        segment_files([folder], bundle, folder)
    assert (folder / "results.json").read_bytes() == content
    assert "a_mask.png" not in _names(folder)


def test_what_calls_before_the_last_wrote_may_be_replaced_too(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("a", "b", "a", "b"):
        segment_files([folder / f"{name}.png"], bundle, out)
    report = json.loads((out / "results.json").read_text())
    assert report["earlier_files"] == ["a_mask.png", "a_overlay.png"]
    assert _names(out) == {
        "a_mask.png",
        "a_overlay.png",
        "b_mask.png",
        "b_overlay.png",
        "results.json",
    }
    segment_files([folder], bundle, out)
    assert json.loads((out / "results.json").read_text())["earlier_files"] == []


def test_older_results_of_an_image_are_removed_unless_somebody_changed_them(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    segment_files([folder], bundle, out, formats=("geojson", "labelme"))
    (out / "a_heat.png").write_bytes(b"of somebody else")
    (out / "a_lesions.geojson").write_bytes(b"corrected")
    summary = segment_files([folder / "a.png"], bundle, out)
    assert summary.removed == ["a_labelme.json"]
    of_b = {f"b_{end}" for end in ("lesions.geojson", "labelme.json", "mask.png")}
    kept = of_b | {"b_overlay.png", "a_lesions.geojson"}
    new = {"a_mask.png", "a_overlay.png", "results.json"}
    assert _names(out) == kept | new | {"a_heat.png"}
    report = json.loads((out / "results.json").read_text())
    assert set(report["earlier_files"]) == kept
    assert (out / "a_lesions.geojson").read_bytes() == b"corrected"
    # It is still known as changed.
    segment_files([folder / "a.png"], bundle, out)
    assert (out / "a_lesions.geojson").read_bytes() == b"corrected"
    with pytest.raises(InputError, match=r"a_lesions\.geojson: has been changed since"):
        segment_files([folder / "a.png"], bundle, out, formats=("geojson",))


def test_an_image_that_fails_keeps_its_older_results_and_an_input_is_never_removed(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    segment_files([folder], bundle, out, formats=("geojson",))
    content = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(b"broken")
    assert segment_files([folder], bundle, out).exit_code == 1
    assert "a_lesions.geojson" in _names(out)
    assert "b_lesions.geojson" not in _names(out)
    (folder / "a.png").write_bytes(content)
    # An older result that is now an input.
    segment_files([folder], bundle, folder)
    report = json.loads((folder / "results.json").read_text())
    report["earlier_files"] = ["a_heat.png", "b_heat.png"]
    (folder / "results.json").write_text(json.dumps(report))
    for name in report["earlier_files"]:
        (folder / name).write_bytes(content)
    inputs = [folder / name for name in ("a.png", "a_heat.png", "b.png")]
    assert segment_files(inputs, bundle, folder).removed == ["b_heat.png"]
    assert (folder / "a_heat.png").exists()


def test_a_call_that_was_killed_can_be_made_again(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (
        pytest.raises(KeyboardInterrupt),
        at_work(out, ["a_mask.png", "a_overlay.png"], []),
    ):
        (out / "a_mask.png").write_bytes(b"of the call that was killed")
        raise KeyboardInterrupt
    assert _names(out) == {"a_mask.png", AT_WORK}
    assert segment_files([folder / "a.png"], bundle, out).exit_code == 0
    assert _names(out) == {"a_mask.png", "a_overlay.png", "results.json"}
    assert Image.open(out / "a_mask.png").size == Image.open(folder / "a.png").size


def test_a_call_that_is_stopped_before_it_wrote_anything_leaves_nothing(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt), at_work(tmp_path, ["a_mask.png"], []):
        raise KeyboardInterrupt
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_left_and_the_other_images_are_done(
    folder: Path, bundle: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    target = out / "a_overlay.png"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to("/dev/null")
    before = stat.S_IFMT(target.lstat().st_mode)
    summary = segment_files([folder], bundle, out)
    assert (summary.exit_code, [entry["file"] for entry in summary.images]) == (
        1,
        [str(folder / "b.png")],
    )
    (error,) = summary.failed
    assert str(error).startswith(
        f"{folder / 'a.png'}: has no result (a_overlay.png: is a "
    )
    assert stat.S_IFMT(target.lstat().st_mode) == before
    assert _names(out) == {
        "a_overlay.png",
        "b_mask.png",
        "b_overlay.png",
        "results.json",
    }


def test_a_name_too_long_for_its_results_does_not_stop_the_others(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    long = folder / f"{'l' * 245}.png"
    (folder / "a.png").rename(long)
    summary = segment_files([folder], bundle, tmp_path / "out")
    assert summary.exit_code == 1
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["file"] for entry in report["images"]] == [str(folder / "b.png")]
    (failed,) = report["failed"]
    assert failed["file"] == str(long)
    assert failed["problem"].endswith(
        "_overlay.png: the file name is too long for this disk)"
    )
    assert _names(tmp_path / "out") == {"b_mask.png", "b_overlay.png", "results.json"}


def test_a_report_that_cannot_be_written_loses_no_picture(
    folder: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: object) -> None:
        raise InputError(
            path, "the disk is full", "free some space or write to another disk"
        )

    monkeypatch.setattr("sonoseg.reader.segment_files.write_json", refuse)
    summary = segment_files([folder], bundle, tmp_path / "out")
    assert (summary.exit_code, summary.results, len(summary.images)) == (1, None, 2)
    monkeypatch.undo()
    assert segment_files([folder], bundle, tmp_path / "out").exit_code == 0


def test_labelme_finds_the_image_from_its_file(
    folder: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "out"
    segment_files([folder], bundle, out, formats=("labelme",))
    named = json.loads((out / "a_labelme.json").read_text())["imagePath"]
    assert (out / named).resolve() == (folder / "a.png").resolve()
    monkeypatch.chdir(folder)
    segment_files([Path("a.png")], bundle, Path(), formats=("labelme",))
    assert json.loads(Path("a_labelme.json").read_text())["imagePath"] == "a.png"
