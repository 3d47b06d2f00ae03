"""What every layout of a data set shares: listing files, finding what is amiss with them, reading tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonoseg.data.case import Case
from sonoseg.errors import InputError
from sonoseg.reader.images import IMAGE_SUFFIXES


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
    """A data set's folder as its file names tell it, no image read: the cases, and what is amiss."""

    root: Path
    cases: list[Case]
    findings: list[Finding]

    def add(self, kind: str, path: Path, message: str) -> None:
        """Notes that the file `path` is at fault."""
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
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        fault = f"cannot be listed ({error.strerror})"
        raise InputError(folder, fault, "change its permissions or choose another") from error


def list_images(folder: Path) -> list[Path]:
    """The image files directly in `folder`, known by their suffix, ordered as in `entries`."""
    return [path for path in entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def duplicate_names(root: Path, images: Iterable[Path]) -> list[Finding]:
    """One finding for every name that several images share, whatever their folder and suffix."""
    by_stem: dict[str, list[str]] = {}
    for path in images:
        by_stem.setdefault(path.stem.casefold(), []).append(path.relative_to(root).as_posix())
    return [
        Finding("duplicate name", tuple(names), "has the same name as " + " and ".join(names[1:]))
        for names in by_stem.values()
        if len(names) > 1
    ]


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, values stripped, which must have `columns`.

    Raises:
        InputError: the file cannot be read, is no text, lacks a column, or has a row of another length.
    """
    mend = f"give it as CSV with the columns {', '.join(columns)}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(path, f"has no column {missing[0]}", mend)
            rows = list(reader)
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
        raise InputError(path, fault, "check the path and its permissions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is not a CSV file in UTF-8 ({error})", mend) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(path, f"row {number} has too many or too few values", mend)
    return [{name: value.strip() for name, value in row.items()} for row in rows]
