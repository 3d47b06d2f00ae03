"""The named splits: what they hold, and that nothing leaks through them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from sonoseg.data import SPLITS, Case, load_cases, split_cases
from sonoseg.data.busi import busi_files, busi_images
from sonoseg.data.case import NO_PATIENT
from sonoseg.data.splits import count_leaked, leaked, parse_source, stratified_folds
from sonoseg.errors import InputError


def _busi() -> list[Case]:
    """BUSI's 780 cases without files behind them."""
    return [
        Case(file.name, Path(file.path), (), file.path.split("/")[0], file.group)
        for file in busi_images().values()
    ]


def _cases(labels: list[str], groups: list[str]) -> list[Case]:
    return [
        Case(f"c{i}.png", Path(f"c{i}.png"), (), label, group)
        for i, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


def _sizes(cases: list[Case], split: str) -> list[int]:
    return [len(subset) for subset in split_cases(cases, split).values()]


def test_paper_split_is_the_one_scikit_learn_makes() -> None:
    paths = sorted(file.path for file in busi_files() if "_mask" not in file.path)
    rest, test = train_test_split(paths, test_size=78, random_state=42)
    train, validation = train_test_split(rest, test_size=78, random_state=42)
    subsets = split_cases(_busi(), "paper")
    for subset, expected in (
        ("train", train),
        ("validation", validation),
        ("test", test),
    ):
        assert [str(case.image) for case in subsets[subset]] == sorted(expected)
    assert Counter(case.label for case in subsets["test"]) == {
        "benign": 39,
        "malignant": 23,
        "normal": 16,
    }


def test_subset_sizes_of_every_named_split() -> None:
    cases = _busi()
    assert _sizes(cases, "all") == [0, 0, 780]
    assert _sizes(cases, "paper") == [624, 78, 78]
    assert _sizes(cases, "paper-clean") == [552, 70, 78]
    assert _sizes(cases, "grouped") == _sizes(cases, "grouped-0") == [467, 156, 157]
    assert [_sizes(cases, f"grouped-{fold}")[2] for fold in range(5)] == [
        157,
        156,
        157,
        155,
        155,
    ]


def test_paper_clean_leaves_the_test_images_and_only_takes_images_away() -> None:
    paper, clean = (split_cases(_busi(), name) for name in ("paper", "paper-clean"))
    assert clean["test"] == paper["test"]
    assert set(clean["validation"]) < set(paper["validation"])
    assert set(clean["train"]) < set(paper["train"])
    held = {case.group for case in paper["validation"] + paper["test"]}
    assert set(paper["train"]) - set(clean["train"]) == {
        c for c in paper["train"] if c.group in held
    }


@pytest.mark.parametrize(
    "name", ["paper-clean", *(f"grouped-{fold}" for fold in range(5))]
)
def test_groups_never_part_in(name: str) -> None:
    subset_of: dict[str, set[str]] = {}
    for subset, cases in split_cases(_busi(), name).items():
        for case in cases:
            subset_of.setdefault(case.group, set()).add(subset)
    assert all(len(subsets) == 1 for subsets in subset_of.values())


def test_paper_split_does_part_them() -> None:
    paper = split_cases(_busi(), "paper")
    known = {case.group for case in paper["train"] + paper["validation"]}
    assert leaked(paper, "test") == {
        case.name for case in paper["test"] if case.group in known
    }
    assert len(leaked(paper, "test")) == 35
    assert not leaked(split_cases(_busi(), "paper-clean"), "test")


def test_leaked_images_are_those_with_a_relative_elsewhere() -> None:
    train, test, other, copy = _cases(["benign"] * 4, ["a", "b", "c", "b"])
    subsets = {"train": [train], "validation": [], "test": [test, other]}
    assert leaked(subsets, "test") == set()
    assert leaked({**subsets, "train": [train, copy]}, "test") == {test.name}
    assert leaked({**subsets, "validation": [copy]}, "test") == {test.name}
    assert leaked({**subsets, "train": [copy]}, "train") == {copy.name}
    assert leaked({**subsets, "test": [test, copy]}, "test") == set()


def test_how_many_are_leaked_is_not_known_if_a_patient_is_missing() -> None:
    known = _cases(["benign"] * 4, ["a", "a", "b", "c"])
    lost = _cases(["benign"] * 4, ["a", "a", "b", f"{NO_PATIENT}c3.png"])
    for cases, found in ((known, 1), (lost, None)):
        subsets = {"train": cases[1:3], "validation": [], "test": [cases[0], cases[3]]}
        assert count_leaked(cases, subsets, "test", "split.csv") == found
        assert count_leaked(cases, {**subsets, "test": cases[:1]}, "test", "b.csv") == 1
    whole = {"train": [], "validation": [], "test": lost}
    assert count_leaked(lost, whole, "test", "all") == 0


def test_paper_clean_and_grouped_have_no_near_copy_across_subsets_in_the_real_images(
    busi_copies,
) -> None:
    cases, pairs = busi_copies
    leaks = {}
    for name in ("paper", "paper-clean", "grouped-2"):
        subset_of = {
            case.name: subset
            for subset, some in split_cases(cases, name).items()
            for case in some
        }
        found = [[subset_of.get(cases[i].name) for i in pair] for pair in pairs]
        leaks[name] = sum(
            None not in subsets and len(set(subsets)) > 1 for subsets in found
        )
    assert leaks["paper"] > 0
    assert leaks["paper-clean"] == leaks["grouped-2"] == 0


def test_grouped_tests_every_image_once_and_is_stratified() -> None:
    cases = _busi()
    tested = [
        case
        for fold in range(5)
        for case in split_cases(cases, f"grouped-{fold}")["test"]
    ]
    assert sorted(case.name for case in tested) == sorted(case.name for case in cases)
    for fold in range(5):
        counts = Counter(
            case.label for case in split_cases(cases, f"grouped-{fold}")["test"]
        )
        assert counts["benign"] in (87, 88)
        assert counts["malignant"] == 42
        assert counts["normal"] in (26, 27)


def test_validation_fold_of_grouped_is_the_next_test_fold() -> None:
    cases = _busi()
    for fold in range(5):
        following = split_cases(cases, f"grouped-{(fold + 1) % 5}")
        assert split_cases(cases, f"grouped-{fold}")["validation"] == following["test"]


def test_part_of_busi_keeps_the_folds_of_the_whole(real_data: Path) -> None:
    part = load_cases(real_data / "busi_original_sample")
    whole = split_cases(_busi(), "grouped")
    subsets = split_cases(part, "grouped")
    assert [len(subset) for subset in subsets.values()] == [5, 3, 5]
    for subset in whole:
        assert {case.name for case in subsets[subset]} <= {
            case.name for case in whole[subset]
        }
    assert len(split_cases(part, "all")["test"]) == 13
    with pytest.raises(
        InputError,
        match=r"split paper: 767 of its 780 images are not in the data set, first",
    ):
        split_cases(part, "paper")


def test_folds_of_other_data_are_even_stratified_and_deterministic() -> None:
    rng = np.random.default_rng(0)
    patients = [f"p{patient}" for patient in rng.integers(0, 120, 400)]
    malignant = {f"p{patient}" for patient in range(30)}
    labels = ["malignant" if patient in malignant else "benign" for patient in patients]
    folds = stratified_folds(labels, patients)
    assert folds == stratified_folds(labels, patients)
    assert all(
        len({f for f, p in zip(folds, patients, strict=True) if p == q}) == 1
        for q in set(patients)
    )
    for label in ("malignant", "benign"):
        counts = Counter(
            fold for fold, other in zip(folds, labels, strict=True) if other == label
        )
        assert max(counts.values()) - min(counts.values()) <= 4
    order = rng.permutation(400)
    shuffled = stratified_folds(
        [labels[i] for i in order], [patients[i] for i in order]
    )
    assert shuffled == [folds[i] for i in order]


def test_busis_folds_are_what_the_same_rule_gives() -> None:
    cases = _busi()
    expected = stratified_folds(
        [case.label for case in cases], [case.group for case in cases]
    )
    assert [file.fold for file in busi_images().values()] == expected


@pytest.mark.parametrize("split", ["paper", "paper-clean", "grouped"])
def test_busi_saved_in_another_format_has_its_own_splits(split: str) -> None:
    busi = _busi()
    saved = [replace(case, name=f"{Path(case.name).stem}.jpg") for case in busi]
    subsets = split_cases(saved, split)
    for subset, cases in split_cases(busi, split).items():
        assert [case.image for case in subsets[subset]] == [c.image for c in cases]


def test_own_patients_are_not_divided_where_images_have_names_of_busi() -> None:
    cases = []
    for number, case in enumerate(_busi()[:60]):
        cases.append(replace(case, group=f"patient {number // 3}"))
    for fold in range(5):
        subsets = split_cases(cases, f"grouped-{fold}")
        assert not leaked(subsets, "test")
        assert [len(subset) for subset in subsets.values()] == [36, 12, 12]


def test_grouped_of_other_data_fills_every_subset_or_refuses() -> None:
    enough = _cases(["unknown"] * 5, list("abcde"))
    for fold in range(5):
        assert _sizes(enough, f"grouped-{fold}") == [3, 1, 1]
    with pytest.raises(
        InputError,
        match=r"needs at least 5 groups of images, but there are only 4; use a CSV file: file,subset \(to test only",
    ):
        split_cases(_cases(["unknown"] * 8, list("aabbccdd")), "grouped")


@pytest.mark.parametrize("name", ["paper", "paper-clean"])
def test_busis_splits_do_not_fit_other_data(name: str) -> None:
    with pytest.raises(
        InputError,
        match=f"{name}: this split is only for BUSI, and these images are not from BUSI; use grouped or a CSV",
    ):
        split_cases(_cases(["benign"] * 6, list("abcdef")), name)
    with pytest.raises(InputError, match="not from BUSI; use a CSV file"):
        split_cases(_cases(["benign"] * 4, list("abcd")), name)


def test_the_hint_for_a_part_of_busi_names_no_split_that_refuses_it() -> None:
    with pytest.raises(InputError, match="complete the data set, or use a CSV file"):
        split_cases(_busi()[:4], "paper")


@pytest.mark.parametrize("name", ["", "Paper", "grouped-5", "paper_clean", "0"])
def test_unknown_split_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        InputError, match="there is no such split; use all, paper, paper-clean, grouped"
    ):
        split_cases(_busi(), name)


def test_split_names_are_all_usable() -> None:
    assert len(SPLITS) == 9
    for name in SPLITS:
        assert list(split_cases(_busi(), name)) == ["train", "validation", "test"]


@pytest.mark.parametrize("ending", ["csv", "CSV"])
def test_split_from_a_csv_leaves_out_what_it_does_not_name(
    tmp_path: Path, ending: str
) -> None:
    cases = _cases(["benign"] * 4, list("abcd"))
    path = tmp_path / f"mine.{ending}"
    path.write_text("file,subset,note\nc2.png,train,x\nc0.png,test,\n")
    subsets = split_cases(cases, str(path))
    assert (subsets["train"], subsets["validation"], subsets["test"]) == (
        [cases[2]],
        [],
        [cases[0]],
    )


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_split_csv_may_store_accents_in_another_way_than_the_files(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], in_table: Literal["NFC", "NFD"]
) -> None:
    name = unicodedata.normalize(on_disk, "Müller.png")
    cases = [Case(name, Path(name), (), "benign", "a")]
    path = tmp_path / "mine.csv"
    row = unicodedata.normalize(in_table, "Müller.png,test\n")
    path.write_text("file,subset\n" + row, encoding="utf-8")
    assert split_cases(cases, str(path))["test"] == cases
    path.write_text(f"file,subset\n{name},test\n{row}", encoding="utf-8")
    with pytest.raises(InputError, match=r"names .* 2 times"):
        split_cases(cases, str(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "file,subset\nc0.png,training",
            "puts c0.png into the unknown subset training; use train",
        ),
        ("file,subset\nc0.png,test\nc0.png,train", "names c0.png 2 times"),
        ("file,subset\n", "names no images"),
        ("file\nc0.png", "has no column subset"),
        (
            "file,subset\nc9.png,test",
            "1 of its 1 images are not in the data set, first c9.png",
        ),
        (
            "file,subset\nimages/c0.png,test",
            "name images without their folder and with their ending, as c0.png",
        ),
    ],
)
def test_wrong_split_csv_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        split_cases(_cases(["benign"], ["a"]), str(path))


def test_missing_split_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        split_cases(_busi(), str(tmp_path / "no.csv"))


@pytest.mark.parametrize(
    ("text", "folder", "split"),
    [
        ("data", "data", ""),
        ("data@grouped", "data", "grouped"),
        ("data@me@clinic.org/s.csv", "data", "me@clinic.org/s.csv"),
        ("me@clinic.org/more", "me@clinic.org/more", ""),
        ("me@clinic.org/more@paper-clean", "me@clinic.org/more", "paper-clean"),
        ("me@clinic.org/more@a@b.csv", "me@clinic.org/more", "a@b.csv"),
        ("gone@clinic.org", "gone@clinic.org", ""),
        ("gone@grouped", "gone@grouped", ""),
        ("data@halves", "data", "halves"),
    ],
)
def test_an_at_sign_may_be_in_the_folder_and_in_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, folder: str, split: str
) -> None:
    for name in ("data", "me@clinic.org/more"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_source(text) == (Path(folder), split)


def test_a_source_that_may_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    for name in ("data", "data@grouped"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        InputError, match="data@grouped: can mean two different folders"
    ):
        parse_source(str(tmp_path / "data@grouped"))
