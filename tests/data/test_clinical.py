"""The words of BrEaST, from its own table and from damaged ones."""

import pytest

from sonoseg.data.clinical import Words, read_words
from sonoseg.errors import InputError

HEADER = "Image_filename,Shape,Margin,Echogenicity,Posterior_features\n"


def table(tmp_path, row):
    path = tmp_path / "clinical.csv"
    path.write_text(HEADER + row + "\n")
    return path


def test_words_are_those_of_the_lexicon(tmp_path):
    row = "a.png,oval,not circumscribed - angular&indistinct,complex cystic/solid,no"
    expected = Words("oval", ("angular", "indistinct"), "complex", "none")
    assert read_words(table(tmp_path, row)) == {"a.png": expected}


def test_what_is_not_applicable_has_no_word(tmp_path):
    row = ",".join(["n.png", *["not applicable"] * 4])
    assert read_words(table(tmp_path, row)) == {"n.png": Words(None, (), None, None)}


@pytest.mark.parametrize(
    "row",
    [
        "a.png,square,circumscribed,hypoechoic,no",
        "a.png,oval,not circumscribed - furry,hypoechoic,no",
        "a.png,oval,circumscribed,grey,no",
        "a.png,oval,circumscribed,hypoechoic",
    ],
)
def test_unknown_words_and_short_rows_are_refused(tmp_path, row):
    with pytest.raises(InputError):
        read_words(table(tmp_path, row))


def test_the_real_table(real_data):
    words = read_words(real_data / "breast" / "clinical.csv")
    lesions = [one for one in words.values() if one.shape]
    assert (len(words), len(lesions)) == (128, 126)
    assert sum(one.shape == "irregular" for one in lesions) == 68
    assert sum(one.margin == ("circumscribed",) for one in lesions) == 59
    assert sum(one.posterior_features == "none" for one in lesions) == 74
