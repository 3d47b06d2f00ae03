"""Outlines for annotation programs: COCO, GeoJSON (QuPath) and LabelMe, from masks.

Polygons run along the edges of pixels: the pixel in column x and row y reaches from (x, y) to (x + 1, y + 1). A pixel
whose centre lies in a polygon belongs to the mask, so nothing is lost.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.contour import APART, rings_of
from sonoseg.core.measure import connected_runs

FORMATS = ("coco", "geojson", "labelme")
LABEL = "lesion"
Ring = list[tuple[int, int]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Polygon:
    """One 4-connected area of a mask: the ring around it and those around its holes, as corners (x, y)."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True)
class Annotated:
    """An image and its mask.

    Attributes:
        name: the image's file name; in LabelMe's file, its path from there.
        mask: (H, W) bool.
    """

    name: str
    mask: Mask


def lesion_masks(mask: Mask) -> list[Mask]:
    """The 8-connected parts of a mask, each (H, W) bool, largest first."""
    runs = connected_runs(mask)
    lengths = runs.stop - runs.start
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(runs.label + 1, lengths)
    areas = np.bincount(runs.label, lengths)
    order = np.argsort(-areas, kind="stable")
    return [labels == label + 1 for label in order]


def trace(mask: Mask) -> list[Polygon]:
    """The polygons of a mask: areas that touch at a corner only have a ring each."""
    rings = [[(x, y) for x, y in ring] for ring in rings_of(mask, turns=APART)]
    outer = [ring for ring in rings if _signed_area(ring) > 0]
    inner = [ring for ring in rings if _signed_area(ring) < 0]
    holes: dict[int, list[Ring]] = {}
    for hole in inner:
        around = [i for i, ring in enumerate(outer) if _holds(ring, hole)]
        nearest = min(around, key=lambda i: _signed_area(outer[i]))
        holes.setdefault(nearest, []).append(hole)
    return [Polygon(ring, tuple(holes.get(i, ()))) for i, ring in enumerate(outer)]


def to_coco(images: Iterable[Annotated]) -> dict[str, Any]:
    """A COCO data set of object detection: one annotation for each lesion of each image.

    Lesions without holes are polygons; those with holes are uncompressed run lengths, which COCO has for such cases.
    """
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(images, start=1):
        height, width = one.mask.shape
        pictures.append(
            {"id": number, "file_name": one.name, "height": height, "width": width}
        )
        for mask in lesion_masks(one.mask):
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
            annotations.append({**entry, **_coco_shape(mask)})
    categories = [{"id": 1, "name": LABEL, "supercategory": LABEL}]
    return {"images": pictures, "annotations": annotations, "categories": categories}


def to_geojson(mask: Mask) -> dict[str, Any]:
    """A GeoJSON FeatureCollection in pixels of one image, as QuPath reads it: one feature for each lesion."""
    features = []
    for number, lesion in enumerate(lesion_masks(mask), start=1):
        parts = []
        for polygon in trace(lesion):
            rings = (polygon.outer, *polygon.holes)
            parts.append([_closed(ring) for ring in rings])
        shape: dict[str, Any] = {"type": "MultiPolygon", "coordinates": parts}
        if len(parts) == 1:
            shape = {"type": "Polygon", "coordinates": parts[0]}
        properties = {
            "objectType": "annotation",
            "name": f"{LABEL} {number}",
            "classification": {"name": LABEL},
        }
        features.append(
            {"type": "Feature", "geometry": shape, "properties": properties}
        )
    return {"type": "FeatureCollection", "features": features}


def to_labelme(image: Annotated) -> dict[str, Any]:
    """A LabelMe file of one image; the shapes of a lesion share its number as group.

    Lesions without holes are polygons, those with holes masks: LabelMe's polygons have none.
    """
    height, width = image.mask.shape
    shapes: list[dict[str, Any]] = []
    for number, lesion in enumerate(lesion_masks(image.mask), start=1):
        for shape in _labelme_shapes(lesion):
            shapes.append({"label": LABEL, "group_id": number, "flags": {}, **shape})
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image.name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def run_lengths(mask: Mask) -> list[int]:
    """COCO's run lengths: column by column, zeros and ones in turns, zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return [0, *counts] if flat[0] else counts


def _coco_shape(mask: Mask) -> dict[str, Any]:
    polygons = trace(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    segmentation: Any = [np.ravel(polygon.outer).tolist() for polygon in polygons]
    if any(polygon.holes for polygon in polygons):
        segmentation = {"size": list(mask.shape), "counts": run_lengths(mask)}
    return {
        "segmentation": segmentation,
        "area": int(np.count_nonzero(mask)),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
    }


def _labelme_shapes(lesion: Mask) -> Iterator[dict[str, Any]]:
    polygons = trace(lesion)
    if any(polygon.holes for polygon in polygons):
        yield _labelme_mask(lesion)
        return
    for polygon in polygons:
        points = [[float(x), float(y)] for x, y in polygon.outer]
        yield {"shape_type": "polygon", "points": points}


def _labelme_mask(mask: Mask) -> dict[str, Any]:
    """The mask within the rectangle of its first and last pixels, as a PNG in base64."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = (
        int(rows[0]),
        int(rows[-1]),
        int(columns[0]),
        int(columns[-1]),
    )
    buffer = io.BytesIO()
    part = mask[top : bottom + 1, left : right + 1]
    Image.fromarray(part.astype(np.uint8) * 255).save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    points = [[float(left), float(top)], [float(right), float(bottom)]]
    return {"shape_type": "mask", "points": points, "mask": content}


def _closed(ring: Ring) -> list[list[int]]:
    return [list(point) for point in (*ring, ring[0])]


def _signed_area(ring: Ring) -> float:
    """Positive for the ring around an area, negative for one around a hole (y runs down)."""
    points = np.array(ring)
    x, y = points[:, 0], points[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _holds(ring: Ring, hole: Ring) -> bool:
    """Whether a point just inside the hole lies in the ring; by counting the edges to its left."""
    (x0, y0), (x1, y1) = hole[0], hole[1]
    # Half a step along the first edge and a little to its left, which is inside the hole.
    step_x, step_y = np.sign(x1 - x0), np.sign(y1 - y0)
    x, y = x0 + step_x * 0.5 + step_y * 0.25, y0 + step_y * 0.5 - step_x * 0.25
    points = np.array(ring)
    following = np.roll(points, -1, axis=0)
    upright = points[:, 0] == following[:, 0]
    low = np.minimum(points[:, 1], following[:, 1])
    high = np.maximum(points[:, 1], following[:, 1])
    crossed = upright & (points[:, 0] < x) & (low < y) & (y < high)
    return int(np.count_nonzero(crossed)) % 2 == 1
