"""The newest PyTorch that `sonoseg export` was tested with.

The export uses parts of PyTorch that may change in any release: fake tensors, `make_fx` and the ONNX exporter. A newer
PyTorch may well work, so it is not refused. But if the export then fails, the version is the first thing to try.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from sonoseg.errors import InputError, is_out_of_memory

NEWEST_TESTED = (2, 15)
"""(major, minor)."""


def is_newer_than_tested(version: str) -> bool:
    """Whether a version such as "2.16.0+cu132" is newer than `NEWEST_TESTED`."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) > NEWEST_TESTED


def hint(otherwise: str) -> str:
    """What to do about an export that failed: install a tested PyTorch, or `otherwise` if this one was tested."""
    if not is_newer_than_tested(torch.__version__):
        return otherwise
    major, minor = NEWEST_TESTED
    return f"this is torch {torch.__version__}; export was tested up to {major}.{minor}: install that one"


@contextlib.contextmanager
def failures_explained(subject: object) -> Iterator[None]:
    """Says in one line that PyTorch may be too new, if the block fails and PyTorch is newer than tested.

    Args:
        subject: what the error is about.

    Raises:
        InputError: in place of an error of the block, where PyTorch is newer than tested. Errors of a tested PyTorch,
            problems of the input and a lack of memory are raised as they are.
    """
    try:
        yield
    except Exception as error:  # PyTorch and its exporter raise many kinds
        known = isinstance(error, InputError) or is_out_of_memory(error)
        if known or not is_newer_than_tested(torch.__version__):
            raise
        problem = f"the export failed ({type(error).__name__})"
        raise InputError(subject, problem, hint("report this network")) from error
