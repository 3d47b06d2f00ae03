"""What damaged files make the libraries raise, and how values are taken from a header that may hold anything."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from sonoseg.core.source import quiet
from sonoseg.errors import InputError

DAMAGE = (
    InvalidDicomError,  # pydicom: not DICOM, or the first elements are damaged
    BytesLengthException,  # pydicom: an element whose length does not fit its type
    ValueError,  # values of another kind, sizes that do not fit, letters that are none (UnicodeError)
    ArithmeticError,  # numbers too large, lookup tables without steps
    EOFError,  # pydicom: the file ends within an element
    struct.error,  # pydicom: an element is shorter than its type
    zlib.error,  # deflated data
    OSError,  # Pillow: JPEG data cut short, an image file that is none
    SyntaxError,  # Pillow: broken headers of pictures
    Image.DecompressionBombError,  # Pillow: a frame that claims to be huge
    NotImplementedError,  # pydicom: a form that no decoder knows
    RecursionError,  # pydicom: sequences in sequences without end
    RuntimeError,  # pydicom, GDCM, OpenJPEG, CharLS: no decoder could decode it
)
"""Errors that speak of the file."""
MISSING = (AttributeError, KeyError, IndexError, TypeError, AssertionError)
"""pydicom and its decoders raise these for elements that are missing, empty or of another kind. So do
mistakes in our own code: raised there, they are not taken for damage of the file."""


@contextmanager
def dicom_errors(subject: str) -> Iterator[None]:
    """Turns what the libraries raise on damaged files into an InputError, and holds back their warnings."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            subject, "not enough memory to read it", "split the loop"
        ) from error
    except DAMAGE as error:
        raise _damaged(subject) from error
    except MISSING as error:
        if _is_raised_here(error):
            raise
        raise _damaged(subject) from error


def _damaged(subject: str) -> InputError:
    return InputError(
        subject, "is damaged DICOM or cut short", "copy or export it again"
    )


def _is_raised_here(error: BaseException) -> bool:
    """Whether an error was raised by code of sonoseg, not by a library that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == "sonoseg"


def text(dataset: Dataset, name: str) -> str:
    """The value of an element as it stands in the file, several values joined by backslashes; "" if it is missing."""
    value = dataset.get(name)
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def number(dataset: Dataset, name: str, missing: float | None = None) -> float:
    """The value of an element that holds one number.

    Args:
        dataset: of a header.
        name: keyword of the element.
        missing: what to return if it is missing or empty.

    Raises:
        ValueError: it is missing, empty or no single number.
    """
    value = dataset.get(name)
    if value in (None, "") and missing is not None:
        return missing
    if not isinstance(value, (Real, str)):
        raise ValueError(f"{name} is no number")
    return float(value)


def integer(dataset: Dataset, name: str, missing: int | None = None) -> int:
    """`number` for an element that holds a whole number.

    Raises:
        ValueError: as `number`; OverflowError: it is not finite.
    """
    return int(number(dataset, name, missing))


def items(dataset: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; none if it is missing.

    Raises:
        ValueError: the element is no sequence.
    """
    value = dataset.get(name)
    if value in (None, "", b""):
        return []
    if not isinstance(value, Sequence):
        raise ValueError(f"{name} is no sequence")
    return list(value)
