"""The report of `sonoseg demo`: the content of results.json as a page with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.reader.card import Card
from sonoseg.report.html import (
    Html,
    cards,
    details,
    facts,
    figure,
    page,
    paragraph,
    section,
    table,
)
from sonoseg.report.tables import Cell, interval_text

SYNTHETIC = (
    "Every image here is synthetic: computer-made speckle with a lesion whose border is known, not a patient's scan."
    " Good masks show that the installation works. They do not show how good the network is on patients."
)
HEADER = ("synthetic image", "true lesion, mm", "outlined, mm", "Dice", "IoU", "result")


def image_row(entry: dict[str, Any]) -> list[Cell]:
    """Returns one image of results.json as a row under `HEADER`."""
    return [
        _stem(entry),
        _size(entry["true_lesions"]) or "–",
        _size(entry["lesions"]) or "–",
        entry["dice"],
        entry["iou"],
        entry["result"],
    ]


def demo_page(
    results: dict[str, Any],
    pictures: Sequence[NDArray[np.uint8]],
    card: Card,
    seconds: float,
) -> str:
    """Returns the page as HTML.

    Args:
        results: the content of results.json.
        pictures: one overlay (H, W, 3) uint8 per image.
        card: the card of the network.
        seconds: time to segment one image, with drawing and saving.
    """
    legend = (
        "Blue is what the network outlined, orange the known border; the dotted yellow lines are the longest diameter"
        " and the longest across it. All images are synthetic, with 0.1 mm to a pixel."
    )
    shown = []
    for entry, picture in zip(results["images"], pictures, strict=True):
        shown.append(_picture(entry, picture))
    return page(
        "sonoseg on synthetic ultrasound",
        SYNTHETIC,
        section("In short", facts(_facts(results, seconds))),
        section("Image by image", paragraph(legend), cards(shown)),
        section("Measurements", _measurements(results), _conventions(results)),
        section("The network", details(_about(card))),
    )


def _stem(entry: dict[str, Any]) -> str:
    """The name of an image without folder and ending."""
    _, _, name = entry["file"].rpartition("/")
    return str(name).removesuffix(".png")


def _size(lesions: list[dict[str, Any]]) -> str:
    """Both diameters of the largest lesion in mm; "" if there is none."""
    if not lesions:
        return ""
    largest = lesions[0]
    return (
        f"{largest['longest_diameter']:.1f} × {largest['perpendicular_diameter']:.1f}"
    )


def _facts(results: dict[str, Any], seconds: float) -> list[tuple[str, str]]:
    lesion = results["conventions"]["lesion"]
    normals = results["normals"]
    interval = interval_text(lesion["dice_interval"], ".2f")
    count = len(results["images"]) - normals["images"]
    words = f"mean Dice on {count} with a lesion (95 %: {interval})"
    entries = [(f"{lesion['dice']:.2f}", words)]
    if normals["images"]:
        false = round(normals["false_lesion"] * normals["images"])
        share = f"{false} of {normals['images']}"
        entries.append((share, "without a lesion were given a false one"))
    entries.append(
        (f"{seconds * 1000:.0f} ms", "an image, drawing and saving included")
    )
    return entries


def _picture(entry: dict[str, Any], picture: NDArray[np.uint8]) -> Html:
    result = entry["result"]
    caption = f"{result[0].upper()}{result[1:]}."
    if entry["dice"] is not None:
        true_size = _unbroken(_size(entry["true_lesions"]))
        caption += f" Dice {entry['dice']:.2f}, true size {true_size}\u00a0mm."
    alt = f"Synthetic ultrasound: {result}"
    outlined_size = _unbroken(_size(entry["lesions"]))
    if outlined_size:
        alt += f", {outlined_size} mm"
    return figure(picture, alt, _stem(entry), caption)


def _unbroken(text: str) -> str:
    """The text with spaces at which no line is broken."""
    return text.replace(" ", "\u00a0")


def _measurements(results: dict[str, Any]) -> Html:
    caption = "Synthetic images: the size of the largest lesion, and how far outline and truth agree"
    return table(HEADER, [image_row(entry) for entry in results["images"]], caption)


def _conventions(results: dict[str, Any]) -> Html:
    metrics = {
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "iou": "IoU",
        "dice": "Dice",
    }
    rows: list[list[Cell]] = []
    for name, scores in results["conventions"].items():
        row: list[Cell] = [name]
        row += [scores[metric] for metric in metrics]
        rows.append(row)
    caption = (
        "Synthetic images: means under three conventions. paper: all images, 0 where a score is undefined;"
        " lesion: only images with a lesion; all: all images, 1 where there is no lesion and none is outlined"
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
