"""Writes the masks of a DICOM segmentation (SEG) as PNG files."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonoseg.dicom.damage import dicom_errors, integer
from sonoseg.dicom.find import stem_of
from sonoseg.dicom.header import Header, open_dicom
from sonoseg.dicom.seg_to_mask import (
    Mask,
    SegFile,
    read_seg,
    referenced_instances,
    union_by_frame,
)
from sonoseg.errors import InputError, counted
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
        image: the image whose masks are wanted, and whose name they get; None takes the name of the segmentation.

    Returns:
        What was done, in a line.

    Raises:
        InputError: as `read_seg` and `SegFile.of_image`; it belongs to several images and none is given, or to
            another than `image`; `image` is not DICOM or has another size; a file of another content is there already;
            or `out` cannot be written to.
    """
    seg = read_seg(source)
    if image is None and len(seg.instances) > 1:
        problem = f"belongs to {len(seg.instances)} images"
        raise InputError(source, problem, "name one of them with --image")
    has_several = seg.frames != {1}
    if image is not None:
        header = open_dicom(image)
        with dicom_errors(header.subject):
            frames = integer(header.dataset, "NumberOfFrames", missing=1) or 1
        _check_image(seg, header)
        seg = seg.of_image(replace(header, frames=frames))
        has_several = frames > 1
    stem = stem_of(Path(Path(image if image is not None else source).name))
    union = union_by_frame(seg)
    if not union:
        problem = f"has no mask for {image}"
        raise InputError(source, problem, "give the image that was segmented")
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
    return f"{counted(len(union), 'mask')} written to {folder}"


def _check_image(seg: SegFile, image: Header) -> None:
    with dicom_errors(image.subject):
        shape = image.shape
    with dicom_errors(seg.header.subject):
        dataset = seg.header.dataset
        size = integer(dataset, "Rows"), integer(dataset, "Columns")
        named = seg.instances | set(referenced_instances(dataset))
    named.discard("")
    hint = "give the image that was segmented"
    if named and image.instance not in named:
        problem = f"belongs to another image than {image.subject}"
        raise InputError(seg.header.subject, problem, hint)
    if shape != size:
        its = f"{image.subject} {shape[1]} × {shape[0]}"
        problem = f"has {size[1]} × {size[0]} pixels, but {its}"
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
