"""Files and folders become masks, overlays and one results.json; a bad file does not stop the others."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sonoseg
from sonoseg.core.resize import enlarge
from sonoseg.data.phantom import make_phantom
from sonoseg.errors import InputError
from sonoseg.reader import segment_files as module
from sonoseg.reader.answers import Answers
from sonoseg.reader.bundle import Bundle
from sonoseg.reader.jobs import PictureJob
from sonoseg.reader.segment_files import segment_files
from sonoseg.reader.segmenter import Segmenter, load
from sonoseg.segment_command import segment_command

Scan = NDArray[np.uint8]


@pytest.fixture
def scans(tmp_path: Path, scan: Scan) -> Path:
    """A folder of three scans of different size and kind."""
    folder = tmp_path / "scans"
    folder.mkdir()
    Image.fromarray(scan).save(folder / "a.png")
    Image.fromarray(scan[:, :300]).convert("RGB").save(folder / "b.jpg", quality=95)
    Image.fromarray(scan[::2, ::2]).save(folder / "c.tif")
    return folder


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_image_has_mask_and_overlay_and_all_one_report(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    out = tmp_path / "new" / "out"
    summary = segment_files([scans], bundle, out, spacing=0.1)
    pictures = {f"{stem}_{kind}.png" for stem in "abc" for kind in ("mask", "overlay")}
    assert _names(out) == pictures | {"results.json"}
    assert (summary.exit_code, summary.failed, summary.results) == (
        0,
        [],
        out / "results.json",
    )
    for path in scans.iterdir():
        mask = Image.open(out / f"{path.stem}_mask.png")
        assert (mask.mode, mask.size) == ("L", Image.open(path).size)
        assert set(np.unique(mask)) == {0, 255}
        np.testing.assert_array_equal(
            np.asarray(mask) > 0, load(bundle).segment(path).mask
        )
        assert Image.open(out / f"{path.stem}_overlay.png").mode == "RGB"


def test_the_report_names_version_model_units_and_lesions(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    summary = segment_files([scans / "a.png"], bundle, tmp_path / "out", spacing=0.1)
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["sonoseg"] == sonoseg.__version__
    assert "not a medical device" in report["notice"]
    assert report["model"] == {
        "name": "dark-blobs",
        "version": "1.0",
        "sha256": load(bundle).sha256,
        "sensitivity": None,
    }
    (entry,) = report["images"]
    assert summary.images == report["images"]
    assert (entry["file"], entry["mask"], entry["overlay"]) == (
        str(scans / "a.png"),
        "a_mask.png",
        "a_overlay.png",
    )
    assert (entry["width"], entry["height"], entry["unit"]) == (420, 300, "mm")
    assert [lesion["longest_diameter"] for lesion in entry["lesions"]] == pytest.approx(
        [14.1, 5.1], rel=0.15
    )
    assert report["failed"] == []


def test_one_bad_file_among_many_is_told_and_the_others_are_done(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    content = (scans / "a.png").read_bytes()
    (scans / "broken.png").write_bytes(content[: len(content) // 2])
    seen: list[tuple[int, int, int]] = []
    summary = segment_files(
        [scans], bundle, tmp_path / "out", progress=lambda *count: seen.append(count)
    )
    assert summary.exit_code == 1
    assert len(summary.images) == 3
    (error,) = summary.failed
    assert error.subject == str(scans / "broken.png")
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["failed"] == [
        {"file": error.subject, "problem": error.problem, "hint": error.hint}
    ]
    assert not any("broken" in name for name in _names(tmp_path / "out"))
    assert seen == [(1, 4, 0), (2, 4, 0), (3, 4, 0), (4, 4, 0)]


def test_a_folder_may_mix_images_and_clips(
    scans: Path,
    tmp_path: Path,
    bundle: Path,
    make_clip: Callable[..., Path],
    loop: list[Scan],
) -> None:
    make_clip(scans / "b-loop.mp4", loop)
    (scans / "no-loop.avi").write_text("no video")
    seen: list[tuple[int, int, int]] = []
    summary = segment_files(
        [scans], bundle, tmp_path / "out", progress=lambda *count: seen.append(count)
    )
    assert summary.exit_code == 1
    pictures = {f"{stem}_{kind}.png" for stem in "abc" for kind in ("mask", "overlay")}
    assert _names(tmp_path / "out") == pictures | {
        "b-loop_overlay.mp4",
        "b-loop_frames.csv",
        "results.json",
    }
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["file"] for entry in report["images"]] == [
        str(scans / name) for name in ("a.png", "b.jpg", "c.tif")
    ]
    assert [entry["file"] for entry in report["clips"]] == [str(scans / "b-loop.mp4")]
    assert [entry["file"] for entry in report["failed"]] == [str(scans / "no-loop.avi")]
    assert seen == [
        (1, 5, 0),
        *((1, 5, frame) for frame in range(1, 13)),
        (2, 5, 0),
        (3, 5, 0),
        (4, 5, 0),
        (5, 5, 0),
    ]


def test_the_command_says_what_rate_a_clip_held(
    tmp_path: Path,
    bundle: Path,
    make_clip: Callable[..., Path],
    loop: list[Scan],
) -> None:
    make_clip(tmp_path / "loop.mp4", loop)
    make_clip(tmp_path / "none.mp4", loop[-1:] * 3, rate=30)
    text, code = segment_command([tmp_path], bundle, tmp_path / "out", spacing="0.1")
    assert code == 0
    first, second, last = text.splitlines()
    held = r"segmented at [\d.]+ a second; "
    assert re.search(
        r"loop\.mp4: 12 frames of 25 a second, "
        + held
        + "a lesion in 10, the largest in frame 1?\\d: ",
        first,
    )
    assert re.search(r"1 lesion, 1\d\.\d x \d\.\d mm$", first)
    assert re.search(
        r"none\.mp4: 3 frames of 30 a second, " + held + "no lesion found$", second
    )
    assert last.endswith(f"are in {tmp_path / 'out'}")


def test_the_command_takes_a_spacing_for_rows_and_columns(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    text, _ = segment_command(
        [scans / "a.png"], bundle, tmp_path / "out", spacing="0.2,0.1"
    )
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    assert entry["spacing"] == {
        "mm_per_pixel": [0.2, 0.1],
        "source": "given by the user",
    }
    # The ellipse of 141 × 81 pixels is higher than wide in mm.
    largest = entry["lesions"][0]
    lengths = largest["longest_diameter"], largest["perpendicular_diameter"]
    assert lengths == pytest.approx((16.2, 14.1), rel=0.1)
    assert f"{lengths[0]:.1f} x {lengths[1]:.1f} mm" in text


def test_a_clip_without_pyav_is_told_before_work_starts(
    scans: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scans / "loop.mp4").write_bytes(b"never read")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"loop\.mp4: .*pip install '\.\[video\]'"):
        segment_files([scans], bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_is_never_overwritten_and_its_own_results_are_passed_over(
    tmp_path: Path, bundle: Path, make_clip: Callable[..., Path], loop: list[Scan]
) -> None:
    make_clip(tmp_path / "loop.mp4", loop[:3])
    make_clip(tmp_path / "loop_overlay.mp4", loop[:3])
    with pytest.raises(
        InputError, match=r"loop_overlay\.mp4: is an input, and would be overwritten"
    ):
        segment_files(
            [tmp_path / "loop.mp4", tmp_path / "loop_overlay.mp4"], bundle, tmp_path
        )
    with pytest.raises(
        InputError, match=r"loop_overlay\.mp4: is there already, and no results\.json"
    ):
        segment_files([tmp_path], bundle, tmp_path)
    (tmp_path / "loop_overlay.mp4").unlink()
    for _ in range(2):
        (entry,) = segment_files([tmp_path], bundle, tmp_path).clips
        assert entry["file"] == str(tmp_path / "loop.mp4")


def test_the_command_returns_a_line_for_each_image_and_logs_what_failed(
    scans: Path,
    tmp_path: Path,
    bundle: Path,
    scan: Scan,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (scans / "broken.png").write_bytes(b"text")
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(scans / "white.png")
    Image.fromarray(scan[:180]).save(scans / "one.png")
    text, code = segment_command([scans], bundle, tmp_path / "out", spacing="0.1")
    assert code == 1
    lines = text.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(f"{scans / 'a.png'}: 2 lesions, the largest 13.")
    assert lines[3].startswith(f"{scans / 'one.png'}: 1 lesion, 13.")
    assert lines[3].endswith(" mm")
    assert lines[4] == f"{scans / 'white.png'}: no lesion found"
    assert lines[5] == f"masks, overlays and results.json are in {tmp_path / 'out'}"
    (failed,) = caplog.messages
    assert failed.startswith(f"sonoseg: {scans / 'broken.png'}: not a picture")
    assert segment_command([scans / "broken.png"], bundle, tmp_path / "none") == ("", 2)


@pytest.mark.parametrize("existing", [False, True])
def test_when_all_files_are_bad_nothing_is_written(
    tmp_path: Path, bundle: Path, existing: bool
) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"text")
    out = tmp_path / "deep" / "out"
    if existing:
        out.mkdir(parents=True)
    summary = segment_files([tmp_path / "a.png", tmp_path / "b.jpg"], bundle, out)
    assert summary.exit_code == 2
    assert len(summary.failed) == 2
    assert summary.results is None
    assert (list(out.iterdir()) == []) if existing else not out.parent.exists()


@pytest.mark.parametrize("problem", ["path", "model", "spacing", "out", "empty"])
def test_inputs_are_checked_before_work_starts(
    scans: Path,
    tmp_path: Path,
    bundle: Path,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Segmenter, "segment", lambda *_: pytest.fail("work has started")
    )
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    paths = {
        "path": [scans, tmp_path / "gone.png"],
        "empty": [scans, tmp_path / "empty"],
    }.get(problem, [scans])
    out = tmp_path / "file" if problem == "out" else tmp_path / "out"
    model = tmp_path / "file" if problem == "model" else bundle
    with pytest.raises(InputError):
        segment_files(paths, model, out, spacing=-1 if problem == "spacing" else None)
    assert not (tmp_path / "out").exists()


def test_an_input_is_never_overwritten(scans: Path, bundle: Path, scan: Scan) -> None:
    Image.fromarray(scan).save(scans / "a_mask.png")
    with pytest.raises(
        InputError, match=r"a_mask\.png: is an input, and would be overwritten"
    ):
        segment_files([scans / "a.png", scans / "a_mask.png"], bundle, scans)


def test_the_same_folder_can_be_input_and_output_again_and_again(
    scans: Path, bundle: Path
) -> None:
    reports = [segment_files([scans], bundle, scans).images for _ in range(2)]
    assert reports[0] == reports[1]
    assert len(reports[0]) == 3


def test_an_image_that_cannot_be_written_is_told_and_the_others_are_done(
    scans: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    save, count = Image.Image.save, iter(range(99))

    def failing(self: Image.Image, path: Path, **options: Any) -> None:
        if next(count) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", failing)
    summary = segment_files([scans], bundle, tmp_path / "out")
    pictures = {"a_mask.png", "a_overlay.png", "c_mask.png", "c_overlay.png"}
    assert _names(tmp_path / "out") == {*pictures, "results.json"}
    assert summary.exit_code == 1
    (failed,) = json.loads((tmp_path / "out" / "results.json").read_text())["failed"]
    problem = "has no result (b_overlay.png: the disk is full)"
    assert failed == {
        "file": str(scans / "b.jpg"),
        "problem": problem,
        "hint": "free some space or write to another disk",
    }


def test_too_little_memory_for_one_image_does_not_stop_the_others(
    scans: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segmenter.segment

    def failing(self: Segmenter, image: Path, *options: Any) -> Any:
        if image.stem == "b":
            raise MemoryError
        return segment(self, image, *options)

    monkeypatch.setattr(Segmenter, "segment", failing)
    summary = segment_files([scans], bundle, tmp_path / "out")
    assert summary.exit_code == 1
    assert "not enough memory" in str(summary.failed[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_permission_is_told(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="no permission to write here"):
        segment_files([scans], bundle, tmp_path / "locked" / "out")


def test_memory_stays_flat_over_many_images(
    tmp_path: Path, bundle: Path, scan: Scan
) -> None:
    import tracemalloc

    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        for index in range(count):
            Image.fromarray(scan).save(folder / f"{index}.png", compress_level=0)
        tracemalloc.start()
        segment_files([folder], bundle, folder)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    peak(1)
    assert peak(12) < 1.2 * peak(2)


def test_real_scans_are_segmented_and_drawn(
    real_data: Path,
    tmp_path: Path,
    bundle: Path,
    card: dict[str, Any],
    unsealed: Callable[..., bytes],
) -> None:
    folder = real_data / "busi_original_sample" / "malignant"
    summary = segment_files([folder], bundle, tmp_path)
    assert summary.exit_code == 0
    assert len(summary.images) == len(
        [p for p in folder.glob("*.png") if "_mask" not in p.name]
    )
    assert module.NOTICE in (tmp_path / "results.json").read_text()


def test_a_bundle_that_cannot_explain_is_refused_before_anything_is_written(
    scans: Path, tmp_path: Path, bundle: Path
) -> None:
    with pytest.raises(InputError, match="contains no Grad-CAM"):
        segment_files([scans], bundle, tmp_path / "out", explain=True)
    assert not (tmp_path / "out").exists()


def test_the_shipped_network_draws_where_it_looked(tmp_path: Path) -> None:
    Image.fromarray(make_phantom(0)[0]).save(tmp_path / "a.png")
    _, code = segment_command([tmp_path / "a.png"], out=tmp_path / "out", explain=True)
    assert code == 0
    assert _names(tmp_path / "out") == {
        "a_mask.png",
        "a_overlay.png",
        "a_heat.png",
        "results.json",
    }
    overlay, heat = (
        Image.open(tmp_path / "out" / f"a_{kind}.png") for kind in ("overlay", "heat")
    )
    assert heat.size == overlay.size
    looked = sonoseg.load().explain(tmp_path / "a.png")
    looked = enlarge(
        looked, (heat.width * len(looked) // looked.shape[1], heat.width)
    )  # as small pictures are drawn
    colour = np.ptp(np.asarray(heat.convert("RGB"), int)[: len(looked)], 2)
    assert (
        colour[looked > 0.5] > 30
    ).mean() > 0.99  # all but where the outline crosses it
    assert np.median(colour[looked < 0.01]) == 0
    (entry,) = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    assert entry["heat"] == "a_heat.png"


def test_the_command_says_that_heat_knows_no_operating_point(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(make_phantom(0)[0]).save(tmp_path / "a.png")
    for explain, sensitivity in ((True, None), (False, "specific"), (True, "specific")):
        segment_command(
            [tmp_path / "a.png"],
            out=tmp_path / "out",
            explain=explain,
            sensitivity=sensitivity,
        )
        said = ["without operating point" in message for message in caplog.messages]
        assert said == [True] * bool(explain and sensitivity)


def test_the_command_runs_the_network_once_for_each_image_it_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, whole = [], Bundle.run

    def counted(
        self: Bundle, batch: NDArray[np.float32], explain: bool, shift: float
    ) -> Answers:
        runs.append(explain)
        return whole(self, batch, explain, shift)

    for number in range(2):
        Image.fromarray(make_phantom(number)[0]).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(Bundle, "run", counted)
    segment_files([tmp_path], "default", tmp_path / "out", explain=True)
    assert runs == [True, True]


def test_a_network_that_fails_on_some_files_is_told_with_each_and_the_others_are_done(
    scans: Path,
    tmp_path: Path,
    bundle: Path,
    make_clip: Callable[..., Path],
    loop: list[Scan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_clip(scans / "d.mp4", loop[:3])
    whole, runs = Bundle.run, []

    def failing(
        self: Bundle, batch: NDArray[np.float32], explain: bool, shift: float
    ) -> Answers:
        runs.append(explain)
        if len(runs) in (2, 5):  # the second image, the second frame
            raise InputError(bundle, "its network cannot be run", "take another")
        return whole(self, batch, explain, shift)

    monkeypatch.setattr(Bundle, "run", failing)
    summary = segment_files([scans], bundle, tmp_path / "out")
    assert [str(error) for error in summary.failed] == [
        f"{scans / name}: has no result (dark-blobs.onnx: its network cannot be run); take another"
        for name in ("b.jpg", "d.mp4")
    ]
    assert [Path(entry["file"]).name for entry in summary.images] == ["a.png", "c.tif"]
    names = {f"{stem}_{kind}.png" for stem in "ac" for kind in ("mask", "overlay")}
    assert _names(tmp_path / "out") == names | {"results.json"}


def test_a_second_call_that_is_stopped_leaves_no_list_of_other_pictures(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    segment_files([scans], "default", out)
    write, written = PictureJob.write, []

    def stop_at_the_second(job: PictureJob, *arguments: Any) -> dict[str, Any]:
        if written:
            raise KeyboardInterrupt
        written.append(job.path)
        return write(job, *arguments)

    with monkeypatch.context() as stopping:
        stopping.setattr(PictureJob, "write", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            segment_files([scans], "default", out, spacing=0.1)
    assert not (out / "results.json").exists()
    again = segment_files([scans], "default", out, spacing=0.1)
    assert len(again.images) == 3
    assert {
        entry["unit"]
        for entry in json.loads((out / "results.json").read_text())["images"]
    } == {"mm"}
