"""Writes the masks of a DICOM segmentation (SEG) as PNG files."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np

from sonoseg.dicom.damage import dicom_errors, integer
from sonoseg.dicom.header import open_dicom
from sonoseg.dicom.seg_to_mask import (
    Mask,
    SegFile,
    read_seg,
    referenced_instances,
    union_by_frame,
)
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, atomic_path, is_there, output_folder
from sonoseg.reader.overlay import save_picture


def write_masks(
    source: Path | str, out: Path | str, image: Path | str | None = None
) -> str:
    """Writes the masks of a segmentation as PNG files (0 and 255), one for each frame that has one.

    Files are named STEM_mask.png, or STEM_frame0007_mask.png for frame 7 of a loop; STEM is the image's file name
    without its ending. Segments of a frame are joined. All files are written or none.

    Args:
        source: the segmentation.
        out: a folder, made if need be.
        image: the image, for its name; None takes the name of the segmentation.

    Returns:
        What was done, in a line.

    Raises:
        InputError: as `read_seg`; it belongs to several images, or to another than `image`; `image` is not DICOM or
            has another size; a file of another content is there already; or `out` cannot be written to.
    """
    seg = read_seg(source)
    instances = {instance for instance, _, _ in seg.places}
    if len(instances) > 1:
        problem = f"belongs to {len(instances)} images"
        raise InputError(source, problem, "use a segmentation of one image")
    if image is not None:
        _check_image(seg, image)
    stem = Path(image if image is not None else source).stem
    union = union_by_frame(seg)
    has_several = len(union) > 1 or any(frame > 1 for frame in union)
    folder = Path(out)
    contents = {}
    for frame, mask in sorted(union.items()):
        place = f"_frame{frame:04d}" if has_several else ""
        contents[folder / f"{stem}{place}_mask.png"] = _png(mask)
    for path, content in contents.items():
        _check_free(path, content)
    output_folder(folder)
    with atomic_files():
        for path, content in contents.items():
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
    return f"{len(union)} masks written to {folder}"


def _check_image(seg: SegFile, image: Path | str) -> None:
    header = open_dicom(image)
    with dicom_errors(header.subject):
        shape = header.shape
    with dicom_errors(seg.header.subject):
        dataset = seg.header.dataset
        size = integer(dataset, "Rows"), integer(dataset, "Columns")
        named = {instance for instance, _, _ in seg.places}
        named |= set(referenced_instances(dataset))
    named.discard("")
    hint = "give the image that was segmented"
    if named and header.instance not in named:
        problem = f"belongs to another image than {image}"
        raise InputError(seg.header.subject, problem, hint)
    if shape != size:
        problem = (
            f"has {size[1]} × {size[0]} pixels, but {image} {shape[1]} × {shape[0]}"
        )
        raise InputError(seg.header.subject, problem, hint)


def _png(mask: Mask) -> bytes:
    buffer = io.BytesIO()
    save_picture(buffer, mask.astype(np.uint8) * 255)
    return buffer.getvalue()


def _check_free(path: Path, content: bytes) -> None:
    """Refuses to replace what is there, unless it is the same."""
    if not is_there(path):
        return
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    problem = "is there already, with another content"
    raise InputError(path, problem, "choose another folder")
