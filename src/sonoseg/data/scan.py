"""Shared by all layouts of data sets: lists files, notes their problems, reads tables."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonoseg.core.paths import IMAGE_SUFFIXES
from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.files import is_folder
from sonoseg.inputs import read_text, unguard_cell

_MOST_COLUMNS = 1000
_MASK = re.compile(r"(?P<image>.+)[_\- ]masks?([_\- ]?\d+)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set.

    Attributes:
        kind: what sort of thing, such as "image without mask"; the same words for every finding of the sort.
        files: the files concerned, relative to the data set's folder.
        message: what is wrong with them.
    """

    kind: str
    files: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Scan:
    """The cases of a data set, and the problems that its file names show. No image has been read."""

    root: Path
    cases: list[Case]
    findings: list[Finding]

    def add(self, kind: str, path: Path, message: str) -> None:
        """Notes a problem of the file `path`."""
        self.findings.append(Finding(kind, (self.relative(path),), message))

    def relative(self, path: Path) -> str:
        """`path` as findings name it: relative to the data set's folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()


def entries(folder: Path) -> list[Path]:
    """What is in `folder`, hidden files left out, in the order of the names as strings.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        return sorted(
            path for path in folder.iterdir() if not path.name.startswith(".")
        )
    except OSError as error:
        problem = f"cannot be listed ({error.strerror})"
        raise InputError(
            folder, problem, "change its permissions or choose another"
        ) from error


def images_in(folder: Path | None) -> list[Path]:
    """The image files directly in `folder`, known by their suffix, ordered as in `entries`; none if it is None.

    A link to a file that is not there is among them: reading it says so.
    """
    if folder is None:
        return []
    named = [path for path in entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    return [path for path in named if not is_folder(path)]


def subfolder(root: Path, name: str) -> Path | None:
    """The folder `name` in `root`, whatever the case of its letters; None if there is none.

    Raises:
        InputError: there are two, such as Benign and benign.
    """
    name = name_key(name)
    if not is_folder(root):
        return None
    found = [
        path
        for path in entries(root)
        if name_key(path.name) == name and is_folder(path)
    ]
    if len(found) > 1:
        raise InputError(
            found[0],
            f"there is also the folder {found[1].name}",
            "put both into one folder",
        )
    return found[0] if found else None


def name_key(name: str) -> str:
    """A key that is the same for names which differ only in upper and lower case, or in how accents are stored."""
    return unicodedata.normalize("NFC", name).casefold()


def mask_stem(path: Path) -> str | None:
    """The name of the image, without ending, whose mask `path` is by its name; None if it is no mask's name.

    Masks are named NAME_mask, NAME_mask_1, NAME_mask2, NAME-Mask and the like.
    """
    match = _MASK.fullmatch(path.stem)
    return match["image"] if match else None


def duplicate_names(root: Path, images: Iterable[Path]) -> list[Finding]:
    """One finding for every name that several images share, whatever their folder and suffix."""
    by_stem: dict[str, list[str]] = {}
    for path in images:
        name = path.relative_to(root).as_posix()
        by_stem.setdefault(name_key(path.stem), []).append(name)
    findings = []
    for names in by_stem.values():
        if len(names) > 1:
            message = "has the same name as " + " and ".join(names[1:])
            findings.append(Finding("duplicate name", tuple(names), message))
    return findings


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, str]]:
    """The rows of a CSV file, values stripped, which must have `columns`.

    Values are divided by commas, semicolons or tabs. Blanks around a column's name and the case of its letters do
    not matter. Rows without any value, and columns without name and values, are passed over. The apostrophe that
    `inputs.guard_cell` puts before a formula is taken away.

    Args:
        path: the file.
        columns: names of the columns that must be there; the rows have them under these names.
        optional: names of those that may be; other columns keep the names that they have in the file.

    Raises:
        InputError: the file cannot be read, is no text, lacks a column or has it twice, or has a row of another
            length.
    """
    known = [*columns, *optional]
    hint = f"give it as CSV with the columns {', '.join(known)}"
    lines = _read_lines(path, columns, hint)
    first_line = lines[0][1] if lines else []
    header = [_known_name(word, known) for word in first_line]
    _check_header(path, header, columns, hint)
    rows = []
    for number, line in lines[1:]:
        values = [unguard_cell(value.strip()) for value in line]
        has_more = any(values[len(header) :])
        if has_more or len(values) < len(header):
            raise InputError(path, f"row {number} has too many or too few values", hint)
        row: dict[str, str] = {}
        for name, value in zip(header, values, strict=False):
            if name:
                row[name] = value
            elif value:
                problem = f"row {number} has a value in a column without a name"
                raise InputError(path, problem, "name that column")
        rows.append(row)
    return rows


def _check_header(
    path: Path, header: list[str], columns: Sequence[str], hint: str
) -> None:
    """Refuses a header that lacks one of `columns`, is too long, or has a name twice."""
    for name in columns:
        if name not in header:
            raise InputError(path, f"has no column {name}", hint)
    if len(header) > _MOST_COLUMNS:
        raise InputError(path, f"has {len(header)} columns, which is too many", hint)
    for name in header:
        times = header.count(name)
        if name and times > 1:
            raise InputError(
                path, f"has the column {name} {times} times", "keep one of them"
            )


def _read_lines(
    path: Path, columns: Sequence[str], hint: str
) -> list[tuple[int, list[str]]]:
    """The lines that are not empty with their numbers, divided by whatever makes the header have `columns`."""
    text = read_text(path)
    best: list[tuple[int, list[str]]] = []
    for delimiter in (",", ";", "\t"):
        try:
            lines = _divided(text, delimiter)
        except csv.Error as error:
            if best or delimiter != "\t":
                continue
            raise InputError(path, f"is not a CSV file ({error})", hint) from error
        if lines and _has_columns(lines[0][1], columns):
            return lines
        best = best or lines
    return best


def _divided(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The lines of a CSV text with their numbers; empty ones are left out."""
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    lines = []
    for number, line in enumerate(reader, start=1):
        if any(value.strip() for value in line):
            lines.append((number, line))
    return lines


def _has_columns(header: list[str], columns: Sequence[str]) -> bool:
    names = [_known_name(word, columns) for word in header]
    return all(name in names for name in columns)


def _known_name(word: str, known: Sequence[str]) -> str:
    """The name of `known` that a table's header means by `word`, otherwise `word` itself."""
    word = word.strip()
    for name in known:
        if name.casefold() == word.casefold():
            return name
    return word
