"""Further data sets join a training without what its split keeps apart."""

import csv
import shutil

import pydicom
import pytest
from PIL import Image

from sonoseg.data import load_cases, split_cases
from sonoseg.data.busi import busi_files
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms
from sonoseg.errors import InputError
from sonoseg.train.gather import check_apart, gather


def test_further_data_sets_join_the_training_images_only(phantoms, tmp_path):
    write_phantoms(tmp_path, 24, seed=2, size=(128, 160))
    alone, validation = gather(phantoms, "grouped", ())
    more, same = gather(phantoms, "grouped", (str(tmp_path), f"{tmp_path}@grouped-1"))
    assert validation == same
    assert len(more) == len(alone) + 24 + len(gather(tmp_path, "grouped-1", ())[0])


@pytest.fixture
def busi(tmp_path):
    """BUSI's files by name. Their content is not read."""
    root = tmp_path / "BUSI"
    for file in busi_files():
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_a_further_data_set_of_which_nothing_is_trained_on_is_refused(
    phantoms, tmp_path
):
    other = tmp_path / "other"
    write_phantoms(other, 6, seed=5)
    with pytest.raises(InputError, match="the split all leaves no training images"):
        gather(phantoms, "grouped", [f"{other}@all"])


def test_near_copies_that_the_split_leaves_out_do_not_come_back(busi):
    training, _ = gather(busi, "paper-clean", (f"{busi}@paper-clean",))
    assert len(training) == 2 * len(gather(busi, "paper-clean", ())[0])
    other_name = busi.with_name("linked")
    other_name.symlink_to(busi)
    for folder in (busi, other_name):
        also = f"{folder}@paper"
        with pytest.raises(InputError, match="has 72 images of the patients or near-"):
            gather(busi, "paper-clean", (also,))


@pytest.mark.parametrize("kind", ["copy", "pack", "part"])
def test_a_copy_of_the_data_under_another_name_is_the_same_data_set(tmp_path, kind):
    """Two images of each patient; another division of the images brings the other one back."""
    one, other = tmp_path / "one", tmp_path / "other"
    write_phantoms(one, 24, seed=2, size=(128, 160))
    _group_by_two(one)
    shutil.copytree(one, other)
    if kind == "part":
        for path in sorted((other / "images").iterdir())[20:]:
            path.unlink()
            (other / "masks" / path.name).unlink()
        _group_by_two(other)
    if kind == "pack":
        pack_folder(other, 64, tmp_path / "other.safetensors")
        other = tmp_path / "other.safetensors"
    with pytest.raises(InputError, match="of the patients or near-copies that grouped"):
        gather(one, "grouped", (str(other),))


def test_the_hint_for_a_copy_of_the_data_is_its_own_split(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write_phantoms(one, 24, seed=2, size=(128, 160))
    _group_by_two(one)
    shutil.copytree(one, other)
    for also in (str(other), f"{other}@grouped-1"):
        with pytest.raises(InputError) as caught:
            gather(one, "grouped", (also,))
        assert caught.value.hint == "give FOLDER@grouped"
    training, _ = gather(one, "grouped", (f"{other}@grouped",))
    assert len(training) == 2 * len(gather(one, "grouped", ())[0])


def test_the_hint_for_a_part_of_the_data_is_not_what_was_given(tmp_path):
    """As two readers have accepted other images of the same patients: their folds differ."""
    one, other = tmp_path / "anna", tmp_path / "bob"
    write_phantoms(one, 24, seed=2, size=(128, 160))
    _group_by_two(one)
    shutil.copytree(one, other)
    for path in sorted((other / "images").iterdir())[:4]:
        path.unlink()
        (other / "masks" / path.name).unlink()
    _group_by_two(other, start=4)
    for also in (str(other), f"{other}@grouped", f"{other}@grouped-0"):
        with pytest.raises(InputError, match="of the patients or near-") as caught:
            gather(one, "grouped", (also,))
        assert "@grouped" not in caught.value.hint
        assert "FOLDER@B.csv (file,subset)" in caught.value.hint
    tables = []
    subset_of = _subsets(one)
    for folder in (one, other):
        names = [path.name for path in (folder / "images").iterdir()]
        rows = [f"{name},{subset_of[name]}" for name in names]
        tables.append(tmp_path / f"{folder.name}.csv")
        tables[-1].write_text("\n".join(["file,subset", *rows]) + "\n")
    training, _ = gather(one, str(tables[0]), (f"{other}@{tables[1]}",))
    groups = {case.group for case in training}
    assert len(training) > len(gather(one, "grouped", ())[0])
    assert groups == {case.group for case in gather(one, "grouped", ())[0]}


def _subsets(folder):
    subset_of = {}
    for subset, cases in split_cases(load_cases(folder), "grouped").items():
        subset_of.update(dict.fromkeys([case.name for case in cases], subset))
    return subset_of


def test_other_images_of_the_same_names_are_another_data_set(tmp_path):
    """As two hospitals export them, into folders of one name."""
    one, other = tmp_path / "a" / "export", tmp_path / "b" / "export"
    write_phantoms(one, 24, seed=2, size=(128, 160))
    write_phantoms(other, 24, seed=30, size=(128, 160))
    for folder in (one, other):
        (folder / "labels.csv").unlink()
    training, _ = gather(one, "grouped", (str(other),))
    assert len(training) == len(gather(one, "grouped", ())[0]) + 24


def test_parts_of_busbra_share_patients_though_no_image(tmp_path):
    """The left breasts, and the right ones of the same patients."""
    for side in "lr":
        root = tmp_path / side
        write_phantoms(root, 12, seed=ord(side), size=(128, 160))
        (root / "labels.csv").unlink()
        rows, folds = ["ID,Case,Pathology"], ["ID,kFold"]
        for number, path in enumerate(sorted((root / "images").iterdir()), start=1):
            name = f"{number:04}-{side}"
            (root / "masks" / path.name).rename(root / "masks" / f"mask_{name}.png")
            path.rename(path.with_name(f"bus_{name}.png"))
            rows.append(f"bus_{name},{number},benign")
            folds.append(f"bus_{name},{number % 5 + 1}")
        (root / "images").rename(root / "Images")
        (root / "masks").rename(root / "Masks")
        (root / "bus_data.csv").write_text("\n".join(rows))
        (root / "5-fold-cv.csv").write_text("\n".join(folds))
    left, right = tmp_path / "l", tmp_path / "r"
    with pytest.raises(InputError, match="has 5 images of the patients") as caught:
        gather(left, "grouped", (str(right),))
    assert caught.value.hint == "give FOLDER@grouped"
    training, _ = gather(left, "grouped", (f"{right}@grouped",))
    assert len(training) == 14


def test_dicom_of_one_patient_is_known_in_two_folders(tmp_path):
    for seed, year in enumerate(("2023", "2024")):
        write_dicom_phantoms(tmp_path / year, 2, seed)
        for path in (tmp_path / year / "images").iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientID = path.name[:12]
            dataset.save_as(path)
    names = sorted(case.name for case in load_cases(tmp_path / "2023"))
    rows = [f"{names[0]},train", *(f"{name},test" for name in names[1:])]
    split = tmp_path / "split.csv"
    split.write_text("\n".join(["file,subset", *rows]))
    cases = load_cases(tmp_path / "2024")
    theirs = [case for case in cases if case.group == cases[-1].group]
    problem = f"has {len(theirs)} images? of the patients"
    with pytest.raises(InputError, match=problem):
        gather(tmp_path / "2023", str(split), (str(tmp_path / "2024"),))


def test_groups_of_one_name_in_two_data_sets_are_said(tmp_path, caplog):
    one, other = tmp_path / "one", tmp_path / "other"
    for seed, folder in ((2, one), (30, other)):
        write_phantoms(folder, 24, seed=seed, size=(128, 160))
        _group_by_two(folder)
        for path in [*(folder / "images").iterdir(), *(folder / "masks").iterdir()]:
            path.rename(path.with_name(f"{folder.name}_{path.name}"))
        table = (folder / "labels.csv").read_text()
        table = table.replace("synthetic", f"{folder.name}_synthetic")
        (folder / "labels.csv").write_text(table)
    training, validation = gather(one, "grouped", (str(other),))
    kept = len(validation) + len(split_cases(load_cases(one), "grouped")["test"])
    (message,) = caplog.messages
    assert f"{kept} images of groups that are kept for validation or test" in message
    assert "first other_synthetic_" in message
    assert len(training) == 24 - kept + 24


@pytest.mark.parametrize("copied", ["test", "train"])
def test_images_of_the_test_set_that_were_saved_again_are_refused(tmp_path, copied):
    one, other = tmp_path / "one", tmp_path / "other"
    write_phantoms(one, 24, seed=2, size=(128, 160))
    images = split_cases(load_cases(one), "grouped")[copied]
    for name in ("images", "masks"):
        (other / name).mkdir(parents=True)
    for number, case in enumerate(images):
        image = Image.open(case.image).resize((200, 150)).convert("RGB")
        image.save(other / "images" / f"case {number}.jpg", quality=80)
        mask = Image.open(case.masks[0]).resize((200, 150))
        mask.save(other / "masks" / f"case {number}.png")
    training, _ = gather(one, "grouped", (str(other),))
    if copied == "train":
        check_apart(one, "grouped", training, 64)
        return
    with pytest.raises(InputError, match=f"holds {len(images)} validation or test"):
        check_apart(one, "grouped", training, 64)


def _group_by_two(folder, start=0):
    names = [path.name for path in sorted((folder / "images").iterdir())]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "group"])
        for number, name in enumerate(names, start):
            writer.writerow([name, "benign", f"patient {number // 2}"])


def test_near_copies_that_the_split_trains_on_may_come_twice(busi):
    training, _ = gather(busi, "paper", (f"{busi}@paper",))
    assert len(training) == 2 * len(gather(busi, "paper", ())[0])


def test_clean_split_of_busi_trains_on_no_test_image(real_data):
    training, validation = gather(real_data / "busi", "paper-clean", ())
    assert len(training) > 500
    assert not {case.group for case in training} & {case.group for case in validation}
