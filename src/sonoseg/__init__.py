"""Segments and measures tumours in breast-ultrasound images.

Importing this package is fast: numpy, Pillow and ONNX Runtime are imported when the first image is segmented.
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike, fsdecode
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonoseg.reader.result import SegmentationResult
    from sonoseg.reader.segmenter import ImageLike, PixelSize, Segmenter

__all__ = ["SegmentationResult", "__version__", "load", "segment"]


def segment(
    image: ImageLike, model: Path | str = "default", spacing: PixelSize | None = None
) -> SegmentationResult:
    """Segments one image.

    Args:
        image: a PNG, JPEG, TIFF or BMP file: its path, its bytes, or open in binary mode; or a PIL image; or an array
            (H, W), (H, W, 3) or (H, W, 4) of whole or floating-point numbers; or the path of a DICOM file of one frame
            and one B-mode region, which is what is segmented.
        model: a shipped name or the path of a bundle; kept in memory for the next call.
        spacing: mm per pixel: one number, or (row, column) where pixels are not square; None leaves measurements in
            pixels.

    Raises:
        sonoseg.errors.InputError: the image, the model or the spacing cannot be used; says what to do about it.

    Example:
        >>> sonoseg.segment("scan.png").mask
    """
    if (
        spacing is None
        and isinstance(image, (str, PathLike))
        and _is_dicom(Path(fsdecode(image)))
    ):
        dicom = import_module("sonoseg.dicom.segment")
        result: SegmentationResult = dicom.segment_still(
            load(model), Path(fsdecode(image))
        )
        return result
    return load(model).segment(image, spacing)


def _is_dicom(path: Path) -> bool:
    recognise = import_module(
        "sonoseg.dicom.recognise"
    )  # by name: layers below import this module
    if not recognise.is_dicom_file(path):
        return False
    recognise.check_installed()
    return True


def load(model: Path | str = "default") -> Segmenter:
    """Loads a network once, to segment many images with it; see `sonoseg.reader.segmenter.Segmenter`."""
    from sonoseg.reader.segmenter import load

    return load(model)


def __getattr__(name: str) -> Any:
    if name == "SegmentationResult":
        from sonoseg.reader.result import SegmentationResult

        return SegmentationResult
    if name == "__version__":
        from importlib.metadata import version

        return version("sonoseg")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
