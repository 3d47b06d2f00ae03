"""Lesions of known form, drawn without any drawing library."""

import numpy as np

SHAPE = (240, 300)
ys, xs = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] + 0.5
CENTRE = 150.0, 100.0


def blob(radius):
    """The pixels whose distance from the centre is under `radius`, a function of the angle (y down)."""
    x, y = xs - CENTRE[0], ys - CENTRE[1]
    return np.hypot(x, y) < radius(np.arctan2(y, x))


def ellipse(half_width, half_height, tilt=0.0):
    """An ellipse; `tilt` in degrees, clockwise on the screen."""
    turned = np.exp(-1j * np.radians(tilt))
    place = (xs - CENTRE[0] + 1j * (ys - CENTRE[1])) * turned
    return (place.real / half_width) ** 2 + (place.imag / half_height) ** 2 < 1


def star(points=7, depth=0.35, radius=50):
    """A star with soft points."""
    return blob(lambda angle: radius * (1 + depth * np.cos(points * angle)))


def tissue(level=120, noise=12, seed=0):
    """(240, 300) float64 around a gray level."""
    return np.random.default_rng(seed).normal(level, noise, SHAPE)


def picture(gray):
    """uint8 gray."""
    return np.clip(np.rint(gray), 0, 255).astype(np.uint8)
