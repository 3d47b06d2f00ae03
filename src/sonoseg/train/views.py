"""Changes of an image towards what other hospitals record: other depths, places, sectors, gray levels and lesions.

In most data sets the lesion is large and in the middle, because the examiner put it there. A network must not learn
that. As in `augment`, every function takes images and masks (N, 1, H, W), float32 in 0..1. Random numbers come from
PyTorch's global generator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 0.03
"""Share of the side that a lesion-free crop keeps away from the lesion."""
SMALLEST_CROP = 0.25
"""Share of the side that a lesion-free crop must have at least."""


def uniform(image: Tensor, low: float, high: float) -> Tensor:
    """(N,) uniform in low..high, on the images' device."""
    return torch.empty(len(image), device=image.device).uniform_(low, high)


def chosen(image: Tensor, chance: float) -> Tensor:
    """(N,) bool; each is True with probability `chance`."""
    return torch.rand(len(image), device=image.device) < chance


def pick(which: Tensor, changed: Tensor, unchanged: Tensor) -> Tensor:
    """`changed` for the images where `which` (N,) is True, `unchanged` for the others."""
    return torch.where(which[:, None, None, None], changed, unchanged)


def roam(
    image: Tensor, mask: Tensor, farthest: float = 3.0, free: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Flips, turns, stretches and zooms; the lesion may be small, anywhere, or cut by the image's edge.

    Args:
        image: (N, 1, H, W).
        mask: (N, 1, H, W) of 0 and 1.
        farthest: 40 % of the images are zoomed out by 1 to `farthest`, the others by 0.75 to 1.3.
        free: share of the images that become a crop without lesion, if there is room for one.

    Returns:
        Image and mask of the same shapes. Beyond the image's edge is its mirror image (with its lesions) or black.
    """
    far = chosen(image, 0.4)
    near_zoom = torch.exp(uniform(image, -0.29, 0.26))
    far_zoom = torch.exp(uniform(image, 0, math.log(farthest)))
    zoom = torch.where(far, far_zoom, near_zoom)
    stretch = torch.exp(uniform(image, -0.22, 0.22))
    turn = uniform(image, -0.2, 0.2) * chosen(image, 0.5)
    shear = uniform(image, -0.15, 0.15)
    flip = torch.where(chosen(image, 0.5), -1.0, 1.0)
    reach = 0.15 + (zoom - 1).clamp(min=0) + 0.35 * chosen(image, 0.3)
    across, down = uniform(image, -1, 1) * reach, uniform(image, -1, 1) * reach
    cos, sin = turn.cos(), turn.sin()
    first = torch.stack(
        [flip * zoom * stretch * cos, -zoom * stretch * sin + shear, across], 1
    )
    second = torch.stack([flip * zoom / stretch * sin, zoom / stretch * cos, down], 1)
    theta = torch.stack([first, second], 1)
    crop, possible = free_crop(mask)
    cropped = possible & chosen(image, free)
    theta = torch.where(cropped[:, None, None], crop, theta)
    zoom = torch.where(cropped, 1.0, zoom)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    both = torch.cat([image, mask], 1)
    black = sample(both, grid, zoom, "zeros")
    mirrored = sample(both, grid, zoom, "reflection")
    seen = pick(chosen(image, 0.5) & ~cropped, black, mirrored)
    return seen[:, :1], (seen[:, 1:] > 0.5).to(mask.dtype)


def sample(values: Tensor, grid: Tensor, zoom: Tensor, beyond: str) -> Tensor:
    """`values` (N, C, H, W) at the places `grid` (N, H, W, 2).

    An image that is zoomed out, by `zoom` (N,), is made smaller first. Otherwise pixels would be left out.
    """
    size = values.shape[2:]
    out = F.grid_sample(
        values, grid, mode="bilinear", padding_mode=beyond, align_corners=False
    )
    for factor, least in ((2, 1.5), (3, 2.5)):
        small = F.interpolate(
            values, size=[side // factor for side in size], mode="area"
        )
        coarse = F.grid_sample(
            small, grid, mode="bilinear", padding_mode=beyond, align_corners=False
        )
        out = pick(zoom >= least, coarse, out)
    return out


def free_crop(mask: Tensor) -> tuple[Tensor, Tensor]:
    """An affine map (N, 2, 3) to a random crop beside, above or below all lesions, and whether there is room (N,).

    Data sets of lesions have few normal images. The tissue around a lesion is most similar to one.
    """
    left, right, any_lesion = span(mask.amax((1, 2)))
    top, bottom, _ = span(mask.amax((1, 3)))
    zero, one = torch.zeros_like(left), torch.ones_like(left)
    beside_left = torch.stack([zero, left, zero, one], 1)
    beside_right = torch.stack([right, one, zero, one], 1)
    above = torch.stack([zero, one, zero, top], 1)
    below = torch.stack([zero, one, bottom, one], 1)
    # (N, 4 strips, x0 x1 y0 y1)
    strips = torch.stack([beside_left, beside_right, above, below], 1)
    widths = strips[..., 1] - strips[..., 0]
    heights = strips[..., 3] - strips[..., 2]
    fits = (widths >= SMALLEST_CROP) & (heights >= SMALLEST_CROP)
    # A random strip among those that fit: they have 1 to 2, the others 0 to 1.
    wish = torch.rand_like(widths) + fits
    best = wish.argmax(1)[:, None, None].expand(-1, 1, 4)
    x0, x1, y0, y1 = strips.gather(1, best)[:, 0].unbind(1)
    width = SMALLEST_CROP + torch.rand_like(x0) * (x1 - x0 - SMALLEST_CROP).clamp(min=0)
    aspect = torch.exp(torch.empty_like(x0).uniform_(-0.5, 0.5))
    wanted = (width * aspect).clamp(min=SMALLEST_CROP)
    height = torch.minimum(wanted, (y1 - y0).clamp(min=SMALLEST_CROP))
    start_x = x0 + torch.rand_like(x0) * (x1 - x0 - width).clamp(min=0)
    start_y = y0 + torch.rand_like(y0) * (y1 - y0 - height).clamp(min=0)
    first = torch.stack([width, zero, 2 * start_x + width - 1], 1)
    second = torch.stack([zero, height, 2 * start_y + height - 1], 1)
    return torch.stack([first, second], 1), fits.any(1) & any_lesion


def span(line: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where marks along an axis (N, 1 or more, L) begin and end, each (N,) in 0..1, and whether there are any (N,).

    A `MARGIN` is added on both sides.
    """
    marks = line.flatten(1) > 0.5
    length = marks.shape[1]
    place = torch.arange(length, device=line.device).expand_as(marks)
    first = torch.where(marks, place, length).amin(1) / length - MARGIN
    last = torch.where(marks, place + 1, 0).amax(1) / length + MARGIN
    return first.clamp(0, 1), last.clamp(0, 1), marks.any(1)


def paste(image: Tensor, mask: Tensor, chance: float = 0.3) -> tuple[Tensor, Tensor]:
    """Blends the lesion of another image of the batch into some images, at 0.3 to 3 % of the area, at any place.

    A rim of tissue is copied together with the lesion. Its mean gray level is set to that of the new place.
    """
    count, _, height, width = image.shape
    other = torch.randperm(count, device=image.device)
    donor, shape = image[other], mask[other]
    area = shape.mean((1, 2, 3))
    wanted = torch.exp(uniform(image, -5.8, -3.5))  # 0.003 to 0.03
    shrink = (area.clamp(min=1e-3) / wanted).sqrt().clamp(0.6, 8)
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=image.device),
        torch.linspace(-1, 1, width, device=image.device),
        indexing="ij",
    )
    total = shape.sum((1, 2, 3)).clamp(min=1)
    centre_x = (x * shape[:, 0]).sum((1, 2)) / total
    centre_y = (y * shape[:, 0]).sum((1, 2)) / total
    place_x, place_y = uniform(image, -0.95, 0.95), uniform(image, -0.95, 0.95)
    flip = torch.where(chosen(image, 0.5), -1.0, 1.0)
    zero = torch.zeros_like(shrink)
    first = torch.stack([flip * shrink, zero, centre_x - flip * shrink * place_x], 1)
    second = torch.stack([zero, shrink, centre_y - shrink * place_y], 1)
    theta = torch.stack([first, second], 1)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    rim = F.max_pool2d(shape, 21, 1, 10)
    moved = sample(torch.cat([donor, shape, rim], 1), grid, shrink, "zeros")
    lesion, around = moved[:, 1:2], moved[:, 2:]
    ring = (around - lesion).clamp(0, 1)
    weight = ring.sum((1, 2, 3), keepdim=True).clamp(min=1)
    tissue = moved[:, :1]
    here = (image * ring).sum((1, 2, 3), keepdim=True) / weight
    there = (tissue * ring).sum((1, 2, 3), keepdim=True) / weight
    # The added 0.02 keeps the ratio small where the donor's rim is nearly black.
    matched = (tissue * (here + 0.02) / (there + 0.02)).clamp(0, 1)
    soft = F.avg_pool2d(around, 7, 1, 3).clamp(0, 1)
    blended = soft * matched + (1 - soft) * image
    clear = (around * mask).sum((1, 2, 3)) == 0
    # Not over another lesion, not a speck, not into the black, and not enlarged too far.
    has_room = clear & (area > 0.002)
    is_plain = (here.flatten() > 0.08) & (shrink > 0.6)
    good = chosen(image, chance) & has_room & is_plain
    joined = torch.maximum(mask, (lesion > 0.5).to(mask.dtype))
    return pick(good, blended, image), pick(good, joined, mask)


def match_grays(image: Tensor, chance: float = 0.3) -> Tensor:
    """Moves the gray levels of some images towards those of another image of the batch, as from another machine."""
    flat = image.flatten(1)
    order = flat.argsort(1)
    wanted = flat[torch.randperm(len(flat), device=flat.device)].sort(1).values
    matched = torch.empty_like(flat).scatter_(1, order, wanted)
    share = (uniform(image, 0.2, 1.0) * chosen(image, chance))[:, None]
    return (flat + share * (matched - flat)).view_as(image)


def sector(image: Tensor, mask: Tensor, chance: float = 0.2) -> tuple[Tensor, Tensor]:
    """Makes some images black outside of a random sector, and at their sides, as a convex probe or a screen does."""
    height, width = image.shape[2:]
    x = torch.linspace(-1, 1, width, device=image.device).view(1, 1, 1, -1)
    y = torch.linspace(0, 1, height, device=image.device).view(1, 1, -1, 1)

    def draw(low: float, high: float) -> Tensor:
        return uniform(image, low, high).view(-1, 1, 1, 1)

    fan = x.abs() < draw(0.3, 0.9) + draw(0.2, 1.0) * y
    left = x > draw(-1, -0.75)
    right = x < draw(0.75, 1)
    lower = y < draw(0.8, 1.0)
    upper = y > draw(-0.1, 0.12)
    strips = left & right & lower & upper
    fan = pick(chosen(image, chance), fan, torch.ones_like(fan))
    strips = pick(chosen(image, chance), strips, torch.ones_like(strips))
    kept = (fan & strips).to(image.dtype)
    return image * kept, mask * kept
