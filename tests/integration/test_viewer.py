"""OHIF draws the outline and the measurement, on the right frame and at the right place."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from drive import Viewer
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver
from servers import Orthanc, Study

from sonoseg.cli import main

LESIONS = "sonoseg, image {}: lesions"
MEASUREMENTS = "sonoseg, image {}: measurements"
NEAR = 6
"""Pixels of the screen."""


@pytest.fixture
def ohif(browser: webdriver.Chrome, viewer: str) -> Viewer:
    return Viewer(browser, viewer)


def on_screen(mask: NDArray[np.bool_], screen: tuple[int, ...]) -> NDArray[np.bool_]:
    """Returns where OHIF shows the mask: it fits the image into the viewport, in the middle."""
    scale = min(screen[0] / mask.shape[0], screen[1] / mask.shape[1])
    y = (np.arange(screen[0]) + 0.5 - screen[0] / 2) / scale + mask.shape[0] / 2
    x = (np.arange(screen[1]) + 0.5 - screen[1] / 2) / scale + mask.shape[1] / 2
    shown = np.zeros(screen[:2], np.bool_)
    rows = np.flatnonzero((y >= 0) & (y < mask.shape[0]))
    columns = np.flatnonzero((x >= 0) & (x < mask.shape[1]))
    shown[np.ix_(rows, columns)] = mask[
        np.ix_(y[rows].astype(int), x[columns].astype(int))
    ]
    return shown


def centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the mean (y, x)."""
    return np.argwhere(mask).mean(axis=0)


def drawn_near(ohif: Viewer, expected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the coloured pixels round the place where the mask is expected."""
    y, x = np.nonzero(expected)
    coloured = ohif.colours()
    near = np.zeros_like(coloured)
    near[y.min() - 40 : y.max() + 40, x.min() - 40 : x.max() + 40] = True
    return coloured & near


def mask_of(study: Study, kind: str, frame: int | None = None) -> NDArray[np.bool_]:
    stem = study.source(kind).stem
    name = f"{stem}_mask.png" if frame is None else f"{stem}_frame{frame:04d}_mask.png"
    return np.asarray(Image.open(study.results / name)) > 0


def test_the_outline_of_a_still_is_drawn_in_its_place(
    ohif: Viewer, stored: Study, screenshots: Path
) -> None:
    ohif.open(pydicom.dcmread(stored.source("still")).StudyInstanceUID)
    expected = on_screen(mask_of(stored, "still"), ohif.picture().shape)
    assert not drawn_near(ohif, expected).any()
    ohif.load(LESIONS.format(1))
    ohif.answer("Yes")
    drawn = ohif.wait(
        lambda: overlap(drawn_near(ohif, expected), expected) > 0.9, "the outline"
    )
    assert drawn
    ohif.keep(screenshots / "still-outline.png")


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Returns the IoU."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def test_each_frame_of_a_loop_shows_its_own_outline(
    ohif: Viewer, stored: Study, screenshots: Path
) -> None:
    ohif.open(pydicom.dcmread(stored.source("loop")).StudyInstanceUID)
    ohif.load(LESIONS.format(1))
    ohif.answer("Yes")
    screen = ohif.picture().shape
    for frame in (1, 12):
        ohif.wait(lambda frame=frame: ohif.show_frame(frame), f"frame {frame}")
        expected = on_screen(mask_of(stored, "loop", frame), screen)
        ohif.wait(
            lambda expected=expected: (
                overlap(drawn_near(ohif, expected), expected) > 0.9
            ),
            f"the outline of frame {frame}",
        )
        drawn = drawn_near(ohif, expected)
        assert np.abs(centre(drawn) - centre(expected)).max() < NEAR
        other = on_screen(mask_of(stored, "loop", 13 - frame), screen)
        assert np.abs(centre(drawn) - centre(other)).max() > NEAR
        ohif.keep(screenshots / f"loop-outline-{frame}.png")


def test_the_measurement_of_a_loop_is_drawn_on_its_frame(
    ohif: Viewer, stored: Study, screenshots: Path
) -> None:
    ohif.open(pydicom.dcmread(stored.source("loop")).StudyInstanceUID)
    ohif.load(MEASUREMENTS.format(1))
    ohif.answer("Yes")
    text = ohif.wait(lambda: ohif.drawn_text("L:"), "the long axis")
    ohif.keep(screenshots / "loop-measurement.png")
    views = stored.entry("loop")["views"]
    largest = max(views, key=lambda view: max(one["area"] for one in view["lesions"]))
    assert ohif.frame() == largest["frame"]
    length, unit = re.search(r"L: ([0-9.]+) (mm|cm)", text).groups()
    shown = float(length) * {"mm": 1, "cm": 10}[unit]
    assert shown == pytest.approx(largest["lesions"][0]["longest_diameter"], abs=0.1)


def test_each_image_of_a_series_shows_its_own_results(
    ohif: Viewer, orthanc: Orthanc, tmp_path: Path, screenshots: Path
) -> None:
    """Most examinations are several stills in one series. Of several objects in one series OHIF shows one."""
    phantoms, images, out = tmp_path / "made", tmp_path / "images", tmp_path / "out"
    words = ["data", "phantom", str(phantoms), "--dicom", "--count", "4"]
    assert main([*words, "--seed", "40"]) == 0
    images.mkdir()
    uids = {"StudyInstanceUID": "1.2.3.40", "SeriesInstanceUID": "1.2.3.40.1"}
    for number, path in enumerate(sorted(phantoms.glob("images/*still*")), 1):
        still = pydicom.dcmread(path)
        for keyword, value in uids.items():
            setattr(still, keyword, value)
        still.PatientID, still.InstanceNumber = "two", number
        still.save_as(images / f"{number}.dcm")
    assert main(["segment", str(images), "--to", "seg", "sr", "--out", str(out)]) == 0
    files = sorted(images.iterdir())
    command = ["storescu", "--call", "ORTHANC", "127.0.0.1", str(orthanc.dicom_port)]
    subprocess.run([*command, *map(str, files)], check=True, timeout=60)
    results = [pydicom.dcmread(path) for path in sorted(out.glob("*.dcm"))]
    assert len(results) == 4
    orthanc.client().store_instances(results)
    ohif.open(uids["StudyInstanceUID"])
    for number in (1, 2):
        ohif.load(LESIONS.format(number))
        ohif.answer("Yes")
        ohif.wait(lambda number=number: ohif.show_frame(number), f"image {number}")
        mask = np.asarray(Image.open(out / f"{number}_mask.png")) > 0
        expected = on_screen(mask, ohif.picture().shape)
        ohif.wait(
            lambda expected=expected: (
                overlap(drawn_near(ohif, expected), expected) > 0.9
            ),
            f"the outline of image {number}",
        )
        ohif.keep(screenshots / f"series-{number}.png")
        assert ohif.shows(MEASUREMENTS.format(number))
