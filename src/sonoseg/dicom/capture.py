"""Writes the overlay as a picture for the archive: Secondary Capture (SC, PS3.3 A.8)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from sonoseg.dicom import new_object
from sonoseg.dicom.new_object import add_image
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.segment import Segmented
from sonoseg.dicom.source import Algorithm, refuses_damage
from sonoseg.errors import InputError
from sonoseg.reader.overlay import PREDICTION, WARNING, draw_frame
from sonoseg.reader.strokes import draw_outline

_SIDES = ("L", "R")
_MOST_OPAQUE = 0.7
_STROKE = 1.5  # pixels
_LETTERS = 14.0  # height of letters, in pixels


def draw_capture(file: DicomFile, segmented: Sequence[Segmented]) -> NDArray[np.uint8]:
    """The overlay of the regions of one frame: (H, W, 3) uint8 RGB, black outside the regions.

    What the scanner wrote beside the B-mode image, such as the patient's name, is not copied. Each region has the
    notice "research use, not a medical device" at its foot. Doubts are written above or below the regions, as many as
    fit there.
    """
    picture = np.zeros((*file.shape, 3), np.uint8)
    doubts: dict[str, None] = {}
    for one in segmented:
        picture[one.view.region.slices] = draw_frame(one.result)
        doubts |= dict.fromkeys(one.result.doubts)
    if doubts:
        lines = [f"Do not trust this: {doubt}" for doubt in doubts]
        _write_lines(picture, lines, _free_rows(file))
    return picture


def _free_rows(file: DicomFile) -> slice:
    """The rows above or below all regions, whichever are more."""
    top = min(region.top for region in file.layout.regions)
    bottom = max(region.top + region.height for region in file.layout.regions)
    height = file.shape[0]
    return slice(0, top) if top > height - bottom else slice(bottom, height)


def _write_lines(
    picture: NDArray[np.uint8], sentences: Sequence[str], rows: slice
) -> None:
    """Writes sentences into black rows of a picture, each in as many lines as it needs, until the rows are full."""
    width = picture.shape[1]
    font = ImageFont.load_default(_LETTERS)
    columns = int(0.96 * width / font.getlength("n"))
    lines: list[str] = []
    for sentence in sentences:
        lines += textwrap.wrap(sentence, max(columns, 1))
    canvas = Image.fromarray(picture[rows])
    draw = ImageDraw.Draw(canvas)
    step = math.ceil(1.4 * _LETTERS)
    for number, line in enumerate(lines[: canvas.height // step]):
        place = 0.02 * width, (number + 0.5) * step
        draw.text(place, line, WARNING, font, "lm")
    picture[rows] = np.asarray(canvas)


def draw_heat(file: DicomFile, segmented: Sequence[Segmented]) -> NDArray[np.uint8]:
    """Where the network looked in the regions of one frame: (H, W, 3) uint8 RGB, black outside the regions.

    The image shines through where the heat is 0; where it is 1, there is yellow. Outlines are drawn over it.
    """
    picture = np.zeros((*file.shape, 3), np.uint8)
    for one in segmented:
        heat = one.result.heat
        assert heat is not None
        gray = one.result.image[..., None].astype(np.float32)
        # From black over red to yellow, as glowing iron.
        glow = np.stack([2 * heat, 2 * heat - 1, np.zeros_like(heat)], axis=-1)
        colours = np.clip(glow, 0, 1) * 255
        opacity = _MOST_OPAQUE * heat[..., None]
        mixed = (gray * (1 - opacity) + colours * opacity).round().astype(np.uint8)
        draw_outline(mixed, one.result.mask, _STROKE, PREDICTION)
        picture[one.view.region.slices] = mixed
    return picture


@refuses_damage
def make_capture(
    file: DicomFile,
    segmented: Sequence[Segmented],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Dataset:
    """The overlay of one frame as a Secondary Capture Image.

    Args:
        file: the image that was segmented.
        segmented: the regions of one frame; of a loop for example of the frame with the largest lesion.
        algorithm: what segmented them.
        options: see `sonoseg.dicom.options.Options`.

    Raises:
        InputError: the image has no UIDs to refer to; or patient data are to be replaced and the file does not say
            where the B-mode image lies, so that names in the picture might be copied.
    """
    options = options or Options()
    if options.pseudonym is not None and file.is_whole_frame:
        problem = "does not set the B-mode image apart, so the picture may show a name"
        raise InputError(file.header.subject, problem, "leave sc out")
    picture = draw_capture(file, segmented)
    side = file.dataset.get("ImageLaterality") or file.dataset.get("Laterality")
    side = side if side in _SIDES else ""
    # It is a property of the series (PS3.3 C.7.3.1), so that each side has its own.
    capture = new_object.new_object(file, new_object.SC, algorithm, options, (side,))
    add_image(capture, file, samples=3, bits=8)
    capture.PlanarConfiguration = 0
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.ConversionType = "DI"
    capture.Laterality = side  # required, may be empty
    capture.BurnedInAnnotation = "YES" if file.is_whole_frame else "NO"
    return new_object.finish(capture, picture.tobytes())
