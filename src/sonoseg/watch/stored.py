"""What a server answers after an instance was sent to it: was it stored, and if not, why (PS3.18 annex I)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from sonoseg.watch.transport import parse_json

_FAILED, _OTHERS_FAILED = "00081198", "0008119A"
"""Failed SOP Sequence and Other Failures Sequence."""
_STORED = "00081199"
"""Referenced SOP Sequence: an item for each instance that was stored."""
_REASON = "00081197"
_TAG = re.compile("[0-9A-Fa-f]{8}")


@dataclass(frozen=True)
class StoreAnswer:
    """What the answer to a store request says.

    Attributes:
        reasons: why instances were not stored: a failure reason for each, 0 if none is told.
        stored: how many instances were stored; None if the answer has no list of them.
    """

    reasons: tuple[int, ...] = ()
    stored: int | None = None


def read_store_answer(answer: bytes) -> StoreAnswer | None:
    """Reads the answer to a store request.

    Servers answer in JSON, or in XML whatever they were asked for (the models of PS3.18 annex F and PS3.19 A.1).

    Args:
        answer: its content; an empty one, or an empty object, says nothing.

    Returns:
        what it says; None if it is neither empty nor one of DICOMweb, such as the page of a proxy that asks for a
        login.
    """
    if not answer.strip():
        return StoreAnswer()
    content = _content(answer)
    # Several results are a list.
    results = content if isinstance(content, list) else [content]
    if not results or not all(_is_dicom(result) for result in results):
        return None
    reasons: list[int] = []
    counts: list[int] = []
    for result in results:
        for name in (_FAILED, _OTHERS_FAILED):
            reasons += map(_reason, _values(result.get(name)))
        if _STORED in result:
            counts.append(len(_values(result[_STORED])))
    return StoreAnswer(tuple(reasons), sum(counts) if counts else None)


def _is_dicom(result: Any) -> bool:
    """Whether it is an object of which each name is a tag."""
    return isinstance(result, dict) and all(_TAG.fullmatch(name) for name in result)


def _values(element: Any) -> list[Any]:
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _reason(item: Any) -> int:
    """The failure reason in an item, 0 if none is told."""
    told = _values(item.get(_REASON)) if isinstance(item, dict) else []
    try:
        return int(told[0])
    except (IndexError, TypeError, ValueError, OverflowError):
        return 0


def _content(answer: bytes) -> Any:
    """An answer in JSON, or the same of one in XML; None if it is neither."""
    is_xml = answer.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    return _read_xml(answer) if is_xml else parse_json(answer)


def _read_xml(answer: bytes) -> dict[str, Any] | None:
    """An answer in XML, as it would be in JSON."""
    parser = ET.XMLParser(target=_WithoutEntities())
    try:
        model = ET.fromstring(answer, parser)
        return _as_json(model) if _name(model) == "NativeDicomModel" else None
    except (ET.ParseError, ValueError, LookupError, RecursionError):
        return None


def _as_json(parent: ET.Element) -> dict[str, Any]:
    """The elements in a data set or an item."""
    elements: dict[str, Any] = {}
    for attribute in parent:
        values: list[Any] = []
        for child in attribute:
            if _name(child) == "Item":
                values.append(_as_json(child))
            elif child.text:
                values.append(child.text)
        elements[attribute.get("tag", "").upper()] = {"Value": values}
    return elements


class _WithoutEntities(ET.TreeBuilder):
    """Refuses a document type: entities that are declared there can grow without limit, and this model has none."""

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type")


def _name(element: ET.Element) -> str:
    """The name without its namespace, which some servers leave out."""
    return element.tag.rpartition("}")[2]
