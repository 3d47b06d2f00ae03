"""A pack gives what its folder gives, at its size; what is no pack is refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from sonoseg.cli import main
from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data import load_cases, split_cases
from sonoseg.data.check import check_folder
from sonoseg.data.load import data_name
from sonoseg.data.pack import KEY, open_pack
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms
from sonoseg.data.splits import parse_source
from sonoseg.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack") / "phantoms"
    write_phantoms(folder, 10, seed=4, size=(128, 160))
    return folder


@pytest.fixture(scope="module")
def pack(folder: Path) -> Path:
    out = folder.parent / "phantoms.safetensors"
    pack_folder(folder, 64, out, progress=False)
    return out


def about_of(pack: Path) -> dict:
    content = pack.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])


def changed(pack: Path, out: Path, tensors: dict | None = None, **about) -> Path:
    """A pack with other tensors or another `about`, otherwise like `pack`."""
    words = json.dumps(about_of(pack) | about)
    save_file({**load_file(pack), **(tensors or {})}, out, {KEY: words})
    return out


def test_its_cases_are_those_of_the_folder_at_its_size(folder, pack):
    own, packed = load_cases(folder), load_cases(pack)
    assert len(own) == len(packed) == 10
    for one, other in zip(own, packed, strict=True):
        for name in ("name", "label", "group", "spacing"):
            assert getattr(one, name) == getattr(other, name)
        image, mask = one.read()
        small, truth = other.read()
        assert small.dtype == np.uint8 and truth.dtype == np.bool_
        assert np.array_equal(small, resize_image(image, (64, 64)))
        assert np.array_equal(truth, resize_mask(mask, (64, 64)))
        assert np.array_equal(other.read_image(), small)
        assert np.array_equal(other.read_mask(), truth)
        assert other.full_shape(small.shape) == image.shape
        assert one.full_shape(image.shape) == image.shape
        assert other.has_truth == one.has_truth
    assert data_name(pack) == data_name(folder) == "phantoms"


def test_what_is_read_can_be_changed_without_harm(pack):
    case = load_cases(pack)[0]
    before = case.read_image().copy()
    case.read_image()[:] = 0
    assert np.array_equal(case.read_image(), before)


@pytest.mark.parametrize("split", ["grouped", "grouped-3", "all"])
def test_its_splits_are_those_of_the_folder(folder, pack, split):
    own, packed = (split_cases(load_cases(path), split) for path in (folder, pack))
    for subset, cases in own.items():
        assert [case.name for case in cases] == [case.name for case in packed[subset]]


def test_it_is_read_once_until_it_changes(folder, pack, tmp_path):
    assert load_cases(pack) == load_cases(pack)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(pack.read_bytes())
    before = load_cases(copy)
    pack_folder(folder, 96, copy, progress=False)
    assert load_cases(copy) != before
    assert load_cases(copy)[0].read_image().shape == (96, 96)
    assert before[0].read_image().shape == (64, 64)


def test_a_case_goes_to_another_process(pack):
    case = load_cases(pack)[3]
    content = pickle.dumps(case)
    assert len(content) < 5000
    assert np.array_equal(pickle.loads(content).read_image(), case.read_image())


def test_the_folds_of_a_data_set_go_with_it(tmp_path, write, write_mask):
    """BUS-BRA's own folds by patient lie in a table that a pack does not have."""
    names = [f"bus_{n:04d}-l" for n in range(1, 11)]
    for name in names:
        write(f"Images/{name}.png")
        write_mask(f"Masks/mask_{name.removeprefix('bus_')}.png")
    rows = [f"{name},{n},benign" for n, name in enumerate(names)]
    (tmp_path / "bus_data.csv").write_text("\n".join(["ID,Case,Pathology", *rows]))
    folds = [f"{name},{5 - n // 2}" for n, name in enumerate(names)]
    (tmp_path / "5-fold-cv.csv").write_text("\n".join(["ID,kFold", *folds]))
    out = tmp_path / "busbra.safetensors"
    pack_folder(tmp_path, 32, out, progress=False)
    for split in ("grouped-0", "grouped-4"):
        own, packed = (
            split_cases(load_cases(path), split)["test"] for path in (tmp_path, out)
        )
        assert [case.name for case in own] == [case.name for case in packed]
        assert len(own) == 2


def test_packs_join_other_data(pack):
    assert parse_source(str(pack)) == (pack, "")
    assert parse_source(f"{pack}@grouped") == (pack, "grouped")


def test_the_check_says_what_it_is_and_finds_what_it_finds_in_the_folder(folder, pack):
    report = check_folder(pack, "grouped")
    assert report.to_text().startswith(
        f"{pack}: a pack of phantoms at 64 × 64 pixels, 10 images, "
    )
    assert report.exit_code == check_folder(folder, "grouped").exit_code


def test_the_check_finds_labels_that_do_not_fit(pack, tmp_path):
    rows = about_of(pack)["cases"]
    lesion = next(number for number, row in enumerate(rows) if row["label"] != "normal")
    masks = load_file(pack)["masks"]
    rows[lesion]["label"] = "benign"
    masks[lesion] = 0
    found = check_folder(
        changed(pack, tmp_path / "a.safetensors", {"masks": masks}, cases=rows)
    ).findings
    assert [(one.kind, one.files) for one in found] == [
        ("empty mask", (rows[lesion]["name"],))
    ]
    masks[lesion] = 1
    kinds = {
        one.kind
        for one in check_folder(
            changed(pack, tmp_path / "b.safetensors", {"masks": masks})
        ).findings
    }
    assert kinds == {"large mask", "mask at every border"}
    rows[lesion]["label"] = "normal"
    found = check_folder(changed(pack, tmp_path / "c.safetensors", cases=rows)).findings
    assert [one.kind for one in found] == ["normal with lesion"]


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (
            {"images": np.zeros((10, 64, 64), np.float32)},
            "its images are float32, not uint8",
        ),
        ({"masks": np.zeros((10, 64, 64), np.int8)}, "its masks are int8, not uint8"),
        (
            {"masks": np.full((10, 64, 64), 255, np.uint8)},
            "its masks have other values than 0 and 1",
        ),
        (
            {"masks": np.zeros((9, 64, 64), np.uint8)},
            "its images and masks do not have one shape",
        ),
        (
            {"images": np.zeros(5, np.uint8)},
            "its images and masks do not have one shape",
        ),
        ({"more": np.zeros(5, np.uint8)}, "it does not hold images and masks"),
        (
            {name: np.zeros((0, 64, 64), np.uint8) for name in ("images", "masks")},
            "there are no images in it",
        ),
        (
            {name: np.zeros((10, 64, 32), np.uint8) for name in ("images", "masks")},
            "its images are 32 × 64 pixels",
        ),
        (
            {name: np.zeros((10, 50, 50), np.uint8) for name in ("images", "masks")},
            "its images are 50 × 50 pixels",
        ),
        (
            {name: np.zeros((3, 64, 64), np.uint8) for name in ("images", "masks")},
            "has 3 images but 10 rows about them",
        ),
    ],
)
def test_other_arrays_are_refused(pack, tmp_path, tensors, problem):
    with pytest.raises(InputError, match=problem):
        open_pack(changed(pack, tmp_path / "bad.safetensors", tensors))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "../a.png"), ("name", ""), ("name", 3), ("name", "a\\b.png"),
        ("label", "cancer"), ("label", ["benign"]), ("group", ""), ("group", None),
        ("spacing", 0), ("spacing", -0.1), ("spacing", "0.1"), ("spacing", True), ("spacing", float("nan")),
        ("height", 0), ("width", 2.5), ("width", 10**9), ("masked", 1), ("fold", 5), ("fold", True),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused_by_name(pack, tmp_path, column, value):
    rows = about_of(pack)["cases"]
    rows[2][column] = value
    with pytest.raises(InputError, match=f"row 3 has a wrong value of {column}"):
        open_pack(changed(pack, tmp_path / "bad.safetensors", cases=rows))


def test_rows_that_do_not_fit_are_refused(pack, tmp_path):
    rows = about_of(pack)["cases"]
    twice = [*rows[:9], rows[0] | {"name": rows[1]["name"].upper()}]
    with pytest.raises(InputError, match="has two images of the same name"):
        open_pack(changed(pack, tmp_path / "a.safetensors", cases=twice))
    with pytest.raises(InputError, match="row 1 has too few or too many values"):
        open_pack(changed(pack, tmp_path / "b.safetensors", cases=[{"name": "a.png"}]))
    with pytest.raises(InputError, match="row 1 has too few or too many values"):
        open_pack(changed(pack, tmp_path / "c.safetensors", cases=["a.png"]))


@pytest.mark.parametrize(
    ("about", "problem"),
    [
        ({"version": 2}, "is a pack of version 2, but this program reads version 1"),
        ({"source": 5}, "does not say what its images are"),
        ({"cases": {}}, "does not say what its images are"),
        ({"other": 1}, "does not say what its images are"),
    ],
)
def test_another_format_is_refused(pack, tmp_path, about, problem):
    with pytest.raises(InputError, match=problem):
        open_pack(changed(pack, tmp_path / "bad.safetensors", **about))


@pytest.mark.parametrize(
    "words", [None, {}, {KEY: "not JSON"}, {KEY: "[1]"}, {KEY: "[" * 100_000}]
)
def test_a_file_that_does_not_say_what_it_holds_is_refused(pack, tmp_path, words):
    file = tmp_path / "bad.safetensors"
    file.write_bytes(save(load_file(pack), words))
    with pytest.raises(InputError, match="does not say what its images are"):
        open_pack(file)


def test_damaged_files_are_refused_in_one_line(pack, tmp_path, capsys):
    content = pack.read_bytes()
    pieces = [
        content[:4],
        content[:100],
        content[:-1],
        content + b"x",
        b"\xff" * 64,
        b"\x80\x04K\x01.",
        b"",
    ]
    for number, piece in enumerate(pieces):
        file = tmp_path / f"{number}.safetensors"
        file.write_bytes(piece)
        assert main(["data", "check", str(file)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert file.name in lines[0]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--size", "50"], "--size 50: is not a multiple of 32 from 32 to 1024"),
        (["--size", "2048"], "--size 2048: is not a multiple of 32"),
        (["--size", "0"], "--size 0: is not a multiple of 32"),
        (["--out", "pack.npz"], "a pack's name ends in .safetensors"),
    ],
)
def test_what_cannot_be_packed_is_refused(
    folder, tmp_path, monkeypatch, capsys, words, problem
):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "pack", str(folder), *words]) == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_pack_is_not_packed_again(pack, tmp_path):
    with pytest.raises(
        InputError, match="is a pack already; give the folder that it was made from"
    ):
        pack_folder(pack, 64, tmp_path / "again.safetensors", progress=False)


def test_the_command_says_what_it_wrote(folder, tmp_path, capsys):
    out = tmp_path / "new" / "p.safetensors"
    assert main(["data", "pack", str(folder), "--size", "32", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 10 images of 32 × 32 pixels, 0 MB\n"
    assert open_pack(out).size == 32
