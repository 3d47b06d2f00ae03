"""Makes the README's two pictures: python docs/images/make_images.py RUN_FOLDER BUSI_FOLDER."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from sonoseg.demo import run_demo
from sonoseg.explain.explain import explain_files

HERE = Path(__file__).parent
PHANTOM, SCAN = "synthetic_04", "malignant (24).png"


def shrink(source: Path, target: Path, width: int, colours: int) -> None:
    """Writes `source` as a PNG of few colours, which few bytes hold."""
    picture = Image.open(source).convert("RGB")
    height = round(picture.height * min(1, width / picture.width))
    picture = picture.resize((min(width, picture.width), height), Image.Resampling.LANCZOS)
    picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {picture.width} × {height}, {target.stat().st_size / 1000:.0f} kB")


def main(run: Path, busi: Path) -> None:
    """A phantom outlined by the shipped network, and the run's Grad-CAM on a validation image of BUSI (CC0)."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(Path(folder) / "demo", 5, "default")
        shrink(Path(folder) / "demo" / "segmented" / f"{PHANTOM}_overlay.png", HERE / "overlay.png", 640, 200)
        explain_files(run, [busi / SCAN.partition(" ")[0] / SCAN], folder)
        shrink(Path(folder) / f"{Path(SCAN).stem}_explained.png", HERE / "gradcam.png", 1300, 200)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
