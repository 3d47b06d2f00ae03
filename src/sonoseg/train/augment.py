"""Augmentation for ultrasound, one batch at a time, on the device of the batch.

Every function takes images (N, 1, H, W) float32 in 0..1. Each image gets its own random parameters. They come from
PyTorch's global generator, so the same seed gives the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sonoseg.train import views


def augment_light(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Changes images and their masks (N, 1, H, W) of 0 and 1: a little geometry, and other gray levels."""
    image, mask = move(image, mask, strength=0.5, crops=0.1)
    return gamma(time_gain(image)).clamp(0, 1), mask


def augment_ultrasound(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Changes images and their masks (N, 1, H, W) of 0 and 1: geometry first, then effects of ultrasound machines."""
    image, mask = move(image, mask, strength=1, crops=0.2)
    for change in (time_gain, shadow, speckle, blur, gamma, marks, cut_out):
        image = change(image)
    return image.clamp(0, 1), mask


def augment_roam(
    image: Tensor, mask: Tensor, grays: bool = False
) -> tuple[Tensor, Tensor]:
    """Zooms and shifts images and masks widely, and changes the gain. `augment_wide` changes much more.

    Args:
        image: (N, 1, H, W).
        mask: (N, 1, H, W) of 0 and 1.
        grays: Some images get the gray levels of another image of the batch, too.
    """
    image, mask = views.roam(image, mask)
    if grays:
        image = views.match_grays(image)
    return gamma(time_gain(image)).clamp(0, 1), mask


def augment_wide(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Changes images and masks more widely (see `views`), then adds effects of ultrasound machines.

    It is for images of hospitals that are not in the training data: lesions have any size and place.
    """
    image, mask = views.roam(image, mask)
    image, mask = views.paste(image, mask)
    image, mask = views.sector(views.match_grays(image), mask)
    for change in (time_gain, shadow, speckle, blur, gamma, marks, cut_out):
        image = change(image)
    return image.clamp(0, 1), mask


def _draw(image: Tensor, low: float, high: float) -> Tensor:
    """(N, 1, 1, 1) uniform in low..high."""
    return torch.empty(len(image), 1, 1, 1, device=image.device).uniform_(low, high)


def _sometimes(image: Tensor, changed: Tensor, chance: float) -> Tensor:
    """`changed` for a share `chance` of the batch, `image` for the rest."""
    return torch.where(_draw(image, 0, 1) < chance, changed, image)


def _smooth_field(image: Tensor, rows: int, columns: int) -> Tensor:
    """(N, 1, H, W) smooth normal noise with `rows` × `columns` knots."""
    knots = torch.randn(len(image), 1, rows, columns, device=image.device)
    return F.interpolate(
        knots, size=image.shape[2:], mode="bicubic", align_corners=True
    )


def move(
    image: Tensor, mask: Tensor, strength: float, crops: float
) -> tuple[Tensor, Tensor]:
    """Flips, scales, stretches, shears, turns and shifts. Some images become a crop without their lesion.

    Args:
        image: (N, 1, H, W).
        mask: (N, 1, H, W) of 0 and 1.
        strength: of the geometry; 1 scales by 0.7 to 1.3, stretches by up to 1.2, shears and shifts by up to 15 %.
        crops: share of the images that become a crop beside their lesion.
    """
    count, device = len(image), image.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    flip = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    zoom = torch.exp(uniform(math.log(0.7), math.log(1.3)) * strength)
    stretch = torch.exp(uniform(-0.2, 0.2) * strength)
    turn = uniform(-0.2, 0.2) * strength
    angle = turn * (torch.rand(count, device=device) < 0.5)
    shear = uniform(-0.15, 0.15) * strength
    shift = torch.empty(count, 2, device=device).uniform_(-0.15, 0.15) * strength
    cos, sin = angle.cos(), angle.sin()
    across = flip * zoom * stretch * cos, -zoom * stretch * sin + shear, shift[:, 0]
    down = flip * zoom / stretch * sin, zoom / stretch * cos, shift[:, 1]
    theta = torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)
    beside, possible = lesion_free_crop(mask)
    chosen = possible & (torch.rand(count, device=device) < crops)
    theta = torch.where(chosen[:, None, None], beside, theta)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    moved = F.grid_sample(
        image, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    truth = F.grid_sample(
        mask, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return moved, (truth > 0.5).to(mask.dtype)


def lesion_free_crop(mask: Tensor) -> tuple[Tensor, Tensor]:
    """For each mask the affine map (N, 2, 3) to a crop left or right of the lesion, and whether there is room (N,).

    Data sets of lesions have few normal images. The tissue beside a lesion is most similar to one.
    """
    columns = mask.amax((1, 2)) > 0.5  # (N, W)
    width, device = columns.shape[1], mask.device
    place = torch.arange(width, device=device).expand_as(columns)
    first = torch.where(columns, place, width).amin(1) / width
    last = torch.where(columns, place + 1, 0).amax(1) / width
    left, right = first - 0.03, 1 - last - 0.03
    room = torch.maximum(left, right)
    possible = (room >= 0.3) & columns.any(1)
    room = room.clamp(min=0.3)
    start = torch.where(left > right, torch.zeros_like(left), 1 - room)
    height = (room * torch.empty_like(room).uniform_(1.0, 1.8)).clamp(max=1)
    # The square keeps most crops near the top, where images show skin.
    top = (1 - height) * torch.rand_like(height) ** 2
    zero = torch.zeros_like(room)
    across = torch.stack([room, zero, 2 * start + room - 1], 1)
    down = torch.stack([zero, height, 2 * top + height - 1], 1)
    theta = torch.stack([across, down], 1)
    return theta, possible


def time_gain(image: Tensor) -> Tensor:
    """Another time-gain curve: the brightness changes slowly with depth, and a little from side to side."""
    return _sometimes(image, image * (0.25 * _smooth_field(image, 4, 2)).exp(), 0.5)


def shadow(image: Tensor) -> Tensor:
    """A vertical dark or bright band that begins at some depth, as behind a rib, a nipple or a cyst."""
    height, width = image.shape[2:]
    x = torch.linspace(0, 1, width, device=image.device).view(1, 1, 1, -1)
    y = torch.linspace(0, 1, height, device=image.device).view(1, 1, -1, 1)
    centre = _draw(image, 0, 1)
    half_width = _draw(image, 0.03, 0.15)
    depth = _draw(image, 0, 0.7)
    beside = ((x - centre) / half_width) ** 2
    band = torch.exp(-beside) * torch.sigmoid((y - depth) * 30)
    return _sometimes(image, image * (1 + _draw(image, -0.8, 0.3) * band), 0.3)


def speckle(image: Tensor) -> Tensor:
    """Multiplicative noise with a random grain."""
    height, width = image.shape[2:]
    grain = int(torch.randint(1, 4, ()))
    noise = _smooth_field(image, height // grain, width // grain)
    return _sometimes(image, image * (1 + _draw(image, 0.02, 0.25) * noise), 0.4)


def blur(image: Tensor) -> Tensor:
    """Lower resolution, as from an older machine or a smaller file."""
    factor = float(torch.empty(()).uniform_(0.35, 0.8))
    small = F.interpolate(image, scale_factor=factor, mode="bilinear", antialias=True)
    back = F.interpolate(
        small, size=image.shape[2:], mode="bilinear", align_corners=False
    )
    return _sometimes(image, back, 0.25)


def gamma(image: Tensor) -> Tensor:
    """Other gray levels: gamma, gain and black level."""
    exponent = _draw(image, -0.6, 0.6).exp()
    level = image.clamp(1e-4, 1) ** exponent
    gain = _draw(image, 0.7, 1.3)
    black = _draw(image, -0.08, 0.08)
    changed = (level * gain + black).clamp(0, 1)
    return _sometimes(image, changed, 0.8)


def marks(image: Tensor) -> Tensor:
    """One to four crosses of calipers and dashes that look like text, as a machine or its user draws into images."""
    count, _, height, width = image.shape
    device = image.device
    number = torch.randint(1, 5, (count, 1, 1, 1), device=device)
    number = number * (_draw(image, 0, 1) < 0.25)
    row = torch.arange(height, device=device).view(-1, 1)
    column = torch.arange(width, device=device)
    for mark in range(4):
        # From the mark's upper left corner.
        y = row - _place(image, height)
        x = column - _place(image, width)
        level = (y == 3) & (x >= 0) & (x < 7)
        upright = (x == 3) & (y >= 0) & (y < 7)
        cross = level | upright
        strokes = torch.rand(count, 1, 1, width, device=device) < 0.6
        dash = strokes & (x >= 0) & (x < 12) & (y >= 0) & (y < 5)
        drawn = torch.where(_draw(image, 0, 1) < 0.6, cross, dash) & (mark < number)
        image = torch.where(drawn, _draw(image, 0.6, 1.0), image)
    return image


def _place(image: Tensor, length: int) -> Tensor:
    """(N, 1, 1, 1) int64: random places along an axis of `length` pixels at which a mark begins."""
    return torch.randint(0, length - 12, (len(image), 1, 1, 1), device=image.device)


def cut_out(image: Tensor) -> Tensor:
    """A rectangle of one gray level, in which nothing of the image is left."""
    height, width = image.shape[2:]
    x = torch.linspace(0, 1, width, device=image.device).view(1, 1, 1, -1)
    y = torch.linspace(0, 1, height, device=image.device).view(1, 1, -1, 1)
    is_across = (x - _draw(image, 0, 1)).abs() < _draw(image, 0.03, 0.12)
    is_down = (y - _draw(image, 0, 1)).abs() < _draw(image, 0.03, 0.12)
    inside = is_across & is_down
    return _sometimes(image, torch.where(inside, _draw(image, 0, 0.5), image), 0.15)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "none": lambda image, mask: (image, mask),
    "light": augment_light,
    "ultrasound": augment_ultrasound,
    "roam": augment_roam,
    "roam+grays": partial(augment_roam, grays=True),
    "wide": augment_wide,
}
"""Name → what changes a batch of images and masks, both (N, 1, H, W)."""
