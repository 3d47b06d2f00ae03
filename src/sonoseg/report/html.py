"""Builds one self-contained HTML page: no script, nothing loaded from elsewhere, every text escaped.

A page is put together from parts, each an `Html`:

    page("Title", "What this is.", section("Scores", table(header, rows, "Scores of every image")))
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template
from typing import NewType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sonoseg
from sonoseg.errors import visible
from sonoseg.reader.overlay import NOTICE
from sonoseg.report.tables import Cell, cell_text

Html = NewType("Html", str)
"""Markup that needs no escaping. Only this module makes it. A `str` is escaped."""


def page(title: str, lead: str, *parts: Html) -> str:
    """Returns the whole document. The notice that it is for research stands above the parts.

    Args:
        title: for the window and the heading.
        lead: a sentence or two below the heading.
        parts: sections, in order.
    """
    file = files("sonoseg.report") / "templates" / "page.html"
    template = Template(file.read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        lead=escape(lead),
        notice=escape(NOTICE),
        version=escape(f"sonoseg {sonoseg.__version__}"),
        body="\n".join(parts),
    )


def section(title: str, *parts: Html) -> Html:
    """Returns a heading with its parts below."""
    body = "\n".join(parts)
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>")


def paragraph(text: str) -> Html:
    """Returns a paragraph of text."""
    return Html(f"<p>{escape(text)}</p>")


def facts(entries: Iterable[tuple[str, str]]) -> Html:
    """Returns a row of large numbers.

    Args:
        entries: a number and its meaning, such as ("0.93", "mean Dice").
    """
    tiles = []
    for value, words in entries:
        tiles.append(f"<div><dt>{escape(words)}</dt><dd>{escape(value)}</dd></div>")
    return Html(f'<dl class="facts">{"".join(tiles)}</dl>')


def details(entries: Iterable[tuple[str, str | Sequence[str]]]) -> Html:
    """Returns terms with their descriptions. A sequence of descriptions becomes a list."""
    rows = []
    for term, value in entries:
        rows.append(f"<dt>{escape(term)}</dt><dd>{_description(value)}</dd>")
    return Html(f'<dl class="details">{"".join(rows)}</dl>')


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> Html:
    """Returns a table. Columns of numbers are aligned to the right.

    Args:
        header: the names of the columns.
        rows: one cell per column. For the text of a cell see `tables.cell_text`.
        caption: what the table shows.
    """
    classes = []
    for column in range(len(header)):
        is_numeric = all(not isinstance(row[column], str) for row in rows)
        classes.append(' class="number"' if is_numeric else "")
    head = _row(
        "th", [f' scope="col" {kind.strip()}'.rstrip() for kind in classes], header
    )
    lines = []
    for row in rows:
        texts = [cell_text(value) for value in row]
        lines.append(_row("td", classes, texts))
    body = "\n".join(lines)
    label = escape(caption)
    return Html(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>\n'
        f"<caption><span>{label}</span></caption>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(picture: NDArray[np.uint8], alt: str, title: str, caption: str) -> Html:
    """Returns a picture with title and caption below it.

    Args:
        picture: (H, W, 3) or (H, W) uint8; embedded as JPEG.
        alt: describes the picture for people who cannot see it.
        title: its name.
        caption: a sentence.
    """
    height, width = picture.shape[:2]
    return Html(
        f'<figure><img src="{data_uri(picture)}" width="{width}" height="{height}" alt="{escape(alt)}">'
        f"<figcaption><strong>{escape(title)}</strong> {escape(caption)}</figcaption></figure>"
    )


def cards(figures: Iterable[Html]) -> Html:
    """Returns figures side by side, as many as fit."""
    body = "\n".join(figures)
    return Html(f'<div class="cards">\n{body}\n</div>')


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Returns a picture (H, W, 3) or (H, W) uint8 as a JPEG in the text of a `data:` address."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="JPEG", quality=82, optimize=True)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f"data:image/jpeg;base64,{encoded}"


def escape(text: str) -> str:
    """Returns HTML that shows `text`. Control characters are shown as escapes."""
    return html.escape(visible(text, keep="\n\t"))


def _description(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return escape(value)
    entries = "".join(f"<li>{escape(entry)}</li>" for entry in value)
    return f"<ul>{entries}</ul>"


def _row(tag: str, attributes: Sequence[str], texts: Sequence[str]) -> str:
    """A table row: one cell per text, with the attributes of its tag."""
    cells = []
    for words, text in zip(attributes, texts, strict=True):
        cells.append(f"<{tag}{words}>{escape(text)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"
