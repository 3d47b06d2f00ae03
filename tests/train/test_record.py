"""Images are known by their pixels, whatever their names and formats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.data import load_cases
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms
from sonoseg.errors import InputError
from sonoseg.train.dataset import record_of
from sonoseg.train.differences import differences
from sonoseg.train.record import IMAGES, Record, Seen, pixel_hash, union


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_phantoms(tmp_path / "data", 6, size=(128, 160))
    return tmp_path / "data"


def look(data: Path) -> Record:
    cases = load_cases(data)
    return record_of(cases[:4], cases[4:], 64)


def test_a_record_is_read_back_as_it_was_written(data: Path, tmp_path: Path) -> None:
    record = replace(look(data), earlier=(Seen("default", "unknown", 0, "", ""),))
    record.write(tmp_path)
    assert Record.read(tmp_path) == record
    assert not record.complete and look(data).complete
    assert Record.read(data) is None


HEADER = "run,file,subset,size,image,mask\n"
A, B = "a" * 32, "b" * 32
DAMAGED = {
    "empty": "",
    "another table": "a,b\n1,2\n",
    "null characters": "\0",
    "no column of hashes": f"run,file,subset,size,image\nown,x,train,32,{A}\n",
    "a size in words": f"{HEADER}own,x,train,big,{A},{B}\n",
    "a size of nothing": f"{HEADER}own,x,train,0,{A},{B}\n",
    "a size below nothing": f"{HEADER}own,x,train,-32,{A},{B}\n",
    "a size beyond memory": f"{HEADER}own,x,train,1000000000,{A},{B}\n",
    "a subset in capitals": f"{HEADER}own,x,TRAIN,32,{A},{B}\n",
    "no subset of a run": f"{HEADER}own,x,test,32,{A},{B}\n",
    "a hash that is cut short": f"{HEADER}own,x,train,32,{A[1:]},{B}\n",
    "a run of no kind": f"{HEADER}mine,x,train,32,{A},{B}\n",
    "unknown with a hash": f"{HEADER}earlier,x,unknown,0,{A},\n",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / IMAGES).write_text(text)
    with pytest.raises(
        InputError, match="is not a list of images that can be read; delete it"
    ):
        Record.read(tmp_path)


def test_a_record_that_was_changed_by_hand_is_refused(
    data: Path, tmp_path: Path
) -> None:
    record = look(data)
    record.write(tmp_path)
    assert Record.read_of(tmp_path, record.digest) == record
    whole = (tmp_path / IMAGES).read_text().splitlines(keepends=True)
    changed = [whole[:1], whole[:3] + whole[4:], whole + whole[1:2]]
    changed.append(
        [
            line.replace("own,", "earlier,").replace(",train,", ",validation,")
            for line in whole
        ]
    )
    for lines in changed:
        (tmp_path / IMAGES).write_text("".join(lines))
        with pytest.raises(
            InputError, match="is not the list of images that the run was trained with"
        ):
            Record.read_of(tmp_path, record.digest)
    (tmp_path / IMAGES).unlink()
    assert Record.read_of(tmp_path, record.digest) is None


@pytest.mark.parametrize(
    "name",
    [" blanks .png", "=1+1.png", "'quoted.png", "line\nend.png", "escape\x1b[2J.png"],
)
def test_a_record_has_the_same_digest_when_read_back_whatever_the_names(
    data: Path, tmp_path: Path, name: str
) -> None:
    first, *rest = load_cases(data)
    record = record_of([replace(first, name=name)], rest, 64)
    record.write(tmp_path)
    assert Record.read_of(tmp_path, record.digest) == record


def test_what_was_trained_on_is_not_held_out(data: Path) -> None:
    record, cases = look(data), load_cases(data)
    assert [record.is_held_out(case.read_image()) for case in cases] == [False] * 4 + [
        True
    ] * 2
    assert record.is_held_out(cases[0].read_image()[::-1].copy())
    both = Record((*record.own, replace(record.own[0], subset="validation")))
    assert both.is_held_out(
        cases[0].read_image()
    )  # a copy across the split, as published splits have


def test_pixels_decide_not_names_formats_or_dates(data: Path) -> None:
    before = look(data)
    file = next((data / "images").iterdir())
    with Image.open(file) as image:
        image.load()
        image.save(file, compress_level=0)  # the same pixels in another file
    assert look(data).digest == before.digest
    with Image.open(file) as image:
        pixels = np.array(image)
    Image.fromarray(255 - pixels).save(file)
    assert look(data).digest != before.digest
    assert look(data).changes(before) == f"1 changed image ({file.name})"


def test_what_changed_is_named(data: Path) -> None:
    before = look(data)
    for mask in sorted((data / "masks").iterdir())[:2]:
        with Image.open(mask) as picture:
            pixels = np.array(picture)
        Image.fromarray(np.roll(pixels, 30, 1)).save(mask)
    assert look(data).changes(before) == "2 changed masks (synthetic_00.png, …)"
    cases = load_cases(data)
    fewer = record_of(cases[1:4], cases[4:], 64)
    assert (
        fewer.changes(before)
        == "1 changed mask (synthetic_01.png), 1 missing image (synthetic_00.png)"
    )
    assert before.changes(fewer).endswith("1 new image (synthetic_00.png)")
    assert fewer.changes(None) == "other images or masks"
    assert (
        record_of(cases[3::-1], cases[4:], 64).changes(look(data))
        == "another order of its images"
    )


def test_an_image_is_recognised_under_any_name(data: Path) -> None:
    record, cases = look(data), load_cases(data)
    found = [record.subset_of(case.read_image()) for case in cases]
    assert found == ["train"] * 4 + ["validation"] * 2
    assert record.subset_of(cases[0].read_image()[::-1].copy()) is None
    later = Record((), union([record]))
    assert later.subset_of(cases[0].read_image()) == "train"
    both = Record((replace(record.own[0], subset="validation"),), record.own[:1])
    assert both.subset_of(cases[0].read_image()) == "train"


def test_images_that_were_seen_at_another_size_than_that_of_a_pack_are_not_recognised(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = replace(look(data), earlier=(Seen("default", "unknown", 0, "", ""),))
    record.warn_of_pack(load_cases(data))
    for size in (64, 96):
        pack_folder(data, size, tmp_path / f"{size}.safetensors", progress=False)
    packed = load_cases(tmp_path / "64.safetensors")
    record.warn_of_pack(packed)
    assert record.subset_of(packed[0].read_image()) == "train"
    assert not caplog.records
    larger = load_cases(tmp_path / "96.safetensors")
    record.warn_of_pack(larger)
    assert record.subset_of(larger[0].read_image()) is None
    assert "trained on at 64 pixels are not recognised in a pack" in caplog.text


def test_the_size_is_part_of_the_hash() -> None:
    zeros = np.zeros((4, 6), np.uint8)
    assert pixel_hash(zeros) != pixel_hash(zeros.T) and len(pixel_hash(zeros)) == 32


def test_only_what_differs_is_named() -> None:
    there = {
        "seed": 0,
        "recipe": {"epochs": 30, "batch": 8},
        "widths": [1, 2],
        "lineage": [{"a": "x" * 99}],
        "on": "",
    }
    asked = {
        "seed": 0,
        "recipe": {"epochs": 31, "batch": 8},
        "widths": [1, 3],
        "lineage": [{"a": "x" * 98}],
        "on": 1,
    }
    assert differences(there, asked) == [
        "epochs (30 there, 31 asked for)",
        "widths (1 2 there, 1 3 asked for)",
        "lineage",
        "on (none there, 1 asked for)",
    ]
    assert differences(there, there) == []
    assert differences({}, {"seed": 1}) == ["seed (none there, 1 asked for)"]
