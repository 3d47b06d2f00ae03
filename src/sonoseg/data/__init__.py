"""Data sets on disk as cases: loading, splitting and checking them."""

from __future__ import annotations

from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.splits import SPLITS, split_cases

__all__ = ["SPLITS", "Case", "load_cases", "split_cases"]
