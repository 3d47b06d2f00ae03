"""From an image's bytes to the answer of the service: the result as JSON, with outlines and pictures in it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

import sonoseg
from sonoseg.core.contour import lesion_contours
from sonoseg.core.image import Image, parse_spacing, read_image
from sonoseg.core.measure import drop_small
from sonoseg.core.resize import enlarge, reach
from sonoseg.core.source import check_dimensions, opened
from sonoseg.reader.card import Card
from sonoseg.reader.overlay import NOTICE
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.limits import Limits

if TYPE_CHECKING:
    from sonoseg.serve.refine import Corrections


def read_upload(content: bytes, limits: Limits, spacing: str | None = None) -> Image:
    """The image in a request.

    Args:
        content: of a PNG, JPEG, TIFF or BMP file.
        limits: its header is held against `limits.pixels` before anything is decoded.
        spacing: mm per pixel, see `parse_spacing`; None or "" if it is not known.

    Raises:
        InputError: it is no image that can be used, or too large; or the spacing is no pixel size.
    """
    pair = parse_spacing(spacing) if spacing else None
    with opened(content) as (header, subject):
        check_dimensions(subject, header.width, header.height, limits.pixels)
    return read_image(content, pair)


def mask_at(
    result: SegmentationResult, threshold: float, card: Card
) -> NDArray[np.bool_]:
    """The mask (H, W) at another threshold; at the card's own it is the result's mask.

    Args:
        result: of a segmented image.
        threshold: probability from which a pixel is lesion, above 0 and below 1.
        card: of the network; says which parts are too small.
    """
    if threshold == card.threshold:
        return result.mask
    shape = result.mask.shape
    mask = np.zeros(shape, bool)
    region = reach(result.network_map >= threshold, shape)
    outlined = enlarge(result.network_map, shape, region) >= threshold
    mask[region] = drop_small(outlined, card.min_lesion_fraction * mask.size)
    return mask


def segment_upload(
    segmenter: Segmenter,
    limits: Limits,
    content: bytes,
    spacing: str | None,
    explain: bool,
    threshold: float | None,
    corrections: Corrections | None = None,
) -> dict[str, Any]:
    """The answer of POST /api/segment and /api/refine about a picture.

    Raises:
        InputError: see `read_upload`; or the network cannot explain; or the corrections do not fit the image.
    """
    image = read_upload(content, limits, spacing)
    if corrections is not None:
        corrections.check(image.pixels.shape)
    result = segmenter.segment(image, explain=explain)
    cut = segmenter.card.threshold if threshold is None else threshold
    mask = mask_at(result, cut, segmenter.card)
    if corrections is not None:
        mask = corrections.apply(result, mask)
    return describe(segmenter, replace(result, mask=mask), cut)


def describe(
    segmenter: Segmenter, result: SegmentationResult, threshold: float
) -> dict[str, Any]:
    """A result as JSON: see `sonoseg.serve.schemas.SegmentAnswer`."""
    answer = {
        "sonoseg": sonoseg.__version__,
        "notice": NOTICE,
        "model": describe_model(segmenter),
        **result.to_dict(),
        "threshold": threshold,
        "mask": png_text(result.mask.astype(np.uint8) * 255),
    }
    contours = lesion_contours(result.mask)
    for lesion, contour in zip(answer["lesions"], contours, strict=True):
        lesion["unit"] = answer["unit"]
        lesion["contour"] = contour
    if result.heat is not None:
        heat = np.rint(result.heat * 255)
        answer["heat"] = png_text(heat.astype(np.uint8))
    return answer


def describe_model(segmenter: Segmenter) -> dict[str, Any]:
    """Name, version and checksum of the network, and its operating point."""
    card = segmenter.card
    return {
        "name": card.name,
        "version": card.version,
        "sha256": segmenter.sha256,
        "sensitivity": segmenter.sensitivity,
    }


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A gray picture (H, W) uint8 as the bytes of a PNG file."""
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def png_text(pixels: NDArray[np.uint8]) -> str:
    """A gray picture (H, W) uint8 as a PNG file in base64."""
    return base64.b64encode(png(pixels)).decode("ascii")
