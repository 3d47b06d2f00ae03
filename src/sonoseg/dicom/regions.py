"""Where the B-mode image lies on the screen, and the size of its pixels (PS3.3 C.8.5.5)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from sonoseg.core.image import SPACINGS
from sonoseg.core.measure import Spacing
from sonoseg.core.source import MIN_SIDE
from sonoseg.dicom.damage import integer, items, number

_TWO_DIMENSIONS, _TISSUE, _COLOUR_FLOW, _CENTIMETRES = 1, 1, 2, 3
UNKNOWN_SIZE = ", so the size of a pixel is not known"
"""Ends doubts; where the user gives the size, it is left out."""
NO_B_MODE = "the file names regions, but none with a B-mode image"
_MM_PER_CM = 10.0
_SAME = 1e-4
"""Relative difference up to which two sizes of a pixel are the same."""
_SIMILAR = 0.01
"""Relative difference from which on Pixel Spacing contradicts a region."""
MIXED = "the size of a pixel is known for some of its regions only"
CONTRADICTED = "Pixel Spacing and its regions say different sizes of a pixel"
LONGEST_SIDE = 500.0
"""mm that no ultrasound image is wide or deep. Where mm were written as cm, it is."""
HUGE = f"by the size of its pixels the image is larger than {LONGEST_SIDE:g} mm: do not trust lengths"
OBLONG = "its pixels are not square, but their size is not known: lengths in pixels are wrong"


@dataclass(frozen=True)
class Region:
    """A rectangle of a frame, in pixels.

    Attributes:
        left, top, width, height: its place; the whole frame if the file does not name one.
        spacing: mm between the centres of neighbouring (rows, columns); None if it is not known.
        stretch: height of a pixel by its width, if the spacing is not known.
    """

    left: int
    top: int
    width: int
    height: int
    spacing: Spacing | None = None
    stretch: float = 1.0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the frame, to cut the region out."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)

    @property
    def sides(self) -> tuple[float, ...]:
        """Height and width in mm; nothing if they are not known."""
        if self.spacing is None:
            return ()
        return self.height * self.spacing[0], self.width * self.spacing[1]

    def overlaps(self, other: Region) -> bool:
        """Whether the two have a pixel in common."""
        beside = (
            self.left >= other.left + other.width
            or other.left >= self.left + self.width
        )
        apart = (
            self.top >= other.top + other.height or other.top >= self.top + self.height
        )
        return not (beside or apart)

    def holds(self, other: Region) -> bool:
        """Whether all of the other lies inside."""
        across = (
            self.left <= other.left
            and other.left + other.width <= self.left + self.width
        )
        along = (
            self.top <= other.top and other.top + other.height <= self.top + self.height
        )
        return across and along


@dataclass(frozen=True)
class Layout:
    """The regions of the frames of a file.

    Attributes:
        regions: from left to right.
        doubts: why they should not be trusted.
        spacing_source: where their spacing comes from, in words.
    """

    regions: tuple[Region, ...]
    doubts: tuple[str, ...] = ()
    spacing_source: str = "DICOM, Sequence of Ultrasound Regions"


def find_layout(dataset: Dataset) -> Layout:
    """Finds the B-mode regions of a file.

    Each tissue region of two dimensions is an image of its own: a split screen has several. The physical deltas are
    its spacing if their unit is cm. Without regions the frame is one image, and Pixel Spacing its scale; if there are
    only regions of other kinds, such as spectra, that is a doubt, and Pixel Spacing not used. A
    region beyond the frame shows that the frame was cropped or scaled afterwards: the scale is void, and the whole
    frame is taken. So it is if a tissue region has no place. Without a scale, a Pixel Aspect Ratio other than 1:1 is
    the stretch of the regions, and a doubt. So is a side of a region that no probe has, such as when mm were written
    as cm.
    """
    layout = _layout(dataset)
    regions, doubts = layout.regions, layout.doubts
    is_unknown = any(region.spacing is None for region in regions)
    stretch = _stretch(dataset)
    if is_unknown and stretch is not None:
        doubts += (OBLONG,)
        regions = tuple(replace(region, stretch=stretch) for region in regions)
    sides = [side for region in regions for side in region.sides]
    if max(sides, default=0) > LONGEST_SIDE:
        doubts += (HUGE,)
    return replace(layout, regions=regions, doubts=doubts)


def _stretch(dataset: Dataset) -> float | None:
    """Height of a pixel by its width (PS3.3 C.7.6.3.1.7); None if it is square, or the file says what cannot be."""
    with contextlib.suppress(ValueError):  # no numbers
        pair = dataset.get("PixelAspectRatio")
        if isinstance(pair, MultiValue) and len(pair) == 2:
            down, across = (int(one) for one in pair)
            if down > 0 and across > 0 and abs(down / across - 1) > _SIMILAR:
                return down / across
    return None


def _layout(dataset: Dataset) -> Layout:
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    frame = Region(0, 0, columns, rows)
    found = items(dataset, "SequenceOfUltrasoundRegions")
    boxes = [_box(item) for item in found]
    if any(box is not None and _is_beyond(box, rows, columns) for box in boxes):
        words = f"its regions lie beyond the image{UNKNOWN_SIZE}"
        return Layout((frame,), (words,))
    if any(map(_is_nowhere, found, boxes)):
        words = f"it does not say where one of its regions is{UNKNOWN_SIZE}"
        return Layout((frame,), (words,))
    tissue: list[Region] = []
    flow: list[Region] = []
    for item, box in zip(found, boxes, strict=True):
        if box is None or item.get("RegionSpatialFormat") != _TWO_DIMENSIONS:
            continue
        region = _clamped(box, rows, columns, _region_spacing(item))
        if (
            item.get("RegionDataType") == _TISSUE
            and min(region.width, region.height) >= MIN_SIDE
        ):
            tissue.append(region)
        if item.get("RegionDataType") == _COLOUR_FLOW:
            flow.append(region)
    if found and not tissue and not flow:
        return Layout((frame,), (NO_B_MODE,))
    return _chosen(tissue, flow, frame, pixel_spacing_of(dataset))


def _chosen(
    tissue: list[Region], flow: list[Region], frame: Region, spacing: Spacing | None
) -> Layout:
    regions = _without_inner(tissue)
    are_contradicted = False
    if any(_overlap_others(region, regions) for region in regions):
        words = f"its regions overlap{UNKNOWN_SIZE}"
        return Layout((frame,), (words,))
    if not regions:
        regions = [Region(0, 0, frame.width, frame.height, spacing)]
    elif spacing is not None:
        are_contradicted = any(_contradicts(spacing, one) for one in regions)
        regions = [_with_spacing(region, spacing) for region in regions]
    regions.sort(key=lambda region: (region.left, region.top))
    doubts: tuple[str, ...] = ()
    if any(_overlap_others(region, flow) for region in regions):
        doubts += ("a colour Doppler region lies over it",)
    if len({region.spacing is None for region in regions}) > 1:
        doubts += (MIXED,)
    if are_contradicted:
        doubts += (CONTRADICTED,)
    is_known = any(region.spacing is not None for region in tissue)
    if spacing is not None and not is_known:
        return Layout(tuple(regions), doubts, "DICOM, Pixel Spacing")
    return Layout(tuple(regions), doubts)


def _without_inner(regions: list[Region]) -> list[Region]:
    """The regions without those that lie inside another of the same spacing."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda one: -one.width * one.height):
        inside = [one for one in kept if one.holds(region) and are_equal(one, region)]
        if not inside:
            kept.append(region)
    return kept


def _overlap_others(region: Region, regions: list[Region]) -> bool:
    others = [one for one in regions if one is not region]
    return any(region.overlaps(one) for one in others)


def _contradicts(spacing: Spacing, region: Region) -> bool:
    mine = Region(region.left, region.top, region.width, region.height, spacing)
    return region.spacing is not None and not are_equal(mine, region, _SIMILAR)


def are_equal(one: Region, other: Region, tolerance: float = _SAME) -> bool:
    """Whether two regions have the same size of a pixel, but for a relative difference."""
    if one.spacing is None or other.spacing is None:
        return one.spacing is other.spacing
    ratios = one.spacing[0] / other.spacing[0], one.spacing[1] / other.spacing[1]
    return max(abs(ratio - 1) for ratio in ratios) <= tolerance


def _with_spacing(region: Region, spacing: Spacing) -> Region:
    known = region.spacing or spacing
    return Region(region.left, region.top, region.width, region.height, known)


def _box(item: Dataset) -> tuple[int, int, int, int] | None:
    """First and last column and row of a region as (left, top, right, bottom); None if one is missing."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    keywords = [f"RegionLocation{name}" for name in names]
    if any(item.get(keyword) is None for keyword in keywords):
        return None
    left, top, right, bottom = [integer(item, keyword) for keyword in keywords]
    return (left, top, right, bottom) if left <= right and top <= bottom else None


def _is_nowhere(item: Dataset, box: tuple[int, int, int, int] | None) -> bool:
    """Whether it is a B-mode image without a place."""
    kinds = item.get("RegionSpatialFormat"), item.get("RegionDataType")
    return box is None and kinds == (_TWO_DIMENSIONS, _TISSUE)


def _is_beyond(box: tuple[int, int, int, int], rows: int, columns: int) -> bool:
    """Whether a region lies outside the frame; scanners count the last pixel from 0 or from 1."""
    left, top, right, bottom = box
    return left < 0 or top < 0 or right > columns or bottom > rows


def _clamped(
    box: tuple[int, int, int, int], rows: int, columns: int, spacing: Spacing | None
) -> Region:
    left, top, right, bottom = box
    width = min(right, columns - 1) - left + 1
    height = min(bottom, rows - 1) - top + 1
    return Region(left, top, width, height, spacing)


def _region_spacing(item: Dataset) -> Spacing | None:
    """(row, column) in mm from the deltas in y and x; None if they are no lengths."""
    units = item.get("PhysicalUnitsYDirection"), item.get("PhysicalUnitsXDirection")
    if units != (_CENTIMETRES, _CENTIMETRES):
        return None
    row = number(item, "PhysicalDeltaY", missing=0)
    return _spacing(row, number(item, "PhysicalDeltaX", missing=0), _MM_PER_CM)


def pixel_spacing_of(dataset: Dataset) -> Spacing | None:
    """Pixel Spacing (0028,0030): (row, column) in mm; None if there is none, or it cannot be."""
    pair = dataset.get("PixelSpacing")
    if not isinstance(pair, MultiValue) or len(pair) != 2:
        return None
    return _spacing(float(pair[0]), float(pair[1]), 1.0)


def _spacing(row: float, column: float, scale: float) -> Spacing | None:
    down, across = abs(row) * scale, abs(column) * scale
    are_lengths = all(SPACINGS[0] <= one <= SPACINGS[1] for one in (down, across))
    return (down, across) if are_lengths else None
