"""Fixtures of the DICOM tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from dicom_files import find_real


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Finds a file of pydicom or pydicom-data by its name."""
    return find_real
