"""One run of a bundle's network: in limited time, and with every output checked before it is used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import InputError
from sonoseg.reader.checksum import HINT
from sonoseg.reader.session import time_limit

MAPS = ("maps8", "maps16")
"""Outputs with the encoder's maps at strides 8 and 16, for the malignancy head: both, or none."""
OUTPUTS = ("probability", "heat", "unfamiliarity", *MAPS)
"""Names of a bundle's outputs. The first is always there; they are found by name, in any order and among others."""
EXPLAIN = "explain"
"""Name of the optional boolean input that asks for the heat."""
PRESENCE_SHIFT = "presence_shift"
"""Name of the optional input, a number that is added to the logit of the presence head."""
SECONDS, SECONDS_MORE = 60.0, 5.0
"""The longest run of the network for one image, and for each further image. A laptop needs some hundredths."""
_ROUNDING = 1e-3  # an output may be outside its range by this much


class Answers(NamedTuple):
    """The outputs of a bundle's network for N images (N, 1, H, W).

    Attributes:
        probability: (N, 1, H, W) float32 in 0..1, that a pixel is lesion.
        unfamiliarity: (N,) float32 from 0, how unlike the training images each image is; over 1 the result must not be
            trusted. None if the bundle has no such output.
        heat: (N, 1, H, W) float32 in 0..1, Grad-CAM of the bottleneck; None if it was not asked for.
        maps: the encoder's maps for the malignancy head, each (N, C, h, w) float32; empty if the bundle has none.
    """

    probability: NDArray[np.float32]
    unfamiliarity: NDArray[np.float32] | None
    heat: NDArray[np.float32] | None
    maps: tuple[NDArray[np.float32], ...] = ()


def run_network(
    path: Path,
    session: Any,
    batch: NDArray[np.float32],
    explain: bool,
    presence_shift: float = 0.0,
) -> Answers:
    """Runs the network once on (N, 1, H, W) float32 in 0..1.

    Args:
        path: of the bundle, for errors.
        session: onnxruntime.InferenceSession.
        batch: the images.
        explain: compute the heat as well; the network must have that output.
        presence_shift: added to the logit of the presence head; other than 0, the network must have that input.

    Raises:
        InputError: the network failed, took longer than `SECONDS` allow, or an output has another type or
            shape, is not finite, or is outside its range; says which output.
    """
    import onnxruntime

    names = [node.name for node in session.get_outputs() if node.name in OUTPUTS]
    inputs = {"image": batch}
    if explain:
        inputs[EXPLAIN] = np.array(True)
    if presence_shift:
        inputs[PRESENCE_SHIFT] = np.array(presence_shift, np.float32)
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # our own error reports it
    limit = SECONDS + SECONDS_MORE * (len(batch) - 1)

    def stop() -> None:
        # ONNX Runtime reads this between two operations; a single operation is never stopped.
        options.terminate = True

    with time_limit(limit, stop) as late:
        try:
            values = session.run(names, inputs, options)
        except Exception as error:  # onnxruntime's errors share no other base
            raise _run_error(path, error, limit if late.is_set() else None) from error
    found = dict(zip(names, values, strict=True))
    one_number_per_image = batch.shape[:1]
    probability = _checked(path, "probability", found["probability"], batch.shape, 1)
    unfamiliarity = heat = None
    if "unfamiliarity" in found:
        distances = found["unfamiliarity"]
        unfamiliarity = _checked(
            path, "unfamiliarity", distances, one_number_per_image, math.inf
        )
    if explain:
        heat = _checked(path, "heat", found["heat"], batch.shape, 1)
    maps = [_checked_maps(path, name, found[name]) for name in MAPS if name in found]
    return Answers(probability, unfamiliarity, heat, tuple(maps))


def _run_error(path: Path, error: Exception, limit: float | None) -> InputError:
    if limit is not None:
        problem = f"its network was stopped after {limit:g} s without a result"
        return InputError(path, problem, "give another bundle or use a faster computer")
    reason = (
        "out of memory"
        if "alloc" in str(error).lower()
        else "its network cannot be run"
    )
    return InputError(path, reason, "try fewer images at once or another bundle")


def _checked(
    path: Path, name: str, answer: Any, shape: tuple[int, ...], top: float
) -> NDArray[np.float32]:
    """The output `name`, if it is float32 of this shape and in 0..`top`; else raises InputError."""
    if (
        not isinstance(answer, np.ndarray)
        or answer.dtype != np.float32
        or answer.shape != shape
    ):
        found = getattr(answer, "shape", type(answer).__name__)
        raise InputError(
            path,
            f"its network does not return {name} as {shape} numbers, but as {found}",
            HINT,
        )
    # NaN fails both comparisons.
    if not (answer.min() > -_ROUNDING and answer.max() < top + _ROUNDING):
        wanted = (
            "finite numbers from 0" if math.isinf(top) else f"numbers from 0 to {top:g}"
        )
        raise InputError(path, f"its network does not return {name} as {wanted}", HINT)
    limited: NDArray[np.float32] = np.clip(answer, 0, top)
    return limited


def _checked_maps(path: Path, name: str, answer: Any) -> NDArray[np.float32]:
    """The output `name`, if it is finite float32 of shape (N, C, h, w); else raises InputError."""
    maps: NDArray[np.float32] = np.asarray(answer)
    if maps.dtype != np.float32 or maps.ndim != 4 or not np.isfinite(maps).all():
        problem = f"its network does not return {name} as finite maps"
        raise InputError(path, problem, HINT)
    return maps
