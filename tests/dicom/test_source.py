"""What is written about an image: the disk is to blame for a full disk, not the image."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset

from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.source import write_object

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux")
def test_a_full_disk_is_not_damage_of_the_image() -> None:
    dataset = make_dataset(np.full((64, 64), 90, np.uint8))
    file = read_dicom(as_bytes(dataset))
    with pytest.raises(OSError) as caught:
        write_object(file, dataset, FULL)
    assert caught.value.errno == errno.ENOSPC
