"""What importing costs: the public API nothing, the reader no PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sonoseg

LAB = {
    "torch",
    "torchvision",
    "timm",
    "lightning_fabric",
    "monai",
    "matplotlib",
    "scipy",
    "sklearn",
    "skimage",
    "onnx",
}


def _loaded_after(code: str, *arguments: object) -> set[str]:
    """Top-level modules in a fresh process after `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_sonoseg_imports_nothing_heavy() -> None:
    loaded = _loaded_after("import sonoseg")
    assert "sonoseg" in loaded
    assert not loaded & (LAB | {"numpy", "PIL", "onnxruntime"})


def test_help_imports_nothing_heavy_either() -> None:
    code = "import contextlib, sonoseg.cli\nwith contextlib.suppress(SystemExit):\n    sonoseg.cli.main(['--help'])"
    loaded = _loaded_after(code)
    assert "tyro" in loaded
    assert not loaded & (LAB | {"numpy", "PIL", "onnxruntime", "typeguard"})


def test_segmenting_files_needs_neither_lab_nor_development_packages(
    tmp_path: Path, bundle: Path, scan: NDArray[np.uint8]
) -> None:
    Image.fromarray(scan).save(tmp_path / "scan.png")
    code = "from sonoseg.reader.segment_files import segment_files\n"
    code += "segment_files([sys.argv[1]], sys.argv[3], sys.argv[2])"
    loaded = _loaded_after(code, tmp_path / "scan.png", tmp_path, bundle)
    assert {"numpy", "PIL", "onnxruntime"} <= loaded
    assert not loaded & LAB
    assert (tmp_path / "scan_mask.png").exists()


def test_a_bad_bundle_is_told_before_onnxruntime_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    code = (
        "import sonoseg\nfrom sonoseg.errors import InputError\n"
        "try: sonoseg.load(sys.argv[1])\nexcept InputError: pass\nelse: raise SystemExit('no error')"
    )
    assert "onnxruntime" not in _loaded_after(code, tmp_path / "junk.onnx")


def test_the_public_names_are_there() -> None:
    assert set(sonoseg.__all__) == {
        "SegmentationResult",
        "__version__",
        "load",
        "segment",
    }
    for name in sonoseg.__all__:
        assert getattr(sonoseg, name)
    assert sonoseg.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'Segmentation'"):
        _ = sonoseg.Segmentation


@pytest.mark.parametrize("way", ["command", "Python"])
def test_segmenting_reports_to_nobody(
    way: str, tmp_path: Path, bundle: Path, scan: NDArray[np.uint8]
) -> None:
    """ONNX Runtime keeps what it will report in the home folder, with a number for the machine."""
    Image.fromarray(scan).save(tmp_path / "scan.png")
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "ORT_DISABLE_TELEMETRY" and not name.startswith("XDG_")
    }
    code = {
        "command": "import sys; from sonoseg.cli import main; sys.exit(main(['segment', sys.argv[1], '--model', "
        "sys.argv[2], '--out', sys.argv[3]]))",
        "Python": "import sys, sonoseg; sonoseg.segment(sys.argv[1], sys.argv[2])",
    }[way]
    words = [str(tmp_path / "scan.png"), str(bundle), str(tmp_path / "out")]
    subprocess.run(
        [sys.executable, "-c", code, *words],
        check=True,
        env=environment | {"HOME": str(home)},
    )
    assert list(home.rglob("*")) == []
