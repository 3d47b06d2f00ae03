"""Orthanc takes what sonoseg writes, and gives it back unchanged."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from servers import PATIENCE, Orthanc, Study

from sonoseg.cli import main
from sonoseg.dicom.lesions import Tracker
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.report import make_report
from sonoseg.dicom.source import Algorithm

KINDS = ("still", "loop", "split")


def test_the_results_are_in_the_study_of_their_image(
    orthanc: Orthanc, stored: Study
) -> None:
    client = orthanc.client()
    for kind in KINDS:
        study = pydicom.dcmread(stored.source(kind)).StudyInstanceUID
        series = client.search_for_series(study)
        modalities = sorted(one["00080060"]["Value"][0] for one in series)
        assert modalities == ["OT", "SEG", "SR", "US"], kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_masks_come_back_as_they_were_written(
    orthanc: Orthanc, stored: Study, tmp_path: Path, kind: str
) -> None:
    sent = pydicom.dcmread(stored.result(kind, "seg"))
    uids = (sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
    fetched = orthanc.client().retrieve_instance(*uids)
    assert fetched.PixelData == sent.PixelData
    fetched.save_as(tmp_path / "fetched.dcm")
    words = ["dicom", "seg-to-mask", str(tmp_path / "fetched.dcm"), str(tmp_path)]
    assert main(words) == 0
    written = sorted(stored.results.glob(f"{stored.source(kind).stem}*_mask.png"))
    masks = [np.asarray(Image.open(path)) > 0 for path in written]
    back = [np.asarray(Image.open(path)) > 0 for path in sorted(tmp_path.glob("*.png"))]
    assert len(masks) == len(back)
    for mask, same in zip(masks, back, strict=True):
        np.testing.assert_array_equal(mask, same)


@pytest.mark.parametrize("kind", KINDS)
def test_dcmtk_reads_the_report(stored: Study, kind: str) -> None:
    command = ["dsrdump", str(stored.result(kind, "sr"))]
    dump = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    found = re.findall(r'"Long Axis"\)="([0-9.]+)" \(mm,UCUM', dump.stdout)
    measured = []
    for view in stored.entry(kind)["views"]:
        measured += [lesion["longest_diameter"] for lesion in view["lesions"]]
    assert float(found[0]) == pytest.approx(max(measured), abs=0.01)


def test_the_same_results_are_stored_once(orthanc: Orthanc, stored: Study) -> None:
    """A second run writes the same UIDs, so that an archive does not keep two of each."""
    client = orthanc.client()
    before = len(client.search_for_instances())
    client.store_instances([pydicom.dcmread(stored.result("still", "seg"))])
    assert len(client.search_for_instances()) == before


def test_dcmtk_names_who_corrected_an_outline(stored: Study, tmp_path: Path) -> None:
    file = read_dicom(stored.source("still"))
    (view,) = file.views()
    mask = np.zeros(view.image.pixels.shape, np.bool_)
    mask[100:140, 100:180] = True
    outlines = Tracker().follow(view, mask)
    options = Options(corrected_by="Ito")
    report = make_report(
        file, outlines, Algorithm("sonoseg-1", "1", "ab" * 32), options
    )
    report.save_as(tmp_path / "sr.dcm")
    command = ["dsrdump", str(tmp_path / "sr.dcm")]
    dump = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert '"Person Observer Name")="Ito"' in dump.stdout
