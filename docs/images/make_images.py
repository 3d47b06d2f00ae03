"""Makes the pictures of README.md and docs/: python docs/images/make_images.py BUSI_FOLDER."""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import sonoseg
from sonoseg.data.load import load_cases
from sonoseg.demo import run_demo
from sonoseg.explain.explain import explain_files
from sonoseg.reader.overlay import draw_overlay
from sonoseg.report.evaluation_figures import trade_off_figure

HERE = Path(__file__).parent
PHANTOM, SCAN = "synthetic_04", "malignant (24).png"
CURVES = {"sonoseg-1": "sonoseg-1", "smp.Unet efficientnet-b0": "peer"}
VALIDATION = HERE.parents[1] / "results" / "sonoseg-1" / "validation"


def shrink(source: Path | Image.Image, target: Path, width: int, colours: int) -> None:
    """Writes `source` as a PNG of few colours, which few bytes hold."""
    picture = (
        source if isinstance(source, Image.Image) else Image.open(source)
    ).convert("RGB")
    height = round(picture.height * min(1, width / picture.width))
    picture = picture.resize(
        (min(width, picture.width), height), Image.Resampling.LANCZOS
    )
    picture.quantize(
        colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    ).save(target, optimize=True)
    print(
        f"{target}: {picture.width} × {height}, {target.stat().st_size / 1000:.0f} kB"
    )


def worst(busi: Path, count: int = 8, columns: int = 4, side: int = 330) -> Image.Image:
    """The validation images with the lowest Dice, among them every normal one with a false lesion; truth in orange."""
    with (VALIDATION / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    lesion = [row for row in rows.values() if row["label"] != "normal"]
    false = [
        row for row in rows.values() if row["label"] == "normal" and int(row["fp"])
    ]
    shown = [
        *sorted(lesion, key=lambda row: float(row["dice"]))[: count - len(false)],
        *false,
    ]
    cases = {case.name: case for case in load_cases(busi)}
    segmenter = sonoseg.load()
    sheet = Image.new(
        "RGB", (columns * side, -(-count // columns) * (side + 24)), "white"
    )
    for place, row in enumerate(shown):
        case = cases[row["file"]]
        picture = Image.fromarray(
            draw_overlay(segmenter.segment(case.read_image()), truth=case.read_mask())
        )
        picture.thumbnail((side - 8, side - 8), Image.Resampling.LANCZOS)
        x, y = place % columns * side, place // columns * (side + 24)
        sheet.paste(picture, (x, y + 22))
        words = "false lesion" if row in false else f"Dice {float(row['dice']):.2f}"
        ImageDraw.Draw(sheet).text(
            (x + 2, y + 4), f"{Path(row['file']).stem}: {words}", "black", font_size=15
        )
    return sheet


def trade_off(source: Path | str) -> list[tuple[float, float, float]]:
    """Threshold, share of normals with a false lesion, lesion Dice: of an evaluation on the test images."""
    with (HERE.parents[1] / "results" / source / "test" / "tradeoff.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        names = ("threshold", "false_lesions", "lesion_dice")
        return [
            tuple(float(row[name]) for name in names) for row in csv.DictReader(file)
        ]  # type: ignore[misc]


def main(busi: Path) -> None:
    """Pictures of the bundled model: phantoms; Grad-CAM and the worst failures on validation images of BUSI (CC0)."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(Path(folder) / "demo", 5, "default")
        shrink(
            Path(folder) / "demo" / "segmented" / f"{PHANTOM}_overlay.png",
            HERE / "overlay.png",
            640,
            200,
        )
        explain_files("default", [busi / SCAN.partition(" ")[0] / SCAN], folder)
        shrink(
            Path(folder) / f"{Path(SCAN).stem}_explained.png",
            HERE / "gradcam.png",
            1300,
            200,
        )
    curves = {name: trade_off(folder) for name, folder in CURVES.items()}
    trade_off_figure(curves, HERE / "tradeoff.png")
    shrink(worst(busi), HERE / "failures.png", 1320, 64)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
