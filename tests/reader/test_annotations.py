"""COCO, GeoJSON and LabelMe, read back by other means: they hold the mask pixel for pixel."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import ellipse
from skimage.measure import euler_number, label, points_in_poly

from sonoseg.reader.annotations import (
    Annotated,
    lesion_masks,
    run_lengths,
    to_coco,
    to_geojson,
    to_labelme,
    trace,
)

Mask = NDArray[np.bool_]
ANY_MASK = hnp.arrays(
    bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
)


def _filled(rings: list[Any], shape: tuple[int, int]) -> Mask:
    """The pixels whose centres lie in the first ring and not in the others, by scikit-image."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = np.zeros(shape[0] * shape[1], np.bool_)
    for ring in rings:
        inside ^= points_in_poly(centres, np.array(ring, float))
    return inside.reshape(shape)


def _union(masks: list[Mask], shape: tuple[int, int]) -> Mask:
    total = np.zeros(shape, int)
    for mask in masks:
        total += mask
    assert total.max(initial=0) <= 1  # no pixel twice
    return total > 0


def _from_coco(data: dict[str, Any], shape: tuple[int, int]) -> Mask:
    masks = []
    for one in data["annotations"]:
        segmentation = one["segmentation"]
        if isinstance(segmentation, dict):
            values = np.arange(len(segmentation["counts"])) % 2
            flat = np.repeat(values, segmentation["counts"]).astype(bool)
            mask = flat.reshape(segmentation["size"], order="F")
        else:
            rings = [np.array(ring).reshape(-1, 2) for ring in segmentation]
            mask = _union([_filled([ring], shape) for ring in rings], shape)
        x, y, width, height = one["bbox"]
        assert one["area"] == mask.sum() == mask[y : y + height, x : x + width].sum()
        assert mask[y].any() and mask[:, x + width - 1].any()
        masks.append(mask)
    return _union(masks, shape)


def _from_geojson(data: dict[str, Any], shape: tuple[int, int]) -> Mask:
    masks = []
    for feature in data["features"]:
        parts = feature["geometry"]["coordinates"]
        if feature["geometry"]["type"] == "Polygon":
            parts = [parts]
        for rings in parts:
            assert all(ring[0] == ring[-1] for ring in rings)
            masks.append(_filled(rings, shape))
    return _union(masks, shape)


def _from_labelme(data: dict[str, Any], shape: tuple[int, int]) -> Mask:
    masks = []
    for one in data["shapes"]:
        if one["shape_type"] == "polygon":
            masks.append(_filled([one["points"]], shape))
            continue
        (left, top), (right, bottom) = np.array(one["points"]).astype(int)
        with Image.open(io.BytesIO(base64.b64decode(one["mask"]))) as picture:
            part = np.asarray(picture) > 0
        mask = np.zeros(shape, np.bool_)
        mask[top : bottom + 1, left : right + 1] = part
        masks.append(mask)
    return _union(masks, shape)


def _check(mask: Mask) -> None:
    shape = (mask.shape[0], mask.shape[1])
    coco = json.loads(json.dumps(to_coco([Annotated("a.png", mask)])))
    geojson = json.loads(json.dumps(to_geojson(mask)))
    labelme = json.loads(json.dumps(to_labelme(Annotated("a.png", mask))))
    np.testing.assert_array_equal(_from_coco(coco, shape), mask)
    np.testing.assert_array_equal(_from_geojson(geojson, shape), mask)
    np.testing.assert_array_equal(_from_labelme(labelme, shape), mask)
    lesions = label(mask, connectivity=2).max()
    assert len(coco["annotations"]) == len(geojson["features"]) == lesions
    assert len({shape["group_id"] for shape in labelme["shapes"]}) == lesions


@settings(max_examples=200, deadline=None)
@given(ANY_MASK)
def test_any_small_mask_comes_back(mask: Mask) -> None:
    _check(mask)


@settings(max_examples=100, deadline=None)
@given(ANY_MASK)
def test_rings_are_counted_as_scikit_image_counts_parts_and_holes(mask: Mask) -> None:
    polygons = trace(mask)
    assert len(polygons) == label(mask, connectivity=1).max()
    holes = sum(len(polygon.holes) for polygon in polygons)
    # Holes that touch at a corner are one for scikit-image, and have a ring each here.
    assert len(polygons) - holes <= euler_number(mask, connectivity=1)
    assert (holes == 0) == (len(polygons) == euler_number(mask, connectivity=1))


def test_lesions_of_a_real_size() -> None:
    mask = np.zeros((300, 400), np.bool_)
    mask[ellipse(100, 120, 50, 70)] = True
    mask[ellipse(100, 120, 10, 20)] = False  # a hole, and an island in it
    mask[98:103, 118:123] = True
    mask[ellipse(220, 320, 30, 25)] = True
    _check(mask)
    assert [int(one.sum()) for one in lesion_masks(mask)] == sorted(
        (int(one.sum()) for one in lesion_masks(mask)), reverse=True
    )


def test_a_square_has_four_corners_and_an_empty_mask_nothing() -> None:
    mask = np.zeros((8, 9), np.bool_)
    mask[2:5, 3:7] = True
    (polygon,) = trace(mask)
    assert (
        sorted(polygon.outer) == [(3, 2), (3, 5), (7, 2), (7, 5)]
        and polygon.holes == ()
    )
    empty = np.zeros((8, 9), np.bool_)
    assert to_coco([Annotated("a.png", empty)])["annotations"] == []
    assert (
        to_geojson(empty)["features"]
        == to_labelme(Annotated("a", empty))["shapes"]
        == []
    )


def test_coco_numbers_images_and_annotations() -> None:
    mask = np.zeros((8, 9), np.bool_)
    mask[2:5, 3:7] = True
    data = to_coco([Annotated("a.png", mask), Annotated("b.png", mask[:, ::-1].copy())])
    assert [one["file_name"] for one in data["images"]] == ["a.png", "b.png"]
    found = [(one["id"], one["image_id"], one["bbox"]) for one in data["annotations"]]
    assert found == [(1, 1, [3, 2, 4, 3]), (2, 2, [2, 2, 4, 3])]


@pytest.mark.parametrize(
    ("first", "expected"), [(False, [1, 2, 1]), (True, [0, 1, 1, 1, 1])]
)
def test_run_lengths_begin_with_zeros(first: bool, expected: list[int]) -> None:
    mask = np.array([[first, True], [not first, False]])
    assert run_lengths(mask) == expected
