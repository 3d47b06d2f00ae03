"""Two calls into one folder, and masks that somebody has corrected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.errors import InputError
from sonoseg.reader.folder_lock import locked
from sonoseg.reader.segment_files import segment_files


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 200, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("is_new", [True, False])
def test_a_second_call_is_refused_while_the_first_writes(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    out = tmp_path / "out"
    if not is_new:
        out.mkdir()
    refused = []

    def during(*_: int) -> None:
        with pytest.raises(InputError, match="another sonoseg command is writing"):
            segment_files([scans / "b.png"], "default", out)
        refused.append(True)

    segment_files([scans / "a.png"], "default", out, progress=during)
    assert refused and not (out / "b_mask.png").exists()
    segment_files([scans / "b.png"], "default", out)
    report = json.loads((out / "results.json").read_text())
    assert report["earlier_files"] == ["a_mask.png", "a_overlay.png"]


def test_the_lock_leaves_no_file(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_corrected_mask_is_never_replaced(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment_files([scans], "default", out, formats=("geojson",))
    mask = np.array(Image.open(out / "a_mask.png"))
    mask[:8, :8] = 255
    Image.fromarray(mask).save(out / "a_mask.png")
    # Neither by the next call, nor by one after another call in between.
    segment_files([scans / "b.png"], "default", out)
    with pytest.raises(InputError, match=r"a_mask\.png: has been changed since"):
        segment_files([scans], "default", out)
    np.testing.assert_array_equal(np.array(Image.open(out / "a_mask.png")), mask)
    (out / "a_mask.png").unlink()
    (out / "a_lesions.geojson").write_text("{}")
    with pytest.raises(InputError, match=r"a_lesions\.geojson: has been changed"):
        segment_files([scans], "default", out, formats=("geojson",))
    segment_files([scans], "default", out)
    assert (out / "a_lesions.geojson").read_text() == "{}"
