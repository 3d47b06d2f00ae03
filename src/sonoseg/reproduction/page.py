"""The report: every table as CSV, all of it as Markdown, and one HTML page that holds its pictures in itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.metrics import CONVENTIONS
from sonoseg.data.load import data_name
from sonoseg.data.scan import read_table
from sonoseg.data.splits import leaked
from sonoseg.files import atomic_path, is_there, output_folder, write_text
from sonoseg.models.catalog import RIVALS, TABLE_1
from sonoseg.report.evaluation_figures import roc_figure
from sonoseg.report.html import Html, cards, facts, figure, page, paragraph, section, table
from sonoseg.report.tables import csv_number, csv_text, markdown_table, markdown_text
from sonoseg.reproduction import beyond
from sonoseg.reproduction import paper_tables as paper
from sonoseg.reproduction.claims import claims
from sonoseg.reproduction.jobs import Job
from sonoseg.reproduction.paper_tables import SUBSET_NAMES, Table
from sonoseg.reproduction.results import Row, best_of, printed, read_rows
from sonoseg.reproduction.work import PICTURES, Material, departures, is_reduced

if TYPE_CHECKING:
    from sonoseg.cli import Reproduce

WIDTH = 1200
"""Pixels of a picture in the page."""
TITLE = "Anari et al. 2025, reproduced"


def write_report(options: Reproduce, jobs: Sequence[Job], material: Material) -> None:
    """Writes tables/*.csv, roc-SPLIT-SUBSET.png, report.md and report.html into the output folder."""
    rows = read_rows(options.out, jobs)
    copied = {
        Path(split).stem: leaked(subsets, "test") for split, subsets in material.subsets.items()
    }
    tables = all_tables(rows, copied)
    changes = changes_of(options, rows)
    if is_reduced(changes):
        tables = [replace(each, title=f"{each.title}, reduced") for each in tables]
    folder = output_folder(options.out / "tables")
    for each in tables:
        write_text(folder / f"{each.name}.csv", _csv(each))
    curves = draw_curves(options.out, rows)
    lead = describe(options, rows, changes)
    write_text(options.out / "report.md", _markdown(lead, tables, rows))
    write_text(options.out / "report.html", _page(lead, tables, rows, curves, material))


def all_tables(rows: Sequence[Row], leaked: Mapping[str, set[str]]) -> list[Table]:
    """Every table that the rows have something for, those of one split after each other.

    Args:
        rows: of all models and splits.
        leaked: split → names of its test images with a near-copy among its other images.
    """
    tables: list[Table] = []
    for split in dict.fromkeys(row.split for row in rows):
        own = [row for row in rows if row.split == split]
        numbered = [row for row in own if row.model in {experiment.name for experiment in TABLE_1}]
        rivals = [row for row in own if row.model in {experiment.name for experiment in RIVALS}]
        first = [row for row in own if row.model == paper.REFERENCE]
        tables.append(beyond.overview(own, split))
        tables += [claims(own, split)] if any(row.done for row in numbered) else []
        tables += [
            paper.table_1(numbered, split, convention) for convention in CONVENTIONS if numbered
        ]
        tables.append(paper.table_2(own, split))
        tables += (
            [paper.table_5([*rivals, *first], split), paper.table_6(rivals, own, split)]
            if rivals
            else []
        )
        tables += [beyond.leak(own, split, leaked[split])] if leaked[split] else []
        others = (beyond.paired, beyond.normals, beyond.borders, beyond.seeds, beyond.costs)
        tables += [make(own, split) for make in (*others, beyond.explanations, beyond.claim)]
    return [table for table in (*tables, beyond.across_splits(rows)) if table.rows]


def changes_of(options: Reproduce, rows: Sequence[Row]) -> list[str]:
    """What is not as in the paper, in words: by the results there are, or else by the options."""
    words: dict[str, None] = {}
    for row in rows:
        for result in row.results:
            words |= dict.fromkeys(result.get("settings", {}).get("departures", ()))
    return list(words) if any(row.done for row in rows) else departures(options)


def describe(options: Reproduce, rows: Sequence[Row], changes: Sequence[str]) -> str:
    """What was run, and how far it is from the paper, in a few sentences.

    Args:
        options: of the call.
        rows: of all models and splits.
        changes: see `changes_of`.
    """
    how = "The paper's recipe."
    if is_reduced(changes):
        how = f"REDUCED, not the paper's experiment: {'; '.join(changes)}."
    elif changes:
        how = f"The paper's recipe at its own size, but {'; '.join(changes)}."
    cut = [f"{row.model} at epoch {row.cut_off}" for row in rows if row.cut_off is not None]
    ended = f" Cut off by the clock: {', '.join(cut)}." if cut else ""
    seeds = max((len(row.folders) for row in rows), default=0)
    times = "one training each" if seeds < 2 else f"up to {seeds} trainings each, their means shown"
    done = sum(row.done for row in rows)
    splits = ", ".join(dict.fromkeys(row.split for row in rows))
    data = data_name(options.data)
    return f"{how}{ended} {done} of {len(rows)} models, {times}, data {data}, split {splits}."


def draw_curves(out: Path, rows: Sequence[Row]) -> dict[str, Path]:
    """ROC curves of the models that the paper names, or of the first six: title → PNG, a picture a split and subset."""
    pictures = {}
    for split in dict.fromkeys(row.split for row in rows):
        done = [row for row in rows if row.done and row.split == split]
        drawn = [row for row in done if is_there(row.folders[0] / SUBSET_NAMES[-1] / "roc.csv")]
        named = [row for row in drawn if row.model in printed("auc")] or drawn[:6]
        for subset in SUBSET_NAMES if named else ():
            path = out / f"roc-{split}-{subset}.png"
            lines = {
                f"{row.label} ({row.mean(subset, 'auc') or 0:.3f})": _curve(row, subset)
                for row in named
            }
            with atomic_path(path) as temporary:
                roc_figure(lines, temporary)
            pictures[f"{split}, {subset}"] = path
    return pictures


def _curve(row: Row, subset: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    names = ("false_positive_rate", "true_positive_rate")
    points = [
        (float(p[names[0]]), float(p[names[1]]))
        for p in read_table(row.folders[0] / subset / "roc.csv", names)
    ]
    false, true = np.array(points or [(0.0, 0.0)]).T
    return false, true


def _csv(each: Table) -> str:
    rows = [
        [csv_number(cell) if isinstance(cell, float) else cell for cell in row] for row in each.rows
    ]
    return csv_text(each.header, rows)


def shown(each: Table) -> tuple[Sequence[str], Sequence[Sequence[str | int | float | None]]]:
    """Header and rows of a table as people see it."""
    return (each.shown_header, each.shown_rows) if each.shown_header else (each.header, each.rows)


def _markdown(lead: str, tables: Sequence[Table], rows: Sequence[Row]) -> str:
    parts = [f"# {TITLE}", markdown_text(lead)]
    failed = [f"{row.label}, split {row.split}: {row.failure}" for row in rows if row.failure]
    parts += (
        ["## Failed or missing", "\n".join(f"- {markdown_text(line)}" for line in failed)]
        if failed
        else []
    )
    for each in tables:
        parts += [
            f"## {markdown_text(each.title)}",
            markdown_text(each.caption),
            markdown_table(*shown(each)),
        ]
    return "\n\n".join(parts) + "\n"


def _page(
    lead: str,
    tables: Sequence[Table],
    rows: Sequence[Row],
    curves: Mapping[str, Path],
    material: Material,
) -> str:
    sections: list[Html] = [section("In short", facts(_facts(rows)), *_failures(rows))]
    for each in tables:
        parts = [table(*shown(each), each.caption)]
        if each.name.startswith("table2-"):
            split = each.name.removeprefix("table2-")
            parts.append(
                cards(
                    _roc(title, path)
                    for title, path in curves.items()
                    if title.startswith(f"{split}, ")
                )
            )
            sections += [section(each.title, *parts), *_pictures(rows, split, material)]
        else:
            sections.append(section(each.title, *parts))
    return page(TITLE, lead, *sections)


def _facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    done = [row for row in rows if row.done]
    entries = [(f"{len(done)} of {len(rows)}", "models done, counted for each split")]
    best = best_of(done)
    first = next((row for row in done if row.model == "model-1"), None)
    for row, words in ((first, ""), (best, "our best by validation, ")):
        if row is not None:
            value = float(row.scores("paper", "dice").mean())
            entries.append((f"{value:.3f}", f"Dice paper of {words}{row.label}, split {row.split}"))
    return [*entries, ("0.614", "Dice paper that the paper prints for Model 1")]


def _failures(rows: Sequence[Row]) -> list[Html]:
    failed = [[row.label, row.split, row.failure] for row in rows if row.failure]
    return [table(("model", "split", "why"), failed, "Failed or missing")] if failed else []


def _roc(title: str, path: Path) -> Html:
    return figure(
        _picture(path),
        f"ROC curves, {title}",
        title,
        "A curve a model, the area under it in brackets.",
    )


def _pictures(rows: Sequence[Row], split: str, material: Material) -> list[Html]:
    """Tables 3 and 4: the same test images through every model."""
    sections = []
    for number, case in enumerate(material.pictures, 3):
        figures = []
        for row in (row for row in rows if row.split == split and row.done):
            path = row.folders[0] / PICTURES / f"{Path(case.name).stem}.png"
            if is_there(path):
                name = row.label
                alt = f"{case.name}: image, truth, prediction and heat map of {name}"
                figures.append(figure(_picture(path), alt, name, case.name))
        words = f"{case.name} through every model: image, ground truth, prediction, Grad-CAM of the deepest layer."
        if figures:
            sections.append(
                section(f"Table {number}, split {split}: {case.name}", paragraph(words), *figures)
            )
    return sections


def _picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        picture = image.convert("RGB")
        if picture.width > WIDTH:
            picture = picture.resize(
                (WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS
            )
        return np.asarray(picture)
