"""Writes the report: every table as CSV, all of it as Markdown, and one HTML page with its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.metrics import CONVENTIONS
from sonoseg.data.load import data_name
from sonoseg.data.scan import read_table
from sonoseg.data.splits import SUBSETS, leaked
from sonoseg.errors import InputError
from sonoseg.files import atomic_files, atomic_path, is_there, output_folder, write_text
from sonoseg.models.catalog import RIVALS, TABLE_1
from sonoseg.report.evaluation_figures import roc_figure
from sonoseg.report.tables import markdown_table, markdown_text
from sonoseg.reproduction import added_tables, explanation_tables, paper_tables
from sonoseg.reproduction.claims import claims
from sonoseg.reproduction.jobs import Job
from sonoseg.reproduction.material import Material
from sonoseg.reproduction.model_results import (
    REDO,
    ModelResults,
    check_results,
    printed,
    read_results,
)
from sonoseg.reproduction.report_page import TITLE, report_page
from sonoseg.reproduction.report_table import ReportTable
from sonoseg.reproduction.settings import ReproductionSettings, is_reduced

MOST_CURVES = 6
"""Curves of a picture if it has none of the models whose AUC the paper prints."""


def write_report(
    settings: ReproductionSettings, jobs: Sequence[Job], material: Material
) -> None:
    """Writes tables/*.csv, roc-SPLIT-SUBSET.png, report.md and report.html into the output folder.

    Raises:
        InputError: as `check_results`, or another file of a result is damaged.
    """
    rows = read_results(settings.out, jobs)
    check_results(rows)
    copied = {}
    for split, subsets in material.subsets.items():
        copied[Path(split).stem] = leaked(subsets, "test")
    tables = all_tables(rows, copied)
    changes = changes_of(settings, rows)
    if is_reduced(changes):
        tables = [replace(each, title=f"{each.title}, reduced") for each in tables]
    lead = describe(settings, rows, changes)
    curves = draw_curves(settings.out, rows)
    page = report_page(lead, tables, rows, curves, material)
    folder = output_folder(settings.out / "tables")
    with atomic_files():
        for each in tables:
            write_text(folder / f"{each.name}.csv", each.to_csv())
        write_text(settings.out / "report.md", _markdown(lead, tables, rows))
        write_text(settings.out / "report.html", page)


def all_tables(
    rows: Sequence[ModelResults], leaked_images: Mapping[str, set[str]]
) -> list[ReportTable]:
    """Returns every table that is not empty, those of one split after each other.

    Args:
        rows: of all models and splits.
        leaked_images: split → names of its test images with a near-copy among its other images.
    """
    tables: list[ReportTable] = []
    for split in dict.fromkeys(row.split for row in rows):
        of_split = [row for row in rows if row.split == split]
        tables += _tables_of_split(of_split, split, leaked_images[split])
    tables.append(added_tables.across_splits(rows))
    return [table for table in tables if table.rows]


def _tables_of_split(
    rows: Sequence[ModelResults], split: str, leaked_images: set[str]
) -> Iterator[ReportTable]:
    numbered_names = {experiment.name for experiment in TABLE_1}
    rival_names = {experiment.name for experiment in RIVALS}
    numbered = [row for row in rows if row.model in numbered_names]
    rivals = [row for row in rows if row.model in rival_names]
    reference = [row for row in rows if row.model == paper_tables.REFERENCE]
    yield added_tables.overview(rows, split)
    if any(row.done for row in numbered):
        yield claims(rows, split)
    if numbered:
        for convention in CONVENTIONS:
            yield paper_tables.table_1(numbered, split, convention)
    yield paper_tables.table_2(rows, split)
    if rivals:
        yield paper_tables.table_5(rivals + reference, split)
        yield paper_tables.table_6(rivals, rows, split)
    if leaked_images:
        yield added_tables.leak(rows, split, leaked_images)
    yield added_tables.paired(rows, split)
    yield added_tables.normals(rows, split)
    yield added_tables.borders(rows, split)
    yield added_tables.seeds(rows, split)
    yield added_tables.costs(rows, split)
    yield explanation_tables.explanations(rows, split)
    yield explanation_tables.claim(rows, split)


def changes_of(
    settings: ReproductionSettings, rows: Sequence[ModelResults]
) -> list[str]:
    """Returns what differs from the paper, in words: as stored with the results, or without results as set now.

    What is true of less than half of the models is followed by their names.
    """
    done = [row for row in rows if row.done]
    if not done:
        return settings.departures()
    models: dict[str, list[str]] = {}
    for row in done:
        for result in row.results:
            for words in result.get("settings", {}).get("departures", ()):
                names = models.setdefault(words, [])
                if row.model not in names:
                    names.append(row.model)
    few = len({row.model for row in done}) / 2
    return [
        f"{words} ({', '.join(names)})" if len(names) < few else words
        for words, names in models.items()
    ]


def describe(
    settings: ReproductionSettings, rows: Sequence[ModelResults], changes: Sequence[str]
) -> str:
    """Returns in a few sentences what was run and how far it is from the paper.

    Args:
        settings: of the call.
        rows: of all models and splits.
        changes: see `changes_of`.
    """
    how = "The paper's recipe."
    if is_reduced(changes):
        how = f"REDUCED, not the paper's experiment: {'; '.join(changes)}."
    elif changes:
        how = f"The paper's recipe at its own size, but {'; '.join(changes)}."
    cut_off = [
        f"{row.model} at epoch {row.cut_off}" for row in rows if row.cut_off is not None
    ]
    ended = f" Cut off by the clock: {', '.join(cut_off)}." if cut_off else ""
    seeds = max((len(row.folders) for row in rows), default=0)
    times = (
        "one training each"
        if seeds < 2
        else f"up to {seeds} trainings each, their means shown"
    )
    done = sum(row.done for row in rows)
    splits = ", ".join(dict.fromkeys(row.split for row in rows))
    data = data_of(settings, rows)
    return f"{how}{ended} {done} of {len(rows)} models, {times}, data {data}, split {splits}."


def data_of(settings: ReproductionSettings, rows: Sequence[ModelResults]) -> str:
    """Returns the name of the data as stored with the results, or without results as given now."""
    names = []
    for row in rows:
        names += [result.get("settings", {}).get("data") for result in row.results]
    return ", ".join(dict.fromkeys(filter(None, names))) or data_name(settings.data)


def draw_curves(out: Path, rows: Sequence[ModelResults]) -> dict[str, Path]:
    """Draws the ROC curves of the models that the paper names, or of the first six.

    Returns:
        Title → PNG, one picture per split and subset.
    """
    pictures = {}
    for split in dict.fromkeys(row.split for row in rows):
        drawn = [
            row for row in rows if row.done and row.split == split and _has_curves(row)
        ]
        named = [row for row in drawn if row.model in printed("auc")] or drawn[
            :MOST_CURVES
        ]
        if not named:
            continue
        for subset in SUBSETS:
            path = out / f"roc-{split}-{subset}.png"
            lines = {}
            for row in named:
                auc = row.mean(subset, "auc") or 0
                lines[f"{row.label} ({auc:.3f})"] = _curve(row, subset)
            with atomic_path(path) as temporary:
                roc_figure(lines, temporary)
            pictures[f"{split}, {subset}"] = path
    return pictures


def _has_curves(row: ModelResults) -> bool:
    return is_there(row.folders[0] / "test" / "roc.csv")


def _curve(
    row: ModelResults, subset: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False-positive and true-positive rate of the first seed.

    Raises:
        InputError: roc.csv is damaged.
    """
    file = row.folders[0] / subset / "roc.csv"
    points = read_table(file, ("false_positive_rate", "true_positive_rate"))
    if not points:
        return np.zeros(1), np.zeros(1)
    try:
        false = np.array([float(point["false_positive_rate"]) for point in points])
        true = np.array([float(point["true_positive_rate"]) for point in points])
    except ValueError as error:
        raise InputError(file, "holds a rate that is no number", REDO) from error
    return false, true


def _markdown(
    lead: str, tables: Sequence[ReportTable], rows: Sequence[ModelResults]
) -> str:
    parts = [f"# {TITLE}", markdown_text(lead)]
    failed = [
        f"{row.label}, split {row.split}: {row.failure}" for row in rows if row.failure
    ]
    if failed:
        parts.append("## Failed or missing")
        parts.append("\n".join(f"- {markdown_text(line)}" for line in failed))
    for each in tables:
        header, shown_rows = each.shown()
        parts.append(f"## {markdown_text(each.title)}")
        parts.append(markdown_text(each.caption))
        parts.append(markdown_table(header, shown_rows))
    return "\n\n".join(parts) + "\n"
