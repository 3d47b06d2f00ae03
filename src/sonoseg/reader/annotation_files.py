"""Writes the outlines of segmented images as files for annotation programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sonoseg.core.mask import read_mask
from sonoseg.files import write_json
from sonoseg.inputs import read_json
from sonoseg.reader.annotations import (
    FORMATS,
    Annotated,
    to_coco,
    to_geojson,
    to_labelme,
)

_RESULTS_LIMIT = 128 << 20


def write_annotations(
    images: Iterable[Annotated], folder: Path, formats: Iterable[str]
) -> str:
    """Writes outlines for annotation programs, from images that were segmented.

    Files are lesions_coco.json for all, STEM_lesions.geojson and STEM_labelme.json for each.

    Args:
        images: file names and masks.
        folder: a folder that is there.
        formats: any of `FORMATS`.

    Returns:
        What was written, in a line; "" if nothing was.
    """
    images, wanted = list(images), [name for name in FORMATS if name in set(formats)]
    for one in images:
        stem = Path(one.name).stem
        if "geojson" in wanted:
            write_json(folder / f"{stem}_lesions.geojson", to_geojson(one.mask))
        if "labelme" in wanted:
            write_json(folder / f"{stem}_labelme.json", to_labelme(one))
    if "coco" in wanted:
        write_json(folder / "lesions_coco.json", to_coco(images))
    return f"outlines for {', '.join(wanted)} are in {folder}" if wanted else ""


def written_masks(folder: Path) -> Iterator[Annotated]:
    """The images of a results.json with the masks that were written for them."""
    results = read_json(folder / "results.json", _RESULTS_LIMIT)
    for entry in results["images"]:
        yield Annotated(
            Path(entry["file"]).name, read_mask(folder / entry["mask"]).pixels
        )
    for entry in results.get("dicom", ()):
        masks = [name for name in entry["written"] if name.endswith("_mask.png")]
        for name in masks:
            picture = Path(entry["file"]).name
            if entry["frames"] > 1:
                picture = name.replace("_mask.png", ".png")
            yield Annotated(picture, read_mask(folder / name).pixels)
