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
from sonoseg.core.resize import resize_image, unit_range
from sonoseg.data.phantom import make_phantom
from sonoseg.describe.malignancy_head import logit, sigmoid
from sonoseg.reader.bundle import Bundle, default_bundle_path
from sonoseg.reader.card import CARD_KEY
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum

SIZES = [(64, 80), (150, 400), (400, 150), (192, 192), (300, 441), (701, 997)]
"""(H, W) smaller and larger than the input of the network, and both."""


def mask_of_the_page(sensitivity: str | None = None) -> NDArray[np.bool_]:
    """Runs the program on model.onnx and scan.png here, at an operating point if one is named."""
    code = block_with("InferenceSession")
    if sensitivity is not None:
        (line,) = re.findall(r"^.*network\.run\(.*$", code, re.MULTILINE)
        instead = block_with("presence_shift").replace('"high"', f'"{sensitivity}"')
        code = code.replace(line, instead)
    assert not re.search(r"\bsonoseg\b(?!\.card)", code)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/reference.md", "exec"), names)
    mask: NDArray[np.bool_] = names["mask"]
    return mask


def block_with(word: str) -> str:
    """The page's block of Python that has this word."""
    (code,) = [
        code
        for language, code in blocks("docs/reference.md")
        if language == "python" and word in code
    ]
    return code


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


def test_it_keeps_the_lesions_of_an_operating_point(here: Path) -> None:
    """The cuts lie just below and just above what the presence head says, and the threshold is not 0.5."""
    pixels = make_phantom(3)[0]
    Image.fromarray(pixels).save("scan.png")
    bundle = Bundle.read(default_bundle_path())
    small = unit_range(resize_image(pixels, bundle.card.size)[None, None])
    # A large shift limits all pixels to what the presence head says.
    limited = bundle.run(small, presence_shift=-20.0).probability.max()
    presence = logit(float(limited)) + 20
    below, above = sigmoid(np.array([presence - 0.3, presence + 0.3]))
    cuts = {"high": float(below), "balanced": 0.5, "specific": float(above)}
    write_strict_bundle(here / "model.onnx", threshold=0.2, sensitivity=cuts)
    for name, is_kept in (("high", True), ("specific", False)):
        wanted = sonoseg.segment("scan.png", "model.onnx", sensitivity=name).mask
        np.testing.assert_array_equal(mask_of_the_page(name), wanted)
        assert wanted.any() == is_kept
