"""A mask is its lesion, however it was painted and saved; what does not tell its lesion is refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sonoseg.core.mask import check_filled, read_mask, read_reference
from sonoseg.errors import InputError

SIZE = (120, 160)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
LESION = ((ROWS - 55) / 30) ** 2 + ((COLUMNS - 70) / 38) ** 2 < 1
SECOND = ((ROWS - 95) / 12) ** 2 + ((COLUMNS - 130) / 14) ** 2 < 1
ONES = LESION.astype(np.uint8)
WHITE = ONES * 255
RING = (((ROWS - 55) / 36) ** 2 + ((COLUMNS - 70) / 44) ** 2 < 1) & ~LESION


def _saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _painted(
    colour: tuple[int, ...], ground: tuple[int, ...] | None = None
) -> Image.Image:
    ground = (0,) * len(colour) if ground is None else ground
    return Image.fromarray(np.where(LESION[..., None], colour, ground).astype(np.uint8))


def _palette(indices: NDArray[np.uint8], *colours: int) -> Image.Image:
    image = Image.fromarray(indices).convert("P")
    image.putpalette([*colours, *[0] * (768 - len(colours))])
    return image


def _transparent(
    *colours: Image.Image, alpha: NDArray[np.uint8] = WHITE
) -> Image.Image:
    return Image.merge(
        "RGBA" if len(colours) == 3 else "LA", [*colours, Image.fromarray(alpha)]
    )


FLAT = Image.new("L", SIZE[::-1], 255)
BLACK = Image.new("L", SIZE[::-1], 0)
PAINTED = {
    "white": Image.fromarray(WHITE),
    "1 bit": Image.fromarray(LESION),
    "0 and 1": Image.fromarray(ONES),
    "16 bits": Image.fromarray(ONES.astype(np.uint16)),
    "float": Image.fromarray(ONES.astype(np.float32)),
    "red": _painted((255, 0, 0)),
    "dark blue": _painted((0, 0, 4)),
    "opaque": _painted((255, 255, 255, 255), (0, 0, 0, 255)),
    "transparent ground": _painted((255, 255, 255, 255), (0, 0, 0, 0)),
    "red on transparent white": _painted((255, 0, 0, 255), (255, 255, 255, 0)),
    "all transparent": _painted((255, 255, 255, 0), (0, 0, 0, 0)),
    "white with alpha": _transparent(FLAT, FLAT, FLAT),
    "black with alpha": _transparent(BLACK, BLACK, BLACK),
    "gray with alpha": _transparent(FLAT),
    "palette": _palette(ONES, 0, 0, 0, 200, 0, 0),
    "dark palette": _palette(ONES, 0, 0, 0, 1, 1, 1),
    "black palette": _palette(ONES, 0, 0, 0),
    "white palette of one colour": _palette(ONES, 255, 255, 255, 255, 255, 255),
}


@pytest.mark.parametrize("kind", PAINTED)
def test_a_lesion_of_one_colour_on_black_is_read_as_painted(kind: str) -> None:
    image = PAINTED[kind]
    sources = [image, _saved(image, "TIFF")] + (
        [] if kind == "float" else [_saved(image)]
    )
    for source in sources:
        mask = read_mask(source)
        assert mask.pixels.dtype == np.bool_
        np.testing.assert_array_equal(mask.pixels, LESION)
        assert mask.between == 0


LABELS = {
    "0, 1, 2": (ONES + 2 * SECOND.astype(np.uint8)),
    "0, 3, 15": (ONES * 3 + 15 * SECOND.astype(np.uint8)),
    "0, 1, 2 in 16 bits": (ONES + 2 * SECOND.astype(np.uint16)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_small_label_is_lesion(kind: str) -> None:
    mask = read_mask(_saved(Image.fromarray(LABELS[kind])))
    np.testing.assert_array_equal(mask.pixels, LESION | SECOND)
    assert (mask.between, mask.cut) == (1, 0)


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_are_no_shades(bits: int) -> None:
    gray = Image.fromarray(LABELS["0, 1, 2"])
    gray = gray.convert("P")
    gray.putpalette([value // 3 for value in range(768)])
    content = bytearray(_saved(gray, bits=bits))
    assert content[24] == bits
    np.testing.assert_array_equal(read_mask(bytes(content)).pixels, LESION | SECOND)


def test_colours_of_a_palette_and_of_pixels_are_all_lesion() -> None:
    labels = ONES + 2 * SECOND.astype(np.uint8)
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 60, 0)], np.uint8)
    for image in (
        _palette(labels, 0, 0, 0, 128, 0, 0, 0, 60, 0),
        Image.fromarray(colours[labels]),
    ):
        np.testing.assert_array_equal(read_mask(_saved(image)).pixels, LESION | SECOND)


def _enlarged(factor: int, how: Image.Resampling) -> Image.Image:
    small = Image.fromarray(WHITE).resize(
        (SIZE[1] // factor, SIZE[0] // factor), Image.Resampling.BOX
    )
    return small.resize(SIZE[::-1], how)


DISTANCE = 1 - np.hypot((ROWS - 55) / 30, (COLUMNS - 70) / 38)
SOFT = np.asarray(_enlarged(2, Image.Resampling.BILINEAR))
PROBABILITY = 1 / (1 + np.exp(-8 * DISTANCE))
SHADED = {
    "JPEG of 75": (_saved(Image.fromarray(WHITE), "JPEG", quality=75), 0.01),
    "JPEG of 95": (_saved(Image.fromarray(WHITE), "JPEG", quality=95), 0.01),
    "JPEG of 10": (_saved(Image.fromarray(WHITE), "JPEG", quality=10), 0.02),
    "JPEG in colour": (_saved(_painted((255, 0, 0)), "JPEG", quality=90), 0.02),
    "JPEG in TIFF": (_saved(Image.fromarray(WHITE), "TIFF", compression="jpeg"), 0.01),
    "PNG of a JPEG": (
        _saved(
            Image.open(io.BytesIO(_saved(Image.fromarray(WHITE), "JPEG", quality=60)))
        ),
        0.01,
    ),
    "bilinear": (_saved(_enlarged(2, Image.Resampling.BILINEAR)), 0.02),
    "bicubic": (_saved(_enlarged(4, Image.Resampling.BICUBIC)), 0.03),
    "alpha": (
        _transparent(
            FLAT, FLAT, FLAT, alpha=np.asarray(_enlarged(2, Image.Resampling.BILINEAR))
        ),
        0.02,
    ),
    "red with alpha": (
        _transparent(
            FLAT,
            BLACK,
            BLACK,
            alpha=np.asarray(_enlarged(2, Image.Resampling.BILINEAR)),
        ),
        0.02,
    ),
    "red on black with alpha": (
        Image.fromarray(np.dstack([SOFT.clip(0, 1) * 255, SOFT * 0, SOFT * 0, SOFT])),
        0.02,
    ),
    "premultiplied alpha": (Image.fromarray(np.dstack([SOFT] * 4)), 0.02),
    "probability": (
        _saved(Image.fromarray((PROBABILITY * 255).round().astype(np.uint8))),
        0.01,
    ),
    "faint probability": (
        _saved(Image.fromarray((PROBABILITY * 60).round().astype(np.uint8))),
        0.02,
    ),
    "probability in 16 bits": (
        _saved(Image.fromarray((PROBABILITY * 65535).astype(np.uint16))),
        0.01,
    ),
    "probability in numbers": (
        _saved(Image.fromarray(PROBABILITY.astype(np.float32)), "TIFF"),
        0.01,
    ),
    "array": (PROBABILITY, 0.01),
}


@pytest.mark.parametrize("kind", SHADED)
def test_shades_are_cut_halfway_to_the_largest(kind: str) -> None:
    source, tolerance = SHADED[kind]
    mask = read_mask(source)
    largest = PROBABILITY.max() if "probability" in kind or kind == "array" else 1
    expected = LESION if largest == 1 else largest / 2 < PROBABILITY
    assert mask.between > 0
    assert abs(mask.pixels.sum() / expected.sum() - 1) < tolerance
    assert (mask.pixels != expected).sum() < 2 * tolerance * expected.sum() + 9


def test_four_bit_shades_are_cut_and_not_taken_for_labels() -> None:
    edges = np.asarray(_enlarged(4, Image.Resampling.BILINEAR)) // 17
    image = Image.fromarray(edges).convert("P")
    image.putpalette([value // 3 * 17 for value in range(48)])
    rows = np.asarray(image)
    packed = Image.frombytes(
        "L", SIZE[::-1], (rows[:, ::2] << 4 | rows[:, 1::2]).tobytes(), "raw", "L;4"
    )
    packed.save(buffer := io.BytesIO(), "TIFF")
    mask = read_mask(buffer.getvalue())
    assert abs(mask.pixels.sum() / LESION.sum() - 1) < 0.03


@pytest.mark.parametrize("white", [40, 100, 200])
@pytest.mark.parametrize("quality", [70, 85])
@pytest.mark.parametrize("again", [False, True])
def test_gray_lesions_that_compression_has_made_brighter_in_spots_are_no_levels(
    white: int, quality: int, again: bool
) -> None:
    for row in range(10, 19):  # JPEG's blocks lie differently on each
        lesion = np.zeros((40, 48), bool)
        lesion[row : row + 12, row : row + 17] = True
        saved = _saved(
            Image.fromarray(lesion.astype(np.uint8) * white), "JPEG", quality=quality
        )
        mask = read_mask(_saved(Image.open(io.BytesIO(saved))) if again else saved)
        assert (mask.pixels != lesion).sum() <= 0.02 * lesion.sum()


@pytest.mark.parametrize("shade", [255, 128])
def test_a_mask_that_is_wholly_transparent_is_empty(shade: int) -> None:
    """Where the lesion is in the alpha channel, this is the mask of a normal image."""
    flat = Image.new("L", SIZE[::-1], shade)
    for colours in ([flat], [flat] * 3):
        image = _transparent(*colours, alpha=np.zeros_like(WHITE))
        for source in (image, _saved(image)):
            assert not read_mask(source).pixels.any()


REFUSED = {
    "opaque white": (
        _transparent(FLAT, alpha=np.full_like(WHITE, 255)),
        "no black background .it has one colour",
    ),
    "inverted": (Image.fromarray(255 - WHITE), "seems to be inverted"),
    "inverted JPEG": (
        _saved(Image.fromarray(255 - WHITE), "JPEG"),
        "seems to be inverted",
    ),
    "inverted 0 and 1": (Image.fromarray(1 - ONES), "seems to be inverted"),
    "inverted alpha": (_transparent(FLAT, alpha=255 - WHITE), "seems to be inverted"),
    "white": (FLAT, "no black background .it has one colour"),
    "white palette": (_palette(ONES, 255, 255, 255, 200, 0, 0), "no black background"),
    "gray ground": (
        Image.fromarray(np.where(LESION, 255, 90).astype(np.uint8)),
        "no black background",
    ),
    "labels from 1": (Image.fromarray(ONES + 1), "no black background"),
    "red on white": (_painted((255, 0, 0), (255, 255, 255)), "no black background"),
    "ignore ring": (
        Image.fromarray(np.where(RING, 255, ONES)),
        'labels 1 and the value 255, which may mean "ignore"',
    ),
    "ignore in a palette": (
        _palette(np.where(RING, 255, ONES).astype(np.uint8), 0, 0, 0, 128, 0, 0),
        "ignore",
    ),
    "white among colours": (
        Image.fromarray(
            np.select(
                [LESION[..., None], RING[..., None]], [(255, 0, 0), (224, 224, 192)]
            ).astype(np.uint8)
        ),
        "colours, and gray or white",
    ),
    "white among colours as bright": (
        Image.fromarray(
            np.select(
                [LESION[..., None], SECOND[..., None]], [(255, 0, 0), (255, 255, 255)]
            ).astype(np.uint8)
        ),
        "colours, and gray or white",
    ),
    "three levels": (
        Image.fromarray(np.select([LESION, RING], [255, 128]).astype(np.uint8)),
        "areas of gray between",
    ),
    "levels in JPEG": (
        _saved(
            Image.fromarray(np.select([LESION, SECOND], [255, 128]).astype(np.uint8)),
            "JPEG",
            quality=90,
        ),
        "areas of gray between",
    ),
    "labels in JPEG": (
        _saved(Image.fromarray(LABELS["0, 1, 2"] * 2), "JPEG", quality=90),
        "which lossy compression changes",
    ),
    "alpha at odds": (
        _painted((255, 255, 255, 0), (0, 0, 0, 255)),
        "colours and the transparency",
    ),
    "below 0": (Image.fromarray(DISTANCE.astype(np.float32)), "values below 0"),
    "NaN": (
        Image.fromarray(np.where(LESION, np.nan, 0).astype(np.float32)),
        "not finite",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_mask_that_does_not_tell_its_lesion_is_refused_in_one_line(kind: str) -> None:
    source, problem = REFUSED[kind]
    with pytest.raises(InputError, match=problem) as error:
        read_mask(source)
    assert str(error.value).startswith("image: ")
    assert "; " in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_in_the_place_of_its_mask_is_refused() -> None:
    speckle = Image.fromarray(
        np.random.default_rng(0).normal(size=(40, 53)).astype(np.float32)
    ).resize(SIZE[::-1])
    image = (
        (np.where(LESION, 30, 120) * (1 + 0.35 * np.asarray(speckle)))
        .clip(0, 255)
        .astype(np.uint8)
    )
    for source in (
        image,
        _saved(Image.fromarray(image), "JPEG", quality=80),
        image.astype(np.float32) / 255,
    ):
        with pytest.raises(
            InputError,
            match=r"seems to be an image: \d+% of what is not black is gray; paint",
        ):
            read_mask(source)
    cut_out = np.where(LESION, image, 0)
    assert LESION.mean() < 0.25
    with pytest.raises(InputError, match="seems to be an image"):
        read_mask(cut_out)


def test_a_mask_without_lesion_is_empty() -> None:
    for empty in (
        BLACK,
        BLACK.convert("RGB"),
        BLACK.convert("RGBA"),
        BLACK.convert("1"),
        BLACK.convert("P"),
    ):
        mask = read_mask(_saved(empty))
        assert not mask.pixels.any()
        assert mask.between == 0


def test_a_lesion_may_be_large_and_lie_at_the_border() -> None:
    large = np.zeros(SIZE, np.uint8)
    large[5:, 10:150] = 255
    np.testing.assert_array_equal(read_mask(large).pixels, large > 0)


@pytest.mark.parametrize("height", [255, 256, 257, 258, 600])
def test_tall_masks_are_read_in_parts_as_in_one(height: int) -> None:
    rows, columns = np.mgrid[:height, :40]
    lesion = (abs(rows - height / 2) < height / 2 - 8) & (abs(columns - 20) < 9)
    smooth = np.asarray(
        Image.fromarray(lesion.astype(np.uint8) * 255).resize(
            (20, height // 2), Image.Resampling.BOX
        )
    )
    mask = read_mask(
        Image.fromarray(smooth).resize((40, height), Image.Resampling.BILINEAR)
    )
    assert (mask.pixels != lesion).mean() < 0.02
    levels = np.where(lesion, 255, 0).astype(np.uint8)
    levels[-20:-10, 5:15] = 128
    levels[-9] = np.arange(40)  # more values than labels have
    with pytest.raises(InputError, match="areas of gray between"):
        read_mask(levels)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_an_outline_that_is_not_filled_is_no_reference(
    tmp_path: Path, width: int, mode: str, is_cut: bool
) -> None:
    """Also one that ends at the border of the image, so that nothing is enclosed."""
    top = -35 if is_cut else 20
    image, path = Image.new(mode, SIZE[::-1]), tmp_path / "a.png"
    box = (30, top, 110, top + 70)
    ImageDraw.Draw(image).ellipse(box, outline="white", width=width)
    image.save(path)
    assert read_mask(path).pixels.any()  # the mask of a network may be a ring
    words = r"a\.png: the mask seems to be an outline: it covers \d+% of what it encloses; fill the outline"
    with pytest.raises(InputError, match=words):
        read_reference(path)
    ImageDraw.Draw(image).ellipse(box, fill="white")
    image.save(path)
    assert read_reference(path).pixels.any()


def test_one_outline_beside_a_filled_lesion_is_found() -> None:
    ring = ((ROWS - 95) / 14) ** 2 + ((COLUMNS - 130) / 16) ** 2 < 1
    with pytest.raises(InputError, match="seems to be an outline"):
        check_filled(Path("a.png"), LESION | (ring & ~SECOND))
    check_filled(Path("a.png"), LESION | SECOND)


@pytest.mark.parametrize("radius", [15, 25, 40])
def test_a_filled_body_with_long_spicules_is_no_outline(radius: int) -> None:
    image = Image.new("1", (400, 400))
    draw = ImageDraw.Draw(image)
    draw.circle((200, 200), radius, fill=1)
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        away = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-away[1], away[0]])
        base, tip = 200 + away * radius * 0.9, 200 + away * radius * 3
        corners = (base + across * 1.5, base - across * 1.5, tip)
        draw.polygon([tuple(corner) for corner in corners], fill=1)
    check_filled(Path("a.png"), np.asarray(image))


def test_holes_specks_and_thin_lines_are_no_outlines() -> None:
    path = Path("a.png")
    hole = (ROWS - 55) ** 2 + (COLUMNS - 70) ** 2 < 15**2
    check_filled(path, LESION & ~hole)
    specks = LESION.copy()
    specks[100:103, 10:13] = True
    specks[101, 11] = False
    check_filled(path, specks)
    check_filled(path, np.eye(40, dtype=bool))
    check_filled(path, np.zeros(SIZE, bool))
