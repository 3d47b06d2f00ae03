"""The overlay picture: the image with the lesion's outline, its two diameters as calipers, and a caption."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sonoseg.core.measure import Lesion, Point
from sonoseg.errors import visible
from sonoseg.files import atomic_path
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.strokes import Colour, draw_caliper, draw_outline

Box = tuple[float, float, float, float]

PREDICTION: Colour = (64, 208, 255)
TRUTH: Colour = (255, 160, 40)
CALIPER: Colour = (255, 226, 90)
WARNING: Colour = (255, 96, 80)
NOTICE = "Research use, not a medical device"
DOUBT = "Do not trust this: not an image that the network knows"
MIN_WIDTH, MAX_SIDE = 640, 2048
_LABELLED = 4  # more lesions than this would hide the picture under their labels


def draw_overlay(
    result: SegmentationResult, truth: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Draws a result: outlines, calipers with lengths (mm if the spacing is known), model and notice below.

    Small images are enlarged to `MIN_WIDTH`, so that text stays legible; those over `MAX_SIDE` made smaller.

    Args:
        result: a segmented image (H, W).
        truth: (H, W) bool, drawn as a second outline in another colour.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    height, width = result.image.shape
    scale = min(max(1.0, MIN_WIDTH / width), MAX_SIDE / max(height, width))
    text_size = max(round(width * scale), MIN_WIDTH) / 42
    canvas = _drawn(result, truth, scale, text_size)
    return np.array(_with_caption(canvas, result, truth is not None, text_size))


def draw_heat(result: SegmentationResult, heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draws where the network looked: the heat over the image, with the outline, a scale and what it is.

    Args:
        result: a segmented image (H, W).
        heat: (H, W) in 0..1, see `Segmenter.explain`.

    Returns:
        (H', W', 3) uint8 RGB, of the size of `draw_overlay`.
    """
    height, width = result.image.shape
    scale = min(max(1.0, MIN_WIDTH / width), MAX_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    gray = np.asarray(
        Image.fromarray(result.image).resize(size, Image.Resampling.BICUBIC), np.float32
    )[..., None]
    warm = np.clip(np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)), 0, 1)
    opacity = (0.1 + 0.6 * warm)[..., None]
    picture = (gray * (1 - opacity) + _colours(warm) * opacity).round().astype(np.uint8)
    draw_outline(picture, result.mask, max(1.5, max(size) / 450), PREDICTION)
    text_size = max(round(width * scale), MIN_WIDTH) / 42
    framed = _with_caption(Image.fromarray(picture), result, False, text_size)
    line = round(1.6 * text_size)
    scale_bar = _colours(np.linspace(0, 1, 8 * line, dtype=np.float32)[None]).repeat(line // 2, 0)
    left, top = framed.width - round(9.2 * line), size[1] + line // 2
    framed.paste(Image.fromarray(scale_bar.astype(np.uint8)), (left, top))
    draw, font, white = ImageDraw.Draw(framed), ImageFont.load_default(text_size), (235, 235, 235)
    words = "Grad-CAM, bottleneck" + ("" if heat.any() else ": zero everywhere") + "  0 "
    draw.text((left, top + line // 4), words, font=font, fill=white, anchor="rm")
    draw.text((left + 8 * line, top + line // 4), " 1", font=font, fill=white, anchor="lm")
    return np.array(framed)


_HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Five colours of Matplotlib's inferno, at 0, ¼, ½, ¾ and 1."""


def _colours(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) in 0..1 → (H, W, 3) in 0..255."""
    places = np.linspace(0, 1, len(_HEAT))
    return np.stack(
        [np.interp(heat, places, channel) for channel in zip(*_HEAT, strict=True)], -1
    ).astype(np.float32)


def draw_frame(result: SegmentationResult) -> NDArray[np.uint8]:
    """Draws a result as a frame of a video: (H, W, 3) uint8 RGB of the image's own size, the notice at its foot."""
    height, width = result.image.shape
    canvas = _drawn(result, None, 1.0, max(width, MIN_WIDTH) / 42)
    notice = _line(NOTICE, (235, 235, 235), width)
    canvas.paste(notice, (0, height - notice.height), notice)
    if result.doubts:
        doubt = _line(DOUBT, WARNING, width)
        canvas.paste(doubt, (0, 0), doubt)
    return np.array(canvas)


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
    result: SegmentationResult, truth: NDArray[np.bool_] | None, scale: float, text_size: float
) -> Image.Image:
    """The image, made larger or smaller by `scale`, with outlines, calipers and their lengths."""
    height, width = result.image.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    gray = Image.fromarray(result.image).resize(size, Image.Resampling.BICUBIC)
    picture = np.array(gray.convert("RGB"))
    stroke = max(1.5, max(size) / 450)
    if truth is not None:
        draw_outline(picture, truth, stroke, TRUTH)
    draw_outline(picture, result.mask, stroke, PREDICTION)
    for lesion in result.lesions[:_LABELLED]:
        for diameter in (lesion.longest, lesion.across):
            draw_caliper(picture, diameter, scale, stroke, CALIPER)
    canvas = Image.fromarray(picture)
    _draw_labels(canvas, result, scale, text_size)
    return canvas


def write_picture(path: Path | str, picture: NDArray[np.uint8]) -> None:
    """Writes a picture (H, W, 3) or (H, W) uint8 as PNG, atomically."""
    with atomic_path(path) as temporary:
        save_picture(temporary, picture)


def save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes a picture (H, W, 3) or (H, W) uint8 as PNG, not atomically."""
    # The lowest compression takes a quarter of the time for a sixth more bytes.
    Image.fromarray(picture).save(path, format="PNG", compress_level=1)


def _lengths(lesion: Lesion, spacing: float | None) -> str:
    lengths = lesion.longest.length, lesion.across.length
    if spacing is None:
        return "{:.0f} x {:.0f} px".format(*lengths)
    return "{:.1f} x {:.1f} mm".format(*(length * spacing for length in lengths))


def _draw_labels(
    canvas: Image.Image, result: SegmentationResult, scale: float, text_size: float
) -> None:
    """Writes each lesion's two lengths beside it, where there is room."""
    draw, font = ImageDraw.Draw(canvas, "RGBA"), ImageFont.load_default(text_size)
    shown = result.lesions[:_LABELLED]
    taken = [_box(np.multiply(lesion.box, scale)) for lesion in shown]
    for lesion in shown:
        text = _lengths(lesion, result.spacing)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        pad = (bottom - top) / 2
        size = right - left + 2 * pad, bottom - top + 2 * pad
        box = _free_place(_box(np.multiply(lesion.box, scale)), size, pad, canvas.size, taken)
        taken.append(box)
        draw.rounded_rectangle(box, radius=pad / 2, fill=(0, 0, 0, 150))
        draw.text((box[0] + pad - left, box[1] + pad - top), text, font=font, fill=CALIPER)


def _box(rectangle: NDArray[np.float64]) -> Box:
    """x, y, width, height → left, top, right, bottom."""
    x, y, width, height = map(float, rectangle)
    return x, y, x + width, y + height


def _free_place(
    lesion: Box, size: Point, gap: float, limits: tuple[int, int], taken: list[Box]
) -> Box:
    """A place for a label: below the lesion, above, right or left of it, else at the picture's foot."""
    width, height = size
    x = min(max((lesion[0] + lesion[2] - width) / 2, gap), limits[0] - width - gap)
    y = min(max((lesion[1] + lesion[3] - height) / 2, gap), limits[1] - height - gap)
    places = [
        (x, lesion[3] + gap),
        (x, lesion[1] - gap - height),
        (lesion[2] + gap, y),
        (lesion[0] - gap - width, y),
    ]
    boxes = [(left, top, left + width, top + height) for left, top in places]
    inside = [box for box in boxes if min(box) >= 0 and box[2] <= limits[0] and box[3] <= limits[1]]
    free = (box for box in inside if not any(_overlap(box, other) for other in taken))
    foot = x, limits[1] - height - gap, x + width, limits[1] - gap
    return next(free, inside[0] if inside else foot)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _with_caption(
    canvas: Image.Image, result: SegmentationResult, has_truth: bool, text_size: float
) -> Image.Image:
    """The picture over a strip with legend, model name and notice."""
    count = len(result.lesions)
    found = "no lesion found" if count == 0 else "1 lesion" if count == 1 else f"{count} lesions"
    entries = [(PREDICTION, f"prediction: {found}")] + (
        [(TRUTH, "ground truth")] if has_truth else []
    )
    line = round(1.6 * text_size)
    width = max(canvas.width, MIN_WIDTH)
    foot = 2 * line + line // 2 + (line if result.doubts else 0)
    framed = Image.new("RGB", (width, canvas.height + foot), (18, 20, 23))
    framed.paste(canvas, ((width - canvas.width) // 2, 0))
    draw, font = ImageDraw.Draw(framed), ImageFont.load_default(text_size)
    x, y = line / 2, canvas.height + line * 0.75
    for colour, text in entries:
        draw.rounded_rectangle((x, y - line / 10, x + line, y + line / 10), line / 10, fill=colour)
        draw.text((x + 1.4 * line, y), text, font=font, fill=(235, 235, 235), anchor="lm")
        x += 2.2 * line + draw.textlength(text, font=font)
    if result.doubts:
        y += line
        draw.text((line / 2, y), DOUBT, font=font, fill=WARNING, anchor="lm")
    notice = f"{NOTICE}. Model: {visible(result.model)}"
    fit = (width - line) / draw.textlength(notice, font=font)
    if fit < 1:  # a long name in smaller letters, with room for their rounding to whole pixels
        font = ImageFont.load_default(0.9 * fit * text_size)
    draw.text((line / 2, y + line), notice, font=font, fill=(160, 165, 172), anchor="lm")
    return framed
