"""Finds the images and videos in a list of files and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from sonoseg.errors import InputError
from sonoseg.files import is_folder
from sonoseg.inputs import readable_file

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp"}
)
CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg"}
)
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
"""Many DICOM files have none: they are known by their content."""
_OUTPUTS = re.compile(r"_(mask(_?\d+)?|overlay|heat|shown)$", re.IGNORECASE)


def is_clip(path: Path) -> bool:
    """Whether `path` has the name of a video."""
    return path.suffix.lower() in CLIP_SUFFIXES


def stem_of(path: Path) -> str:
    """The name of an image without its ending; dots in a name without a known ending belong to it, as in UIDs."""
    is_known = path.suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES | DICOM_SUFFIXES
    return path.stem if is_known else path.name


def list_images(paths: Iterable[Path | str], clips: bool = False) -> list[Path]:
    """The image files that `paths` (files and folders) stand for, each once, in the order of `paths`.

    A folder stands for its own PNG, JPEG, TIFF and BMP files, sorted by name; not those of folders inside it,
    hidden files, or masks and other results as sonoseg and BUSI name them (`..._mask`, `..._mask_1`,
    `..._overlay`). A file is taken whatever its name; whether it is a picture shows when it is read.
    Links are files of their own, whatever they lead to; one in a folder that leads to nothing is listed too.

    Args:
        paths: files and folders.
        clips: take the videos of a folder as well.

    Raises:
        InputError: a path does not exist, a folder has no image, no path was given, or two images share a
            stem (their results would overwrite each other).
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        images = (
            _folder_images(path, clips) if is_folder(path) else [readable_file(path)]
        )
        for image in images:
            # Links to folders are followed, not links to files: data stores keep equal files once, under several links.
            place = os.path.realpath(image.parent)
            found.setdefault(os.path.join(place, image.name), image)  # noqa: PTH118
    if not found:
        raise InputError(
            "images", "none given", "name image files or folders with images"
        )
    stems: dict[str, Path] = {}
    for image in found.values():
        # Upper and lower case are one name on many disks.
        other = stems.setdefault(image.stem.casefold(), image)
        if other is not image:
            problem = f"has the same name as {other}, their results would overwrite each other"
            raise InputError(
                image, problem, "rename one or segment them into two folders"
            )
    return list(found.values())


def _folder_images(folder: Path, clips: bool) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            folder, "no permission to list this folder", "change its permissions"
        ) from error
    suffixes = IMAGE_SUFFIXES | CLIP_SUFFIXES if clips else IMAGE_SUFFIXES
    images = [
        path for path in entries if is_input(path, suffixes) and not is_folder(path)
    ]
    if not images:
        problem = f"no PNG, JPEG, TIFF or BMP image{' and no video' if clips else ''} in this folder"
        raise InputError(folder, problem, "give a folder with images")
    return images


def is_input(path: Path, suffixes: frozenset[str]) -> bool:
    """Whether a file in a folder has the name of an image, not hidden, and not that of a mask or an overlay."""
    hidden = path.name.startswith(".")
    return (
        not hidden
        and path.suffix.lower() in suffixes
        and not _OUTPUTS.search(path.stem)
    )
