"""Files and folders become a list of images, or one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sonoseg.core.paths import list_images
from sonoseg.errors import InputError
from sonoseg.inputs import readable_file


def _touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_a_folder_gives_its_images_sorted_without_outputs_and_hidden_files(
    tmp_path: Path,
) -> None:
    kept = _touch(
        tmp_path, "a.PNG", "b.jpg", "c.jpeg", "d.tif", "e.tiff", "f.bmp", "maskara.png"
    )
    _touch(
        tmp_path,
        ".hidden.png",
        "a_mask.png",
        "a_mask_1.png",
        "b_overlay.png",
        "results.json",
        "g.gif",
    )
    _touch(tmp_path / "inside", "z.png")
    assert list_images([tmp_path]) == kept


def test_a_folder_gives_its_clips_where_they_are_asked_for(tmp_path: Path) -> None:
    kept = _touch(tmp_path, "a.png", "b.MP4", "c.avi", "d.mov", "e.mkv")
    _touch(tmp_path, "b_overlay.mp4", "b_frames.csv", ".hidden.avi")
    assert list_images([tmp_path], clips=True) == kept
    assert list_images([tmp_path]) == kept[:1]
    with pytest.raises(InputError, match="image and no video in this folder"):
        list_images([_touch(tmp_path / "inside", "a.txt")[0].parent], clips=True)


def test_files_keep_their_order_and_are_listed_once(tmp_path: Path) -> None:
    a, b, odd = _touch(tmp_path, "a.png", "b.png", "scan")
    assert list_images([str(odd), b, tmp_path, tmp_path / "." / "a.png"]) == [odd, b, a]


def test_jpeg_files_are_known_by_all_their_endings(tmp_path: Path) -> None:
    kept = _touch(tmp_path, "a.jfif", "b.JPE", "c.jpeg", "d.jpg")
    assert list_images([tmp_path]) == kept


def test_a_named_mask_file_is_taken(tmp_path: Path) -> None:
    (mask,) = _touch(tmp_path, "a_mask.png")
    assert list_images([mask]) == [mask]


def test_no_path_and_empty_folder_and_missing_file_are_told_apart(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="images: none given"):
        list_images([])
    with pytest.raises(
        InputError, match="no PNG, JPEG, TIFF or BMP image in this folder"
    ):
        list_images([tmp_path])
    with pytest.raises(InputError, match=r"a\.png: no such file"):
        list_images([tmp_path / "a.png"])


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    first, second = _touch(tmp_path, "a.png", "A.tif")
    with pytest.raises(InputError, match=f"{second}: has the same name as {first}"):
        list_images([first, second])


def test_links_to_one_stored_file_are_images_of_their_own_and_dangling_ones_are_listed(
    tmp_path: Path,
) -> None:
    (stored,) = _touch(tmp_path / "store", "blob")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).symlink_to(stored)
    (folder / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "folder.png").symlink_to(tmp_path / "store")
    assert [path.name for path in list_images([folder])] == [
        "a.png",
        "b.png",
        "gone.png",
    ]
    (tmp_path / "other").symlink_to(folder)
    assert list_images([folder / "a.png", tmp_path / "other" / "a.png"]) == [
        folder / "a.png"
    ]
    with pytest.raises(
        InputError, match=r"gone\.png: is a link to a file that is not there; fetch"
    ):
        list_images([folder / "gone.png"])


def test_a_second_mask_of_a_folder_is_no_image(tmp_path: Path) -> None:
    kept = _touch(tmp_path, "a.png")
    _touch(tmp_path, "a_Mask.png", "a_mask2.png", "a_MASK_1.png")
    assert list_images([tmp_path]) == kept


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_or_folder_without_permission_is_told(tmp_path: Path) -> None:
    (secret,) = _touch(tmp_path / "folder", "a.png")
    secret.chmod(0)
    with pytest.raises(InputError, match="no permission to read it"):
        readable_file(secret)
    secret.parent.chmod(0)
    try:
        with pytest.raises(InputError, match="no permission"):
            list_images([secret.parent])
    finally:
        secret.parent.chmod(0o700)
