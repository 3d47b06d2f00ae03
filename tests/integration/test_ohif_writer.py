"""A SEG as OHIF writes it, with dcmjs, becomes masks and a data set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from servers import PATIENCE, Study

from sonoseg.cli import main
from sonoseg.data.dicom import DicomCase, scan_dicom
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.seg_to_mask import read_seg

SCRIPT = Path(__file__).parent / "write_seg.cjs"
REPOSITORY = Path(__file__).resolve().parents[2]
DCMJS = REPOSITORY / ".venv" / "dcmjs" / "package" / "build" / "dcmjs.js"


@pytest.mark.parametrize("kind", ["still", "loop"])
def test_two_segments_of_ohif(study: Study, tmp_path: Path, kind: str) -> None:
    image = study.source(kind)
    file = read_dicom(image)
    labels = np.zeros((file.frames, *file.shape), np.uint8)
    labels[-1, 60:101, 70:127] = 1
    labels[-1, 180:200, 230:235] = 2
    labels[file.frames // 2, 200:233, 200:245] = 2
    (tmp_path / "labels").write_bytes(labels.tobytes())
    (tmp_path / "image.dcm").write_bytes(image.read_bytes())
    seg = tmp_path / "seg.dcm"
    words = ["node", SCRIPT, DCMJS, image, tmp_path / "labels", seg]
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE)
    made_by = str(pydicom.dcmread(seg).file_meta.ImplementationVersionName)
    assert "dcmjs" in made_by.lower()
    for one in read_seg(seg).segment_frames():
        np.testing.assert_array_equal(one.mask, labels[one.frame - 1] == one.segment)
    out = tmp_path / "masks"
    words = ["dicom", "seg-to-mask", str(seg), str(out), "--image", str(image)]
    assert main(words) == 0
    written = {np.asarray(Image.open(path)).tobytes() for path in out.iterdir()}
    expected = set()
    for one in labels:
        if one.any():
            expected.add(((one > 0).astype(np.uint8) * 255).tobytes())
    assert written == expected
    scan = scan_dicom(tmp_path)
    assert scan.findings == [] and scan.cases
    for case in scan.cases:
        assert isinstance(case, DicomCase)
        cut = file.layout.regions[case.region - 1].slices
        np.testing.assert_array_equal(case.read()[1], labels[case.frame - 1][cut] > 0)
