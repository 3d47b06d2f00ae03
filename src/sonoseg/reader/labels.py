"""Labels beside the lesions of an overlay picture: what they say, and where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from sonoseg.core.measure import Lesion, Point
from sonoseg.reader.strokes import Colour

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in drawn pixels."""


def label_text(lesion: Lesion, unit: str) -> str:
    """The two lengths that are written beside a lesion."""
    digits = 0 if unit == "px" else 1
    return (
        f"{lesion.longest.length:.{digits}f} x {lesion.across.length:.{digits}f} {unit}"
    )


def draw_labels(
    canvas: Image.Image,
    lesions: Sequence[Lesion],
    unit: str,
    scale: Point,
    text_size: float,
    colour: Colour,
) -> None:
    """Writes each lesion's two lengths beside it, where there is room.

    Args:
        canvas: the drawn picture; it is changed.
        lesions: those that get a label.
        unit: of their lengths.
        scale: drawn pixels per pixel of the image, (x, y).
        text_size: height of the letters.
        colour: of the letters.
    """
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(text_size)
    # A label must hide neither a lesion nor another label.
    taken = [_drawn_box(lesion, scale) for lesion in lesions]
    for lesion in lesions:
        text = label_text(lesion, unit)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        pad = (bottom - top) / 2
        size = right - left + 2 * pad, bottom - top + 2 * pad
        box = _free_place(_drawn_box(lesion, scale), size, pad, canvas.size, taken)
        taken.append(box)
        draw.rounded_rectangle(box, radius=pad / 2, fill=(0, 0, 0, 150))
        corner = box[0] + pad - left, box[1] + pad - top
        draw.text(corner, text, font=font, fill=colour)


def _drawn_box(lesion: Lesion, scale: Point) -> Box:
    """The rectangle around a lesion in the drawn picture."""
    left, top, width, height = lesion.box
    x, y = scale
    return left * x, top * y, (left + width) * x, (top + height) * y


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
    inside = [
        box
        for box in boxes
        if min(box) >= 0 and box[2] <= limits[0] and box[3] <= limits[1]
    ]
    for box in inside:
        if _is_free(box, taken):
            return box
    foot = x, limits[1] - height - gap, x + width, limits[1] - gap
    return inside[0] if inside else foot


def _is_free(box: Box, taken: list[Box]) -> bool:
    return not any(_overlap(box, other) for other in taken)


def _overlap(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2]
        and other[0] < one[2]
        and one[1] < other[3]
        and other[1] < one[3]
    )
