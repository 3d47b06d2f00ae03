"""A data set as one file: images and masks at one size, with all that splits and scores need to know of them.

A pack is a .safetensors file: `images` and `masks`, uint8 (N, size, size), masks 0 or 1; and in its metadata, under
`sonoseg`, JSON with the name of the data set and a row for each image. Nothing in it is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.data.case import Case
from sonoseg.data.pack_row import HINT, PackRow, read_rows
from sonoseg.data.scan import name_key
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, is_file
from sonoseg.inputs import read_bytes, readable_file

SUFFIX, KEY, VERSION = ".safetensors", "sonoseg", 1
SIZES = range(32, 1025, 32)
"""Sizes that every network takes."""
LARGEST = 4_000_000_000
"""Bytes of a pack that is still read."""


class Pack:
    """A pack in memory. Two are equal only if they are one object: see `open_pack`.

    Attributes:
        path: of the file.
        source: name of the folder that it was made from.
        rows: what is known of each image.
        images, masks: (N, size, size) uint8, read-only; masks 0 or 1.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        rows: Sequence[PackRow],
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
    ) -> None:
        self.path, self.source = path, source
        self.rows = tuple(rows)
        self.images, self.masks = images, masks

    @property
    def size(self) -> int:
        """Height and width of its images in pixels."""
        return int(self.images.shape[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process reads the file itself."""
        return open_pack, (self.path,)

    def cases(self) -> list[Case]:
        """Its images as cases, in the order of the data set."""
        return [
            PackedCase(
                row.name,
                self.path / row.name,
                (),
                row.label,
                row.group,
                row.spacing,
                self,
                number,
            )
            for number, row in enumerate(self.rows)
        ]


@dataclass(frozen=True)
class PackedCase(Case):
    """A case that is read from a pack; `image` is no file, only a name for messages.

    Attributes:
        pack: where it is.
        row: its number there.
    """

    pack: Pack | None = None
    row: int = 0

    @property
    def own(self) -> Pack:
        assert self.pack is not None
        return self.pack

    @property
    def known(self) -> PackRow:
        """The row of the pack for this image: everything except the pixels."""
        return self.own.rows[self.row]

    @property
    def fold(self) -> int | None:
        return self.known.fold

    @property
    def has_truth(self) -> bool:
        return self.known.masked or self.label == "normal"

    def read_image(self) -> NDArray[np.uint8]:
        """The image, (size, size) gray, 0 to 255."""
        return np.array(self.own.images[self.row])

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The image, and its ground truth (size, size)."""
        return self.read_image(), self.own.masks[self.row] > 0

    def full_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width before it was resized."""
        return self.known.height, self.known.width

    def check_resizable(self, size: int, what: str, only: bool = True) -> None:
        """Refuses another size than the pack's: an image that is resized twice differs from one resized once.

        Raises:
            InputError: `size` is another.
        """
        own = self.own.size
        if size != own:
            problem = (
                f"has images of {own} × {own} pixels, but {what} needs {size} × {size}"
            )
            hint = f"give the folder {self.own.source}"
            if only:
                hint += f", or pack it with --size {size}"
            raise InputError(self.own.path, problem, hint)


def is_pack(path: Path | str) -> bool:
    """Whether `path` is a file that is named like a pack."""
    return Path(path).suffix.lower() == SUFFIX and is_file(path)


def open_pack(path: Path | str) -> Pack:
    """Reads a pack; the same object again as long as the file does not change.

    Raises:
        InputError: it is not a pack, is damaged, or is too large.
    """
    path = readable_file(path)
    status = path.stat()
    return _open(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _open(path: Path, _modified: int, _size: int) -> Pack:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_bytes(path, LARGEST)
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(path, "is not a pack, or is damaged", HINT) from error
    _check_tensors(path, tensors)
    about = _read_about(path, content)
    rows = list(read_rows(path, about["cases"]))
    if len(rows) != len(tensors["images"]):
        raise InputError(
            path,
            f"has {len(tensors['images'])} images but {len(rows)} rows about them",
            HINT,
        )
    if len({name_key(row.name) for row in rows}) < len(rows):
        raise InputError(path, "has two images of the same name", HINT)
    for pixels in tensors.values():
        pixels.flags.writeable = False
    return Pack(path, about["source"], rows, tensors["images"], tensors["masks"])


def _check_tensors(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """Refuses other arrays than a pack's."""
    if set(tensors) != {"images", "masks"}:
        raise InputError(
            path,
            "is not a pack: it does not hold images and masks",
            "give one of sonoseg data pack",
        )
    shape = tensors["images"].shape
    for name, pixels in tensors.items():
        if pixels.dtype != np.uint8:
            raise InputError(path, f"its {name} are {pixels.dtype}, not uint8", HINT)
        if pixels.ndim != 3 or pixels.shape != shape:
            raise InputError(
                path, "its images and masks do not have one shape (N, size, size)", HINT
            )
    if not shape[0]:
        raise InputError(path, "there are no images in it", HINT)
    if shape[1] != shape[2] or shape[1] not in SIZES:
        raise InputError(path, f"its images are {shape[2]} × {shape[1]} pixels", HINT)
    if tensors["masks"].max() > 1:
        raise InputError(path, "its masks have other values than 0 and 1", HINT)


def _read_about(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON in the metadata."""
    length = int.from_bytes(content[:8], "little")  # the library has checked it
    try:
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            path, "is not a pack: it does not say what its images are", HINT
        ) from error
    if not isinstance(about, dict) or set(about) != {"version", "source", "cases"}:
        raise InputError(
            path, "is not a pack: it does not say what its images are", HINT
        )
    if about["version"] != VERSION:
        problem = f"is a pack of version {str(about['version'])[:20]}, but this program reads version {VERSION}"
        raise InputError(path, problem, HINT)
    if not isinstance(about["source"], str) or not isinstance(about["cases"], list):
        raise InputError(
            path, "is not a pack: it does not say what its images are", HINT
        )
    return about


def write_pack(
    path: Path,
    source: str,
    rows: Sequence[PackRow],
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
) -> None:
    """Writes a pack, whole or not at all; what it holds is as in `Pack`.

    Raises:
        InputError: there is no place to write to.
    """
    from safetensors.numpy import save

    entries = [vars(row) for row in rows]
    about = json.dumps(
        {"version": VERSION, "source": source, "cases": entries}, allow_nan=False
    )
    content = save({"images": images, "masks": masks}, {KEY: about})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
