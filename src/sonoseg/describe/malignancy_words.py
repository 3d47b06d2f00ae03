"""The malignancy of a lesion in words, for pictures and reports."""

from __future__ import annotations

from sonoseg.describe.malignancy import Malignancy


def percent(malignancy: Malignancy) -> str:
    """Such as "31 % (20 % to 44 %)", or "cannot say"."""
    if malignancy.withheld is not None:
        return "cannot say"
    numbers = malignancy.probability, malignancy.low, malignancy.high
    middle, low, high = (f"{100 * number:.0f} %" for number in numbers)
    return f"{middle} ({low} to {high})"


def sentence(malignancy: Malignancy) -> str:
    """The same for a report, with the reason if nothing is said; without a full stop."""
    if malignancy.withheld is not None:
        return f"no probability of malignancy is given: {malignancy.withheld}"
    words = f"probability of malignancy {percent(malignancy)}"
    return f"{words}, estimated by a program, no diagnosis"
