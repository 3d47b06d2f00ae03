"""How small a lesion may be."""

from pathlib import Path

import numpy as np
from PIL import Image
from tests.describe.drawn import ellipse, picture, star, tissue

from sonoseg.data.case import Case
from sonoseg.data.clinical import Words
from sonoseg.describe.features import measure_features
from sonoseg.describe.questions import fitted
from sonoseg.evaluate.known_lesions import KnownLesion
from sonoseg.evaluate.smallest_lesion import KEPT, RADII, find_smallest


def known_lesion(folder: Path, name: str, mask) -> KnownLesion:
    image = picture(np.where(mask, tissue(40), tissue(130, seed=2)))
    paths = folder / f"{name}.png", folder / f"{name}_mask.png"
    Image.fromarray(image).save(paths[0])
    Image.fromarray(mask.astype(np.uint8) * 255).save(paths[1])
    case = Case(paths[0].name, paths[0], (paths[1],), "benign", name)
    features = {"reference": measure_features(image, mask).to_dict()}
    return KnownLesion(case, Words(None, (), None, None), features, 0.0)


def test_words_of_clear_lesions_stay(tmp_path):
    lesions = [
        known_lesion(tmp_path, "oval", ellipse(60, 32)),
        known_lesion(tmp_path, "star", star()),
        known_lesion(tmp_path, "tiny", ellipse(5, 5)),
    ]
    found = find_smallest(lesions, fitted())
    assert found["smallest_radius"] in RADII
    shares = found["same_words"]
    assert shares["24"] >= 0.8
    for radius in RADII:
        if radius >= found["smallest_radius"] and radius < max(RADII):
            assert shares[str(radius)] >= KEPT
