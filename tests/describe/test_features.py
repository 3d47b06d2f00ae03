"""All features of one lesion under their names."""

import math

import pytest
from tests.describe.drawn import ellipse, picture, tissue

from sonoseg.describe.features import measure_features


def test_features_have_names_and_do_not_depend_on_the_spacing():
    image, mask = picture(tissue()), ellipse(40, 30)
    features = measure_features(image, mask).to_dict()
    assert features["shape.axis_ratio"] == pytest.approx(0.75, abs=0.02)
    assert {"gray.echo", "rim.step"} < set(features)
    assert all(math.isfinite(value) for value in features.values())
    assert measure_features(image, mask, (0.07, 0.07)).to_dict() == features
