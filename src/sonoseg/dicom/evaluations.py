"""The descriptors and the malignancy of lesions in the measurement groups of a structured report (PS3.16 TID 1501)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from sonoseg.core.measure import find_lesions
from sonoseg.describe.descriptors import Descriptors
from sonoseg.describe.lesion import describe_lesions
from sonoseg.describe.malignancy import Malignancy
from sonoseg.describe.malignancy_words import sentence
from sonoseg.dicom import codes
from sonoseg.dicom.codes import Code
from sonoseg.dicom.content import CONTAINS, code_item, number_item, text_item
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.read import DicomFile

NAMES: dict[str, Code] = {
    "shape": Code("107644003", "SCT", "Shape"),
    "orientation": Code("111354", "DCM", "Orientation"),
    "margin": Code("111037", "DCM", "Margins"),
    "echo pattern": Code("111360", "DCM", "Echo pattern"),
    "posterior features": Code("111366", "DCM", "Posterior acoustic features"),
}
WORDS: dict[str, Code] = {
    # shape, CID 6004
    "oval": Code("84360004", "SCT", "Ovoid shape (Oval)"),
    "round": Code("42700002", "SCT", "Round shape"),
    "irregular": Code("49608001", "SCT", "Irregular"),
    # orientation, CID 6152
    "parallel": Code("111355", "DCM", "Parallel"),
    "not parallel": Code("111356", "DCM", "Not parallel"),
    # margin, CID 6006
    "circumscribed": Code("129738007", "SCT", "Circumscribed lesion"),
    "indistinct": Code("129741003", "SCT", "Indistinct lesion"),
    "angular": Code("111343", "DCM", "Angular margins"),
    "microlobulated": Code("129739004", "SCT", "Microlobulated lesion"),
    "spiculated": Code("129742005", "SCT", "Spiculated lesion"),
    # echo pattern, CID 6154, which has no code for heterogeneous
    "anechoic": Code("111361", "DCM", "Anechoic"),
    "hyperechoic": Code("111362", "DCM", "Hyperechoic"),
    "complex": Code("111363", "DCM", "Complex"),
    "hypoechoic": Code("111364", "DCM", "Hypoechoic"),
    "isoechoic": Code("111365", "DCM", "Isoechoic"),
    # posterior features, CID 6155
    "none": Code("111367", "DCM", "No posterior acoustic features"),
    "enhancement": Code("111368", "DCM", "Posterior enhancement"),
    "shadowing": Code("111369", "DCM", "Posterior shadowing"),
    "combined": Code("111370", "DCM", "Combined posterior enhancement and shadowing"),
}
PROBABILITY_OF_CANCER: Code = Code("111047", "DCM", "Probability of cancer")
_PERCENT: Code = Code("%", "UCUM", "Percent")


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
            (lesion,) = describe_lesions(
                found, view.image.pixels, mask, stretch=view.image.stretch
            )
            described.append(lesion.descriptors)
            break
        else:
            described.append(Descriptors())
    return described


def add_evaluations(
    report: Dataset,
    described: Sequence[Descriptors],
    malignancies: Sequence[Malignancy | None],
    chosen: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Adds to each measurement group of a report the descriptors and the malignancy of its lesion.

    Comments repeat what a program said, with probabilities and intervals, and say that a program said it.

    Args:
        report: TID 1500, with a measurement group for each lesion.
        described: one for each group, in their order.
        malignancies: one for each group; None if the network does not say.
        chosen: of a report in a person's name, the words that this person chose for each group. Only these are coded:
            what a program suggested and nobody took over is not the person's word. None codes the program's words.
    """
    if not described:
        return
    groups = list(_groups(report.ContentSequence))
    if chosen is None:
        chosen = [_suggested(descriptors) for descriptors in described]
    comments = []
    for number, (group, descriptors, malignancy, coded) in enumerate(
        zip(groups, described, malignancies, chosen, strict=True), start=1
    ):
        group.ContentSequence.extend(_evaluations(coded))
        group.ContentSequence.extend(_probability(malignancy))
        words = describe_in_words(descriptors)
        if words:
            comments.append(f"Lesion {number}, suggested by a program: {words}.")
        if malignancy is not None:
            comments.append(f"Lesion {number}: {sentence(malignancy)}.")
    for comment in comments:
        report.ContentSequence.append(text_item(CONTAINS, codes.COMMENT, comment))


def withhold(malignancy: Malignancy | None, reason: str) -> Malignancy | None:
    """The malignancy as "cannot say", for this reason if there was none before."""
    if malignancy is None:
        return None
    return replace(malignancy, withheld=malignancy.withheld or reason)


def describe_in_words(descriptors: Descriptors) -> str:
    """Such as "shape irregular (0.81), orientation parallel (0.93)": each word that is said, with its probability."""
    parts = []
    for name, one in descriptors.named():
        if one.word is not None:
            parts.append(f"{name} {one.word} ({one.probabilities[one.word]:.2f})")
    return ", ".join(parts)


def comments_of_person(outlines: Sequence[Outline], person: str) -> list[str]:
    """The words that a person chose, as sentences that name the person, and the frames if there are several.

    Args:
        outlines: of all lesions, on all frames.
        person: the name of the person.
    """
    frames = {outline.frame for outline in outlines}
    said: dict[tuple[int, str], list[str]] = {}
    for outline in outlines:
        words = ", ".join(f"{name} {word}" for name, word in outline.chosen.items())
        if words:
            said.setdefault((outline.segment, words), []).append(str(outline.frame))
    # The numbers of the measurement groups, which are in the order of the segments.
    segments = sorted({outline.segment for outline in outlines})
    comments = []
    for (segment, words), own in sorted(said.items()):
        number = segments.index(segment) + 1
        place = f" (frame {', '.join(own)})" if len(frames) > 1 else ""
        comments.append(f"Lesion {number}{place}, chosen by {person}: {words}.")
    return comments


def _groups(items: Iterable[Dataset]) -> Iterator[Dataset]:
    """The measurement groups, at any depth."""
    for item in items:
        if item.ConceptNameCodeSequence[0].CodeValue == codes.MEASUREMENT_GROUP.value:
            yield item
        elif "ContentSequence" in item:
            yield from _groups(item.ContentSequence)


def _suggested(descriptors: Descriptors) -> dict[str, str]:
    """The words that the program says."""
    return {name: one.word for name, one in descriptors.named() if one.word is not None}


def _evaluations(words: Mapping[str, str]) -> list[Dataset]:
    items = []
    for name, word in words.items():
        if word in WORDS:
            items.append(code_item(CONTAINS, NAMES[name], WORDS[word]))
    return items


def _probability(malignancy: Malignancy | None) -> list[Dataset]:
    """The probability in percent, unless it is withheld."""
    if malignancy is None or malignancy.withheld is not None:
        return []
    digits = f"{100 * malignancy.probability:.1f}"
    return [number_item(PROBABILITY_OF_CANCER, digits, _PERCENT)]
