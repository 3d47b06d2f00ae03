"""`sonoseg data pack`: from a data set's folder to one small file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonoseg.core.resize import resize_image, resize_mask
from sonoseg.data.busbra import official_folds
from sonoseg.data.load import data_name, load_cases
from sonoseg.data.pack import SIZES, SUFFIX, is_pack, write_pack
from sonoseg.data.pack_row import PackRow
from sonoseg.errors import InputError
from sonoseg.files import output_file
from sonoseg.progress import track


def pack_folder(
    folder: Path | str, size: int, out: Path | str, progress: bool = True
) -> str:
    """Writes the images and masks of a data set at `size` × `size` pixels, as training resizes them, into one file.

    Args:
        folder: of the data set.
        size: in pixels, one of `SIZES`.
        out: the file, its name ending in .safetensors.
        progress: show a progress bar on stderr.

    Returns:
        What was written, in a line.

    Raises:
        InputError: `size` or `out` is not right, `folder` is no data set, or one of its files cannot be read.
    """
    out = Path(out)
    if size not in SIZES:
        raise InputError(
            f"--size {size}",
            f"is not a multiple of 32 from {SIZES[0]} to {SIZES[-1]}",
            "try --size 224",
        )
    if out.suffix.lower() != SUFFIX:
        raise InputError(
            out, f"a pack's name ends in {SUFFIX}", f"give --out {out.stem}{SUFFIX}"
        )
    if is_pack(folder):
        raise InputError(
            folder, "is a pack already", "give the folder that it was made from"
        )
    cases = load_cases(folder)
    folds = official_folds(cases) or {}
    output_file(out)
    images = np.empty((len(cases), size, size), np.uint8)
    masks = np.empty((len(cases), size, size), np.uint8)
    rows = []
    for number, case in enumerate(
        track(cases, "packing", len(cases), "image", progress)
    ):
        image, mask = case.read()
        images[number] = resize_image(image, (size, size))
        masks[number] = resize_mask(mask, (size, size))
        height, width = image.shape
        masked = bool(case.masks)
        row = PackRow(
            case.name,
            case.label,
            case.group,
            case.spacing,
            height,
            width,
            masked,
            folds.get(case.name),
        )
        rows.append(row)
    write_pack(out, data_name(folder), rows, images, masks)
    return f"{out}: {len(cases)} images of {size} × {size} pixels, {out.stat().st_size / 1e6:.0f} MB"
