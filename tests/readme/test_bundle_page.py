"""The program in docs/reference.md that runs a bundle without sonoseg gives the masks of sonoseg."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image, ImageDraw
from tests.readme.test_commands import blocks

import sonoseg
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.bundle import default_bundle_path
from sonoseg.reader.card import CARD_KEY
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum

SIZES = [(64, 80), (150, 400), (400, 150), (192, 192), (300, 441), (701, 997)]
"""(H, W) smaller and larger than the input of the network, and both."""


def mask_of_the_page() -> NDArray[np.bool_]:
    """Runs the program on model.onnx and scan.png here."""
    (code,) = [
        code
        for language, code in blocks("docs/reference.md")
        if language == "python" and "InferenceSession" in code
    ]
    assert not re.search(r"\bsonoseg\b(?!\.card)", code)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/reference.md", "exec"), names)
    mask: NDArray[np.bool_] = names["mask"]
    return mask


def write_strict_bundle(path: Path, **changes: object) -> None:
    """The bundled model with another card."""
    model = onnx.load(default_bundle_path())
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card = json.loads(metadata[CARD_KEY]) | changes
    metadata[CARD_KEY] = json.dumps(card)
    metadata[CHECKSUM_KEY] = CHECKSUM_MARK + "0" * 64
    helper.set_model_props(model, metadata)
    path.write_bytes(add_checksum(model.SerializeToString()))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", SIZES)
def test_its_mask_is_that_of_sonoseg(here: Path, size: tuple[int, int]) -> None:
    shutil.copy(default_bundle_path(), "model.onnx")
    pixels = Image.fromarray(make_phantom(3)[0]).resize(size[::-1])
    colour = Image.merge("RGBA", [pixels, pixels.rotate(180), pixels, pixels])
    for image in (pixels, colour):
        image.save("scan.png")
        wanted = sonoseg.segment("scan.png", "model.onnx").mask
        np.testing.assert_array_equal(mask_of_the_page(), wanted)
    assert wanted.shape == size
    pixels.save("scan.png")
    assert mask_of_the_page().any()


def test_it_turns_images_upright(here: Path) -> None:
    shutil.copy(default_bundle_path(), "model.onnx")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(make_phantom(3)[0]).save("scan.png", exif=exif)
    wanted = sonoseg.segment("scan.png").mask
    np.testing.assert_array_equal(mask_of_the_page(), wanted)


def test_it_follows_the_threshold_and_removes_small_parts(here: Path) -> None:
    image = Image.fromarray(make_phantom(3)[0])
    image.paste(image.resize((image.width // 4, image.height // 4)), (0, 0))
    ImageDraw.Draw(image).ellipse((10, 300, 40, 330), 5)
    image.save("scan.png")
    found = []
    for fraction in (0.0, 0.005, 0.9):
        write_strict_bundle(
            here / "model.onnx", threshold=0.2, min_lesion_fraction=fraction
        )
        result = sonoseg.segment("scan.png", "model.onnx")
        np.testing.assert_array_equal(mask_of_the_page(), result.mask)
        found.append(len(result.lesions))
    assert found[0] > found[1] > found[2] == 0
