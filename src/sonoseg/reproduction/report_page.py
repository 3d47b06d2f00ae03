"""The report as one HTML page that contains its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.files import is_there
from sonoseg.report.html import (
    Html,
    cards,
    facts,
    figure,
    page,
    paragraph,
    section,
    table,
)
from sonoseg.reproduction.jobs import PICTURES
from sonoseg.reproduction.material import Material
from sonoseg.reproduction.model_results import ModelResults, best_of
from sonoseg.reproduction.paper_tables import REFERENCE
from sonoseg.reproduction.report_table import ReportTable

WIDTH = 1200
"""Largest width of a picture in the page, in pixels."""
TITLE = "Anari et al. 2025, reproduced"


def report_page(
    lead: str,
    tables: Sequence[ReportTable],
    rows: Sequence[ModelResults],
    curves: Mapping[str, Path],
    material: Material,
) -> str:
    """Returns the page as HTML.

    Args:
        lead: some sentences below the title.
        tables: in their order.
        rows: of all models and splits.
        curves: "SPLIT, SUBSET" → picture of its ROC curves.
        material: the images.
    """
    sections = [section("In short", facts(_facts(rows)), *_failures(rows))]
    for each in tables:
        header, shown_rows = each.shown()
        shown = table(header, shown_rows, each.caption)
        if not each.name.startswith("table2-"):
            sections.append(section(each.title, shown))
            continue
        split = each.name.removeprefix("table2-")
        own_curves = [
            _roc(title, path)
            for title, path in curves.items()
            if title.startswith(f"{split}, ")
        ]
        sections.append(section(each.title, shown, cards(own_curves)))
        sections += _pictures(rows, split, material)
    return page(TITLE, lead, *sections)


def _facts(rows: Sequence[ModelResults]) -> list[tuple[str, str]]:
    done = [row for row in rows if row.done]
    entries = [(f"{len(done)} of {len(rows)}", "models done, counted for each split")]
    reference = next((row for row in done if row.model == REFERENCE), None)
    if reference is not None:
        entries.append(_dice_fact(reference, ""))
    best = best_of(done)
    if best is not None:
        entries.append(_dice_fact(best, "our best by validation, "))
    entries.append(("0.614", "Dice paper that the paper prints for Model 1"))
    return entries


def _dice_fact(row: ModelResults, words: str) -> tuple[str, str]:
    dice = float(row.scores("paper", "dice").mean())
    return f"{dice:.3f}", f"Dice paper of {words}{row.label}, split {row.split}"


def _failures(rows: Sequence[ModelResults]) -> list[Html]:
    failed = [[row.label, row.split, row.failure] for row in rows if row.failure]
    if not failed:
        return []
    return [table(("model", "split", "why"), failed, "Failed or missing")]


def _roc(title: str, path: Path) -> Html:
    caption = "A curve a model, the area under it in brackets."
    return figure(_picture(path), f"ROC curves, {title}", title, caption)


def _pictures(
    rows: Sequence[ModelResults], split: str, material: Material
) -> list[Html]:
    """Tables 3 and 4 of the paper: the same test images with the prediction of every model."""
    done = [row for row in rows if row.split == split and row.done]
    sections = []
    for number, case in enumerate(material.pictures, 3):
        figures = []
        for row in done:
            path = row.folders[0] / PICTURES / f"{Path(case.name).stem}.png"
            if is_there(path):
                alt = (
                    f"{case.name}: image, truth, prediction and heat map of {row.label}"
                )
                figures.append(figure(_picture(path), alt, row.label, case.name))
        if figures:
            title = f"Table {number}, split {split}: {case.name}"
            words = "through every model: image, ground truth, prediction, Grad-CAM of the deepest layer."
            sections.append(section(title, paragraph(f"{case.name} {words}"), *figures))
    return sections


def _picture(path: Path) -> NDArray[np.uint8]:
    """A picture (H, W, 3), not wider than `WIDTH`."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    return np.asarray(picture)
