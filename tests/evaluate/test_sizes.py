"""What is said and drawn of sizes."""

from __future__ import annotations

from sonoseg.core.sizes import Measured, Sizes, sizes_summary
from sonoseg.evaluate.sizes import describe_sizes, size_panels


def of(reference: float, outline: float | None, is_metric: bool = True) -> Sizes:
    """Sizes of which all three measures are one number."""
    found = None if outline is None else Measured(outline, outline, outline)
    return Sizes(Measured(reference, reference, reference), found, is_metric)


def test_the_words_are_the_numbers_of_the_summary() -> None:
    sizes = [of(10, 12), of(20, 19), of(30, 33), of(300, 100, False), of(5, None)]
    first, second = describe_sizes(sizes_summary(sizes, ["a", "b", "c", "d", "e"]))
    assert first.startswith("longest diameter over 4 images: bias -19.4 % (")
    assert first.endswith(" %; nothing outlined of 1")
    assert "over 3 images: bias +1.33 mm (-1.00 to 3.00)" in second
    assert "limits of agreement -2.75 and 5.41 mm; ICC 0.97" in second


def test_the_picture_has_one_unit() -> None:
    some = [of(10, 12), of(300, 100, is_metric=False)]
    longest, across = size_panels(some, sizes_summary(some, ["a", "b"]))
    assert longest.title == "longest diameter"
    assert across.title == "perpendicular diameter"
    assert longest.unit == longest.difference_unit == "mm"
    assert longest.left_out == 1
    assert longest.mean.tolist() == [11] and longest.difference.tolist() == [2]
    none = [of(300, 100, is_metric=False)]
    panel = size_panels(none, sizes_summary(none, ["a"]))[0]
    assert (panel.unit, panel.difference_unit) == ("pixels", "%")
    assert panel.difference.tolist() == [-100]


def test_without_an_outlined_lesion_there_is_nothing_to_say() -> None:
    sizes = [of(5, None), Sizes()]
    table = sizes_summary(sizes, ["a", "b"])
    assert table["area"] == {"percent": None, "absolute": None}
    assert describe_sizes(table) == [
        "longest diameter: no lesion is outlined; nothing outlined of 1"
    ]
    assert size_panels(sizes, table)[0].limits is None


def test_one_lesion_has_no_limits_and_no_correlation() -> None:
    table = sizes_summary([of(10, 12)], ["a"])
    absolute = table["longest_diameter"]["absolute"]
    assert absolute["limits"] is absolute["icc"] is absolute["bias_interval"] is None
    percent, millimetres = describe_sizes(table)
    assert (
        percent
        == "longest diameter over 1 image: bias +18.2 % (–); nothing outlined of 0"
    )
    assert millimetres == "longest diameter over 1 image: bias +2.00 mm (–); ICC – (–)"
