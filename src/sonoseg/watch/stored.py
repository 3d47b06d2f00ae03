"""What a server answers after instances were sent to it: which were not stored, and why (PS3.18 annex I)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from sonoseg.watch.transport import parse_json

_FAILED, _OTHERS_FAILED = "00081198", "0008119A"
"""Failed SOP Sequence and Other Failures Sequence."""
_REASON = "00081197"
_TAG = re.compile("[0-9A-Fa-f]{8}")


def failure_reasons(answer: bytes) -> list[int] | None:
    """The failure reasons in the answer to a store request: none if all was stored.

    Servers answer in JSON, or in XML whatever they were asked for (the models of PS3.18 annex F and PS3.19 A.1).

    Args:
        answer: its content; an empty one, or an empty object, names no failures.

    Returns:
        a reason for each instance that was not stored, 0 if none is told; None if the answer is neither empty nor one
        of DICOMweb, such as the page of a proxy that asks for a login.
    """
    if not answer.strip():
        return []
    if answer.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _reasons_in_xml(answer)
    content = parse_json(answer)
    # Several results are a list.
    results = content if isinstance(content, list) else [content]
    if not results or not all(_is_dicom(result) for result in results):
        return None
    reasons = []
    for result in results:
        for name in (_FAILED, _OTHERS_FAILED):
            for item in _values(result.get(name)):
                told = _values(item.get(_REASON)) if isinstance(item, dict) else []
                reasons.append(_number(told[0] if told else None))
    return reasons


def _is_dicom(result: Any) -> bool:
    """Whether it is an object of which each name is a tag."""
    return isinstance(result, dict) and all(_TAG.fullmatch(name) for name in result)


def _values(element: Any) -> list[Any]:
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _reasons_in_xml(answer: bytes) -> list[int] | None:
    parser = ET.XMLParser(target=_WithoutEntities())
    try:
        model = ET.fromstring(answer, parser)
    except (ET.ParseError, ValueError, LookupError):
        return None
    if _name(model) != "NativeDicomModel":
        return None
    reasons = []
    for sequence in _elements(model, _FAILED) + _elements(model, _OTHERS_FAILED):
        for item in sequence:
            if _name(item) == "Item":
                texts = [one.text for el in _elements(item, _REASON) for one in el]
                reasons.append(_number(texts[0] if texts else None))
    return reasons


class _WithoutEntities(ET.TreeBuilder):
    """Refuses a document type: entities that are declared there can grow without limit, and this model has none."""

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type")


def _name(element: ET.Element) -> str:
    """The name without its namespace, which some servers leave out."""
    return element.tag.rpartition("}")[2]


def _elements(parent: ET.Element, tag: str) -> list[ET.Element]:
    return [child for child in parent if child.get("tag", "").upper() == tag]


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
