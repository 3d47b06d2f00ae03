"""Segments and measures tumours in breast-ultrasound images.

Importing this package is fast: numpy, Pillow and ONNX Runtime are imported when the first image is segmented.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoseg.reader.file_kinds import FileKind, add_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonoseg.reader.result import SegmentationResult
    from sonoseg.reader.segmenter import ImageLike, PixelSize, Segmenter

# ONNX Runtime for Linux reports machine and program to its maker, from version 1.32 on, unless this is set before it is
# imported. Images of patients are segmented here: nothing may leave the machine unasked.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["SegmentationResult", "__version__", "load", "segment"]


def segment(
    image: ImageLike,
    model: Path | str = "default",
    spacing: PixelSize | None = None,
    sensitivity: str | None = None,
) -> SegmentationResult:
    """Segments one image.

    Args:
        image: a PNG, JPEG, TIFF or BMP file: its path, its bytes, or open in binary mode; or a PIL image; or an array
            (H, W), (H, W, 3) or (H, W, 4) of whole or floating-point numbers; or a DICOM file in the same forms, or a
            pydicom data set, of one frame with one B-mode region. For loops see `Segmenter.segment_frames`.
        model: default or accurate, the bundled models, or the path of a bundle; kept in memory for the next call.
        spacing: mm per pixel: one number, or (row, column) where pixels are not square; None leaves measurements in
            pixels.
        sensitivity: an operating point: high, balanced or specific; see `Segmenter.at`. None: as the network was
            trained.

    Raises:
        sonoseg.errors.InputError: the image, the model or the spacing cannot be used; says what to do about it.

    Example:
        >>> sonoseg.segment("scan.png").mask
    """
    return load(model, sensitivity).segment(image, spacing)


def load(model: Path | str = "default", sensitivity: str | None = None) -> Segmenter:
    """Loads a network once, to segment many images with it; see `sonoseg.reader.segmenter.load`."""
    from sonoseg.reader.segmenter import load

    return load(model, sensitivity)


def __getattr__(name: str) -> Any:
    if name == "SegmentationResult":
        from sonoseg.reader.result import SegmentationResult

        return SegmentationResult
    if name == "__version__":
        from importlib.metadata import version

        return version("sonoseg")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _is_dicom(source: Any) -> bool:
    recognise = import_module("sonoseg.dicom.recognise")
    return bool(recognise.is_dicom_source(source))


def _segment_still(*arguments: Any) -> SegmentationResult:
    result: SegmentationResult = _dicom().segment_still(*arguments)
    return result


def _segment_frames(*arguments: Any) -> Iterator[SegmentationResult]:
    results: Iterator[SegmentationResult] = _dicom().segment_frames(*arguments)
    return results


def _dicom() -> Any:
    """What segments DICOM files; imported by name, because packages below it import this one."""
    import_module("sonoseg.dicom.recognise").check_installed()
    return import_module("sonoseg.dicom.segment")


add_kind(FileKind(_is_dicom, _segment_still, _segment_frames))
