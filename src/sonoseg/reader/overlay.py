"""The overlay picture: the image with the lesion's outline, its two diameters as calipers, and a caption."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sonoseg.core.image import Image as Source
from sonoseg.core.measure import Point
from sonoseg.describe.malignancy_words import percent
from sonoseg.errors import visible
from sonoseg.files import atomic_path
from sonoseg.reader.labels import draw_labels
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.strokes import Colour, draw_caliper, draw_outline

PREDICTION: Colour = (64, 208, 255)
TRUTH: Colour = (255, 160, 40)
CALIPER: Colour = (255, 226, 90)
WARNING: Colour = (255, 96, 80)
NOTICE = "Research use, not a medical device"
UNKNOWN = "Do not trust this: not an image that the network knows"
DOUBT = "Do not trust this: there are doubts about the image"
_WHITE: Colour = (235, 235, 235)
MIN_WIDTH, MAX_SIDE = 640, 2048
_LABELLED = 4  # more lesions than this would hide the picture under their labels


class _Layout(NamedTuple):
    """How large a result is drawn.

    Attributes:
        size: (width, height) of the drawn image, without the caption.
        scale: drawn pixels per pixel of the image, (x, y); they differ where the image's pixels are not square.
        stroke: width of a line.
        text_size: height of the letters.
    """

    size: tuple[int, int]
    scale: Point
    stroke: float
    text_size: float


def _layout(image: Source, frame: bool = False) -> _Layout:
    """The layout for an image; as a frame of a video it keeps its own size."""
    height, width = image.pixels.shape
    x, y = 1.0, 1.0
    if not frame:
        row, column = image.spacing or (1.0, 1.0)
        x, y = column / min(row, column), row / min(row, column)  # makes pixels square
        enlarged = max(1.0, MIN_WIDTH / (width * x))
        scale = min(enlarged, MAX_SIDE / max(height * y, width * x))
        x, y = x * scale, y * scale
    size = max(1, round(width * x)), max(1, round(height * y))
    return _Layout(
        size, (x, y), max(1.5, max(size) / 450), max(size[0], MIN_WIDTH) / 42
    )


def draw_overlay(
    result: SegmentationResult,
    truth: NDArray[np.bool_] | None = None,
    malignancy: bool = False,
) -> NDArray[np.uint8]:
    """Draws a result: outlines, calipers with lengths (mm if the spacing is known), model and notice below.

    Small images are enlarged to `MIN_WIDTH`, so that text stays legible; those over `MAX_SIDE` are made smaller. Where
    the spacing of rows and columns differs, the image is stretched, so that shapes and right angles are true.

    Args:
        result: a segmented image (H, W).
        truth: (H, W) bool, a reference mask, drawn as a second outline in another colour.
        malignancy: say below the picture how probable it is that the largest lesion is malignant, if the network
            judges that.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    layout = _layout(result.record)
    canvas = _drawn(result, truth, layout)
    words = _malignancy(result) if malignancy else ""
    has_truth = truth is not None
    return np.array(_with_caption(canvas, result, has_truth, layout.text_size, words))


def _malignancy(result: SegmentationResult) -> str:
    found = result.lesions[0].malignancy if result.lesions else None
    if found is None:
        return ""
    return f"largest lesion malignant: {percent(found)}. No diagnosis"


def draw_heat(
    result: SegmentationResult, heat: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Draws where the network looked: the heat over the image, with the outline, a scale and what it is.

    Args:
        result: a segmented image (H, W).
        heat: (H, W) in 0..1, see `Segmenter.explain`.

    Returns:
        (H', W', 3) uint8 RGB, of the size of `draw_overlay`.
    """
    layout = _layout(result.record)
    source = Image.fromarray(result.image)
    gray = np.asarray(source.resize(layout.size, Image.Resampling.BICUBIC), np.float32)
    warm = np.asarray(
        Image.fromarray(heat).resize(layout.size, Image.Resampling.BILINEAR)
    )
    warm = np.clip(warm, 0, 1)
    opacity = (0.1 + 0.6 * warm)[..., None]
    mixed = gray[..., None] * (1 - opacity) + _colours(warm) * opacity
    picture = mixed.round().astype(np.uint8)
    draw_outline(picture, result.mask, layout.stroke, PREDICTION)
    framed = _with_caption(Image.fromarray(picture), result, False, layout.text_size)
    _draw_heat_scale(framed, layout, is_zero=not heat.any())
    return np.array(framed)


def _draw_heat_scale(framed: Image.Image, layout: _Layout, is_zero: bool) -> None:
    """Draws the colours from 0 to 1 into the caption, with what they mean."""
    line = round(1.6 * layout.text_size)
    steps = np.linspace(0, 1, 8 * line, dtype=np.float32)[None]
    scale_bar = _colours(steps).repeat(line // 2, 0).astype(np.uint8)
    left, top = framed.width - round(9.2 * line), layout.size[1] + line // 2
    framed.paste(Image.fromarray(scale_bar), (left, top))
    draw, font = ImageDraw.Draw(framed), ImageFont.load_default(layout.text_size)
    words = (
        "Grad-CAM, bottleneck: zero everywhere  0 "
        if is_zero
        else "Grad-CAM, bottleneck  0 "
    )
    middle = top + line // 4
    draw.text((left, middle), words, font=font, fill=_WHITE, anchor="rm")
    draw.text((left + 8 * line, middle), " 1", font=font, fill=_WHITE, anchor="lm")


_HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Five colours of Matplotlib's inferno, at 0, ¼, ½, ¾ and 1."""


def _colours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in 0..1 → (H, W, 3) in 0..255."""
    places, colours = np.linspace(0, 1, len(_HEAT)), np.array(_HEAT)
    channels = [np.interp(heat, places, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def draw_frame(result: SegmentationResult) -> NDArray[np.uint8]:
    """Draws a result as a frame of a video: (H, W, 3) uint8 RGB of the image's own size, the notice at its foot."""
    height, width = result.image.shape
    canvas = _drawn(result, None, _layout(result.record, frame=True))
    notice = _line(NOTICE, _WHITE, width)
    canvas.paste(notice, (0, height - notice.height), notice)
    if result.doubts:
        doubt = _line(_warning(result), WARNING, width)
        canvas.paste(doubt, (0, 0), doubt)
    return np.array(canvas)


def _warning(result: SegmentationResult) -> str:
    """What is said of a result with doubts."""
    return DOUBT if (result.unfamiliarity or 0) <= 1 else UNKNOWN


@functools.lru_cache(maxsize=8)
def _line(words: str, colour: Colour, width: int) -> Image.Image:
    """A line of outlined letters on nothing (RGBA), as wide as a frame."""
    text_size = max(width, MIN_WIDTH) / 42
    length = ImageDraw.Draw(Image.new("L", (1, 1))).textlength(
        words, font=ImageFont.load_default(text_size)
    )
    text_size = max(1.0, min(1.0, 0.9 * width / length) * text_size)
    strip = Image.new("RGBA", (width, math.ceil(1.6 * text_size)))
    place, font = (0.02 * width, strip.height / 2), ImageFont.load_default(text_size)
    ImageDraw.Draw(strip).text(
        place, words, colour, font, "lm", stroke_width=1, stroke_fill=(0, 0, 0)
    )
    return strip


def _drawn(
    result: SegmentationResult, truth: NDArray[np.bool_] | None, layout: _Layout
) -> Image.Image:
    """The image at the layout's size with outlines, calipers and their lengths."""
    gray = Image.fromarray(result.image).resize(layout.size, Image.Resampling.BICUBIC)
    picture = np.array(gray.convert("RGB"))
    if truth is not None:
        draw_outline(picture, truth, layout.stroke, TRUTH)
    draw_outline(picture, result.mask, layout.stroke, PREDICTION)
    labelled = result.lesions[:_LABELLED]
    for lesion in labelled:
        for diameter in (lesion.longest, lesion.across):
            start = np.multiply(diameter.start, layout.scale)
            end = np.multiply(diameter.end, layout.scale)
            draw_caliper(picture, start, end, layout.stroke, CALIPER)
    canvas = Image.fromarray(picture)
    draw_labels(canvas, labelled, result.unit, layout.scale, layout.text_size, CALIPER)
    return canvas


def write_picture(path: Path | str, picture: NDArray[np.uint8]) -> None:
    """Writes a picture (H, W, 3) or (H, W) uint8 as PNG, atomically."""
    with atomic_path(path) as temporary:
        save_picture(temporary, picture)


def save_picture(path: Path | IO[bytes], picture: NDArray[np.uint8]) -> None:
    """Writes a picture (H, W, 3) or (H, W) uint8 as PNG to a path, not atomically, or to an open file."""
    # The lowest compression takes a quarter of the time for a sixth more bytes.
    Image.fromarray(picture).save(path, format="PNG", compress_level=1)


def _with_caption(
    canvas: Image.Image,
    result: SegmentationResult,
    has_truth: bool,
    text_size: float,
    words: str = "",
) -> Image.Image:
    """The picture over a strip with legend, words in a line of their own, model name and notice."""
    count = len(result.lesions)
    found = {0: "no lesion found", 1: "1 lesion"}.get(count, f"{count} lesions")
    entries = [(PREDICTION, f"prediction: {found}")]
    if has_truth:
        entries.append((TRUTH, "ground truth"))
    line = round(1.6 * text_size)
    width = max(canvas.width, MIN_WIDTH)
    lines = [(words, _WHITE)] if words else []
    if result.doubts:
        lines.append((_warning(result), WARNING))
    foot = (2 + len(lines)) * line + line // 2
    framed = Image.new("RGB", (width, canvas.height + foot), (18, 20, 23))
    framed.paste(canvas, ((width - canvas.width) // 2, 0))
    draw, font = ImageDraw.Draw(framed), ImageFont.load_default(text_size)
    x, y = line / 2, canvas.height + line * 0.75
    for colour, text in entries:
        draw.rounded_rectangle(
            (x, y - line / 10, x + line, y + line / 10), line / 10, fill=colour
        )
        draw.text((x + 1.4 * line, y), text, font=font, fill=_WHITE, anchor="lm")
        x += 2.2 * line + draw.textlength(text, font=font)
    for text, colour in lines:
        y += line
        draw.text((line / 2, y), text, font=font, fill=colour, anchor="lm")
    notice = f"{NOTICE}. Model: {visible(result.model)}"
    fit = (width - line) / draw.textlength(notice, font=font)
    if (
        fit < 1
    ):  # a long name in smaller letters, with room for their rounding to whole pixels
        font = ImageFont.load_default(0.9 * fit * text_size)
    draw.text(
        (line / 2, y + line), notice, font=font, fill=(160, 165, 172), anchor="lm"
    )
    return framed
