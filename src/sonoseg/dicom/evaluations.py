"""The descriptors and the malignancy of lesions in the measurement groups of a structured report (PS3.16 TID 1501)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from sonoseg.core.measure import find_lesions
from sonoseg.describe.descriptors import Descriptors
from sonoseg.describe.lesion import describe_lesions
from sonoseg.describe.malignancy import Malignancy
from sonoseg.describe.malignancy_words import sentence
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.read import DicomFile

Concept = tuple[str, str, str]
"""Code value, coding scheme, meaning."""
NAMES: dict[str, Concept] = {
    "shape": ("107644003", "SCT", "Shape"),
    "orientation": ("111354", "DCM", "Orientation"),
    "margin": ("111037", "DCM", "Margins"),
    "echo pattern": ("111360", "DCM", "Echo pattern"),
    "posterior features": ("111366", "DCM", "Posterior acoustic features"),
}
WORDS: dict[str, Concept] = {
    # shape, CID 6004
    "oval": ("84360004", "SCT", "Ovoid shape (Oval)"),
    "round": ("42700002", "SCT", "Round shape"),
    "irregular": ("49608001", "SCT", "Irregular"),
    # orientation, CID 6152
    "parallel": ("111355", "DCM", "Parallel"),
    "not parallel": ("111356", "DCM", "Not parallel"),
    # margin, CID 6006
    "circumscribed": ("129738007", "SCT", "Circumscribed lesion"),
    "indistinct": ("129741003", "SCT", "Indistinct lesion"),
    "angular": ("111343", "DCM", "Angular margins"),
    "microlobulated": ("129739004", "SCT", "Microlobulated lesion"),
    "spiculated": ("129742005", "SCT", "Spiculated lesion"),
    # echo pattern, CID 6154, which has no code for heterogeneous
    "anechoic": ("111361", "DCM", "Anechoic"),
    "hyperechoic": ("111362", "DCM", "Hyperechoic"),
    "complex": ("111363", "DCM", "Complex"),
    "hypoechoic": ("111364", "DCM", "Hypoechoic"),
    "isoechoic": ("111365", "DCM", "Isoechoic"),
    # posterior features, CID 6155
    "none": ("111367", "DCM", "No posterior acoustic features"),
    "enhancement": ("111368", "DCM", "Posterior enhancement"),
    "shadowing": ("111369", "DCM", "Posterior shadowing"),
    "combined": ("111370", "DCM", "Combined posterior enhancement and shadowing"),
}
PROBABILITY_OF_CANCER: Concept = ("111047", "DCM", "Probability of cancer")
_PERCENT: Concept = ("%", "UCUM", "Percent")
_GROUP = "125007"  # DCM, Measurement Group
_COMMENT: Concept = ("121106", "DCM", "Comment")


def describe_outlines(
    file: DicomFile, outlines: Sequence[Outline]
) -> list[Descriptors]:
    """The descriptors of each outline; decodes its frame.

    Raises:
        InputError: the pixel data is damaged or cut short.
    """
    described = []
    for outline in outlines:
        left, top = outline.corner
        for view in file.views([outline.frame]):
            region = view.region
            x, y = left - region.left, top - region.top
            if not (0 <= x < region.width and 0 <= y < region.height):
                continue
            mask = outline.mask[region.slices]
            whole = mask.astype("float32")
            found = find_lesions(mask, whole, spacing=outline.spacing)
            (lesion,) = describe_lesions(found, view.image.pixels, mask)
            described.append(lesion.descriptors)
            break
        else:
            described.append(Descriptors())
    return described


def add_evaluations(
    report: Dataset,
    described: Sequence[Descriptors],
    malignancies: Sequence[Malignancy | None],
) -> None:
    """Adds to each measurement group of a report the descriptors and the malignancy of its lesion.

    Comments repeat both with probabilities and intervals, and say that a program wrote them.

    Args:
        report: TID 1500, with a measurement group for each lesion.
        described: one for each group, in their order.
        malignancies: one for each group; None if the network does not say.
    """
    if not described:
        return
    groups = list(_groups(report.ContentSequence))
    comments = []
    for number, (group, descriptors, malignancy) in enumerate(
        zip(groups, described, malignancies, strict=True), start=1
    ):
        _append(group, [*_evaluations(descriptors), *_probability(malignancy)])
        words = describe_in_words(descriptors)
        if words:
            comments.append(f"Lesion {number}, suggested by a program: {words}.")
        if malignancy is not None:
            comments.append(f"Lesion {number}: {sentence(malignancy)}.")
    _append(report, [_text(comment) for comment in comments])


def describe_in_words(descriptors: Descriptors) -> str:
    """Such as "shape irregular (0.81), orientation parallel (0.93)": each word that is said, with its probability."""
    parts = []
    for name, one in descriptors.named():
        if one.word is not None:
            parts.append(f"{name} {one.word} ({one.probabilities[one.word]:.2f})")
    return ", ".join(parts)


def _groups(items: Iterable[Dataset]) -> Iterator[Dataset]:
    """The measurement groups, at any depth."""
    for item in items:
        if item.ConceptNameCodeSequence[0].CodeValue == _GROUP:
            yield item
        elif "ContentSequence" in item:
            yield from _groups(item.ContentSequence)


def _evaluations(descriptors: Descriptors) -> list[Dataset]:
    items = []
    for name, one in descriptors.named():
        if one.word in WORDS:
            item = _item("CODE", NAMES[name])
            item.ConceptCodeSequence = [_code(WORDS[one.word])]
            items.append(item)
    return items


def _probability(malignancy: Malignancy | None) -> list[Dataset]:
    """The probability in percent, unless it is withheld."""
    if malignancy is None or malignancy.withheld is not None:
        return []
    measured = Dataset()
    measured.NumericValue = f"{100 * malignancy.probability:.1f}"
    measured.MeasurementUnitsCodeSequence = [_code(_PERCENT)]
    item = _item("NUM", PROBABILITY_OF_CANCER)
    item.MeasuredValueSequence = [measured]
    return [item]


def _text(words: str) -> Dataset:
    item = _item("TEXT", _COMMENT)
    item.TextValue = words
    return item


def _item(kind: str, name: Concept) -> Dataset:
    item = Dataset()
    item.ValueType, item.RelationshipType = kind, "CONTAINS"
    item.ConceptNameCodeSequence = [_code(name)]
    return item


def _code(concept: Concept) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = concept
    return item


def _append(container: Dataset, items: Sequence[Dataset]) -> None:
    # Not by an assignment: highdicom would take only content items of its own.
    all_items = Items([*container.ContentSequence, *items])
    container.add_new("ContentSequence", "SQ", all_items)
