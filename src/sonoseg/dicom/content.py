"""Content items of structured reports (DICOM PS3.3 C.17.3)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from sonoseg.dicom.codes import Code

CONTAINS = "CONTAINS"
"""The relation of what is said to the container around it."""


def content_item(kind: str, relation: str, name: Code, **values: Any) -> Dataset:
    """A content item: its value type, its relation to the item above it, its name and its value."""
    item = Dataset()
    item.ValueType, item.RelationshipType = kind, relation
    item.ConceptNameCodeSequence = [name.item()]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def text_item(relation: str, name: Code, words: str) -> Dataset:
    """A text."""
    return content_item("TEXT", relation, name, TextValue=words)


def code_item(relation: str, name: Code, value: Code) -> Dataset:
    """A coded concept."""
    return content_item("CODE", relation, name, ConceptCodeSequence=[value.item()])


def number_item(name: Code, digits: str, unit: Code) -> Dataset:
    """A number, as it is written, with its unit."""
    measured = Dataset()
    measured.NumericValue = digits
    measured.MeasurementUnitsCodeSequence = [unit.item()]
    return content_item("NUM", CONTAINS, name, MeasuredValueSequence=[measured])
