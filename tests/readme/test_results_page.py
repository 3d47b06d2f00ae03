"""docs/reference.md names every key of a results.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sonoseg.cli import main
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.phantom import make_phantom
from sonoseg.reader.video_writer import video_writer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
FREE = ("checksums", "model", "malignancy", "descriptors")
"""What is in these is listed elsewhere, or is named by files."""


def keys_in(value: Any) -> Iterator[str]:
    """All keys of JSON, at any depth."""
    if isinstance(value, list):
        for entry in value:
            yield from keys_in(entry)
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key
            if key not in FREE:
                yield from keys_in(entry)


def test_the_page_names_every_key_of_a_results_file(tmp_path: Path) -> None:
    pixels = make_phantom(3)[0]
    write_dicom_phantoms(tmp_path / "study", 1)
    scans = tmp_path / "scans"
    (tmp_path / "study" / "images").rename(scans)
    Image.fromarray(pixels).save(scans / "scan.png")
    (scans / "bad.png").write_bytes(b"bad")
    with video_writer(scans / "clip.mp4", Fraction(10), Fraction(1, 10)) as clip:
        clip.write(np.stack([pixels[:128, :128]] * 3, axis=2), 0)
    out = tmp_path / "out"
    options = ["--out", str(out), "--explain", "--to", "coco", "geojson", "labelme"]
    assert main(["segment", str(scans), *options]) == 1
    report = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert all(report[group] for group in ("images", "clips", "dicom", "failed"))
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition("\n### segment\n")[2].partition("\n### ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    missing = {
        key
        for key in keys_in(report)
        if key not in named and not key.endswith("_ends") and key not in "xy"
    }
    assert missing == set()
