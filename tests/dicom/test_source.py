"""What is written about an image: the disk is to blame for a full disk, not the image."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset

from sonoseg.dicom.options import Options
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.source import reference_dataset, write_object

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux")
def test_a_full_disk_is_not_damage_of_the_image() -> None:
    dataset = make_dataset(np.full((64, 64), 90, np.uint8))
    file = read_dicom(as_bytes(dataset))
    with pytest.raises(OSError) as caught:
        write_object(file, dataset, FULL)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("options", [Options(), Options(pseudonym="key")])
def test_several_values_of_an_element_stay_as_they_are(options: Options) -> None:
    """A backslash divides values; an ID that holds one must not become another patient's."""
    made = {
        "PatientID": "MRN\\4711",
        "StudyID": "A\\B",
        "AccessionNumber": "1\\2",
        "ReferringPhysicianName": "Dr A\\Dr B",
    }
    dataset = make_dataset(np.full((64, 64), 90, np.uint8), **made)
    file = read_dicom(as_bytes(dataset))
    kept = reference_dataset(file, options.pseudonym)
    if options.pseudonym is None:
        for name in made:
            assert kept[name].value == dataset[name].value
    else:
        again = make_dataset(np.full((64, 64), 90, np.uint8), **made)
        assert (
            reference_dataset(read_dicom(as_bytes(again)), "key").PatientID
            == kept.PatientID
        )
        assert "[" not in str(kept)
