"""The report of `sonoseg demo`: what results.json says, as a page with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.reader.bundle import Card
from sonoseg.report.html import Html, cards, details, facts, figure, page, paragraph, section, table
from sonoseg.report.tables import Cell

SYNTHETIC = (
    "Every image here is synthetic: computer-made speckle with a lesion whose border is known, not a patient's scan."
    " How well these are outlined shows that the installation works, not how good the network is on patients."
)
HEADER = ("synthetic image", "true lesion, mm", "outlined, mm", "Dice", "IoU", "result")


def image_row(entry: dict[str, Any]) -> list[Cell]:
    """One image of results.json as a row under `HEADER`."""
    stem = entry["file"].rpartition("/")[2].removesuffix(".png")
    sizes = [_size(entry[lesions]) or "–" for lesions in ("true_lesions", "lesions")]
    return [stem, *sizes, entry["dice"], entry["iou"], entry["result"]]


def demo_page(
    results: dict[str, Any], pictures: Sequence[NDArray[np.uint8]], card: Card, seconds: float
) -> str:
    """The page.

    Args:
        results: what results.json holds.
        pictures: an overlay (H, W, 3) uint8 for each of its images.
        card: of the network.
        seconds: that segmenting an image took, its pictures included.
    """
    legend = (
        "Blue is what the network outlined, orange the known border; the dotted yellow lines are the longest diameter"
        " and the longest across it. All images are synthetic, with 0.1 mm to a pixel."
    )
    shown = cards(_picture(*pair) for pair in zip(results["images"], pictures, strict=True))
    return page(
        "sonoseg on synthetic ultrasound",
        SYNTHETIC,
        section("In short", facts(_facts(results, seconds))),
        section("Image by image", paragraph(legend), shown),
        section("Measurements", _measurements(results), _conventions(results)),
        section("The network", details(_about(card))),
    )


def _size(lesions: list[dict[str, Any]]) -> str:
    """Both diameters of the largest lesion in mm, "" without lesion."""
    if not lesions:
        return ""
    return f"{lesions[0]['longest_diameter']:.1f} × {lesions[0]['perpendicular_diameter']:.1f}"


def _facts(results: dict[str, Any], seconds: float) -> list[tuple[str, str]]:
    lesion, normals = results["conventions"]["lesion"], results["normals"]
    low, high = lesion["dice_interval"]
    count = len(results["images"]) - normals["images"]
    entries = [
        (
            f"{lesion['dice']:.2f}",
            f"mean Dice on {count} with a lesion (95 %: {low:.2f} to {high:.2f})",
        )
    ]
    if normals["images"]:
        false = round(normals["false_lesion"] * normals["images"])
        entries.append(
            (f"{false} of {normals['images']}", "without a lesion were given a false one")
        )
    return [*entries, (f"{seconds * 1000:.0f} ms", "an image, drawing and saving included")]


def _picture(entry: dict[str, Any], picture: NDArray[np.uint8]) -> Html:
    result, dice = entry["result"], entry["dice"]
    true, outlined = (
        _size(entry[lesions]).replace(" ", "\u00a0") for lesions in ("true_lesions", "lesions")
    )
    caption = f"{result[0].upper()}{result[1:]}."
    if dice is not None:
        caption += f" Dice {dice:.2f}, true size {true}\u00a0mm."
    alt = f"Synthetic ultrasound: {result}" + (f", {outlined} mm" if outlined else "")
    return figure(picture, alt, str(image_row(entry)[0]), caption)


def _measurements(results: dict[str, Any]) -> Html:
    caption = (
        "Synthetic images: the size of the largest lesion, and how far outline and truth agree"
    )
    return table(HEADER, [image_row(entry) for entry in results["images"]], caption)


def _conventions(results: dict[str, Any]) -> Html:
    metrics = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "iou": "IoU",
        "dice": "Dice",
    }
    rows = [
        [name, *(scores[metric] for metric in metrics)]
        for name, scores in results["conventions"].items()
    ]
    caption = (
        "Synthetic images: means under three conventions. paper: all images, 0 where a score is undefined;"
        " lesion: images with a lesion only; all: all images, 1 where nothing is outlined and nothing is there"
    )
    return table(["convention", *metrics.values()], rows, caption)


def _about(card: Card) -> list[tuple[str, str | list[str]]]:
    height, width = card.size
    return [
        ("Name", f"{card.name}, version {card.version}"),
        ("Input", f"one gray image, resized to {width} × {height} pixels"),
        ("Trained on", card.training_data),
        ("Intended use", card.intended_use),
        ("Limits", card.limits),
        ("Licence", card.licence),
    ]
