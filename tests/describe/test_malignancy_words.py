"""Numbers and reasons as a reader sees them."""

from sonoseg.describe.malignancy import Malignancy
from sonoseg.describe.malignancy_words import percent, sentence


def test_a_probability_has_its_interval_and_its_warning():
    found = Malignancy(0.314, 0.2, 0.444)
    assert percent(found) == "31 % (20 % to 44 %)"
    assert sentence(found).startswith("probability of malignancy 31 % (20 % to 44 %)")
    assert sentence(found).endswith("no diagnosis")


def test_what_is_withheld_has_no_number():
    found = Malignancy(0.5, 0.2, 0.8, withheld="the outline is uncertain")
    assert percent(found) == "cannot say"
    assert "5" not in sentence(found) and "the outline is uncertain" in sentence(found)
