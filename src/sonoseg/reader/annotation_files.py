"""Writes the outlines of segmented images as files for annotation programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sonoseg.core.mask import read_mask
from sonoseg.files import write_json
from sonoseg.reader.annotations import Annotated, to_coco, to_geojson, to_labelme

COCO = "lesions_coco.json"
"""One file for all images."""
IMAGE = "_shown.png"
"""After the stem of a DICOM file or frame: the picture that is written for programs which read no DICOM."""
_ENDINGS = {"geojson": "_lesions.geojson", "labelme": "_labelme.json"}


def annotation_names(stem: str, formats: Iterable[str]) -> dict[str, str]:
    """The names of the files of one image, by their format; those of all images are not among them."""
    wanted = set(formats)
    return {
        kind: f"{stem}{ending}" for kind, ending in _ENDINGS.items() if kind in wanted
    }


def write_annotations(
    image: Annotated, stem: str, folder: Path, formats: Iterable[str]
) -> dict[str, str]:
    """Writes the outlines of one image, and returns `annotation_names`.

    Args:
        image: file name and mask.
        stem: what the files' names begin with.
        folder: a folder that is there.
        formats: any of `sonoseg.reader.annotations.FORMATS`.
    """
    names = annotation_names(stem, formats)
    if "geojson" in names:
        write_json(folder / names["geojson"], to_geojson(image.mask))
    if "labelme" in names:
        write_json(folder / names["labelme"], to_labelme(image))
    return names


def path_from(folder: Path, image: Path) -> str:
    """Where an image is, seen from a folder: LabelMe looks for it there; its whole path on another Windows drive."""
    with contextlib.suppress(ValueError):
        return Path(os.path.relpath(image, folder)).as_posix()
    return image.as_posix()


def write_coco(report: Mapping[str, Any], folder: Path) -> None:
    """Writes `COCO` for all images of a results.json, whose masks are read one at a time."""
    write_json(folder / COCO, to_coco(_written_masks(report, folder)))


def _written_masks(report: Mapping[str, Any], folder: Path) -> Iterator[Annotated]:
    """The images of a results.json with the masks that were written for them."""
    for entry in report["images"]:
        mask = read_mask(folder / entry["mask"]).pixels
        yield Annotated(Path(entry["file"]).name, mask)
    for entry in report["dicom"]:
        masks = [name for name in entry["written"] if name.endswith("_mask.png")]
        for name in masks:
            picture = name.removesuffix("_mask.png") + IMAGE
            yield Annotated(picture, read_mask(folder / name).pixels)
