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
"""Markup that is safe as it is. Only this module makes it; whatever is `str` gets escaped."""


def page(title: str, lead: str, *parts: Html) -> str:
    """The whole document, with the notice that it is for research above its parts.

    Args:
        title: for the window and the heading.
        lead: a sentence or two below the heading.
        parts: sections, in order.
    """
    template = Template(
        (files("sonoseg.report") / "templates" / "page.html").read_text(encoding="utf-8")
    )
    words = {
        "title": title,
        "lead": lead,
        "notice": NOTICE,
        "version": f"sonoseg {sonoseg.__version__}",
    }
    return template.substitute(
        {name: escape(text) for name, text in words.items()}, body="\n".join(parts)
    )


def section(title: str, *parts: Html) -> Html:
    """A heading and what belongs under it."""
    body = "\n".join(parts)
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>")


def paragraph(text: str) -> Html:
    """A paragraph of text."""
    return Html(f"<p>{escape(text)}</p>")


def facts(entries: Iterable[tuple[str, str]]) -> Html:
    """A row of large figures.

    Args:
        entries: a figure and what it counts, such as ("0.93", "mean Dice").
    """
    tiles = "".join(
        f"<div><dt>{escape(words)}</dt><dd>{escape(value)}</dd></div>" for value, words in entries
    )
    return Html(f'<dl class="facts">{tiles}</dl>')


def details(entries: Iterable[tuple[str, str | Sequence[str]]]) -> Html:
    """Terms with their descriptions, one below the other; a sequence of descriptions becomes a list."""
    rows = "".join(
        f"<dt>{escape(term)}</dt><dd>{_description(value)}</dd>" for term, value in entries
    )
    return Html(f'<dl class="details">{rows}</dl>')


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> Html:
    """A table; columns of numbers are aligned to the right.

    Args:
        header: the names of the columns.
        rows: as many cells each; whole numbers get thousands separators, others three decimals, None "–".
        caption: what the table shows.
    """
    numeric = [
        all(not isinstance(row[column], str) for row in rows) for column in range(len(header))
    ]
    classes = ['class="number"' if number else "" for number in numeric]
    head = _row(
        (f'th scope="col" {kind}', name) for kind, name in zip(classes, header, strict=True)
    )
    body = "\n".join(
        _row((f"td {kind}", cell_text(value)) for kind, value in zip(classes, row, strict=True))
        for row in rows
    )
    label = escape(caption)
    return Html(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>\n'
        f"<caption><span>{label}</span></caption>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(picture: NDArray[np.uint8], alt: str, title: str, caption: str) -> Html:
    """A picture with what it shows below it.

    Args:
        picture: (H, W, 3) or (H, W) uint8; embedded as JPEG.
        alt: what is to be seen, for those who do not see it.
        title: its name.
        caption: a sentence.
    """
    height, width = picture.shape[:2]
    return Html(
        f'<figure><img src="{data_uri(picture)}" width="{width}" height="{height}" alt="{escape(alt)}">'
        f"<figcaption><strong>{escape(title)}</strong> {escape(caption)}</figcaption></figure>"
    )


def cards(figures: Iterable[Html]) -> Html:
    """Figures side by side, as many as there is room for."""
    body = "\n".join(figures)
    return Html(f'<div class="cards">\n{body}\n</div>')


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) or (H, W) uint8 as the text of a JPEG that a page can hold in itself."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def escape(text: str) -> str:
    """`text` as HTML that shows it, control characters as escapes."""
    return html.escape(visible(text, keep="\n\t"))


def _description(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return escape(value)
    entries = "".join(f"<li>{escape(entry)}</li>" for entry in value)
    return f"<ul>{entries}</ul>"


def _row(cells: Iterable[tuple[str, str]]) -> str:
    """A table row of (tag with its attributes, text)."""
    line = "".join(f"<{tag.strip()}>{escape(text)}</{tag[:2]}>" for tag, text in cells)
    return f"<tr>{line}</tr>"
