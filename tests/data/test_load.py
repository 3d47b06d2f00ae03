"""A folder that is no data set gets a clear answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonoseg.data import load_cases
from sonoseg.data.load import data_name
from sonoseg.errors import InputError


def test_missing_data_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: there is no such folder"):
        load_cases(tmp_path / "nothing")


def test_file_in_place_of_a_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file, not a folder"):
        load_cases(tmp_path / "a.png")


def test_empty_data_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder is empty; give one with benign/"):
        load_cases(tmp_path)


def test_unknown_layout_is_refused(tmp_path: Path, write) -> None:
    write("a.png")
    with pytest.raises(
        InputError, match="is not a data set of a known layout; give one with"
    ):
        load_cases(tmp_path)


@pytest.mark.parametrize("folders", [("benign", "normal"), ("images", "masks")])
def test_known_layout_without_images_is_refused(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="there are no images in it"):
        load_cases(tmp_path)


def test_a_data_set_has_the_name_of_its_folder_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clinic" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "clinic")
    monkeypatch.chdir(tmp_path / "clinic")
    assert data_name(".") == "clinic"
    assert data_name("images/..") == "clinic"
    assert data_name("..") == tmp_path.name
    assert data_name(tmp_path / "link") == "link"
