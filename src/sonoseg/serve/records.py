"""What the journal keeps: events of a mask, what a reader wrote, and what a reader accepted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

from sonoseg.describe.malignancy import Malignancy
from sonoseg.serve.patch import Patch

if TYPE_CHECKING:
    from sonoseg.reader.segmenter import Segmenter

OUTLINE, CALIPERS, PIXEL_SIZE = "outline", "calipers", "pixel size"
"""What a person can change of the network's own measurement."""


@dataclass(frozen=True)
class Network:
    """Which network outlined an image.

    Attributes:
        name, version: of its card; the version also names the operating point.
        sha256: of its bundle, 64 hex digits.
    """

    name: str
    version: str
    sha256: str

    @classmethod
    def of(cls, segmenter: Segmenter) -> Network:
        """The network of a loaded bundle."""
        card = segmenter.card
        point = segmenter.sensitivity
        version = (
            card.version if point is None else f"{card.version}, sensitivity {point}"
        )
        return cls(card.name, version, segmenter.sha256)

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @property
    def digits(self) -> str:
        """8 hex digits that stand for it in names of files."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:8]

    @classmethod
    def from_text(cls, text: str) -> Network:
        """The network of which `to_text` made `text`."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Content:
    """Which content a file has.

    Attributes:
        sha256: of all its bytes.
        modified, changed, size: times of its status in ns, and how many bytes it has. A file for which these are the
            same is not read again.
    """

    sha256: str
    modified: int
    changed: int
    size: int


@dataclass(frozen=True)
class Event:
    """One entry of the journal.

    Attributes:
        key: made by the client, so that an event that is sent twice is kept once.
        kind: start (the mask to begin with), patch, undo or redo.
        tool: what the reader used, such as brush. Of a start, the network as JSON: its mask is the start.
        patch: of a start and of a patch; None for the others.
        calipers: of a patch, all that are there after it, see `calipers.join_calipers`.
        number: its place in the journal; 0 before it is appended.
    """

    key: str
    kind: str
    tool: str
    patch: Patch | None = None
    calipers: str = ""
    number: int = 0


@dataclass(frozen=True)
class Finding:
    """What a reader wrote about an image.

    Attributes:
        label: benign, malignant, normal, uncertain, or "" if not chosen yet.
        birads: category, such as 4A, or "".
        note: free text.
        spacing: mm per pixel as the reader typed it, or "".
        descriptors: see `lexicon.join_descriptors`.
    """

    label: str = ""
    birads: str = ""
    note: str = ""
    spacing: str = ""
    descriptors: str = ""

    @property
    def digits(self) -> str:
        """16 hex digits that stand for it: a window shows by them which words it has seen."""
        text = json.dumps(astuple(self))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Accepted:
    """What a reader accepted.

    Attributes:
        finding: as it was then.
        number: of the last change of mask or calipers; 0 for what the network itself says.
        file: name of the image in the data set.
        patient: a code that images of one patient share, or "".
        diameters: of the lesions, for labels.csv.
        time: in seconds since 1970.
        network: whose mask the reader began with.
        calipers: that the reader put down, see `calipers.join_calipers`.
        by_person: what the reader changed: any of `OUTLINE`, `CALIPERS`, `PIXEL_SIZE`.
        malignancies: of the lesions, the largest first; None where the network does not say.
        doubts: why the result should not be trusted, in words.
        remark: that the file was replaced after earlier work on it, or "".
        is_written: whether it is in the data set on the disk.
    """

    finding: Finding
    number: int
    file: str
    patient: str
    diameters: str
    time: float
    network: Network
    calipers: str = ""
    by_person: tuple[str, ...] = ()
    malignancies: tuple[Malignancy | None, ...] = ()
    doubts: tuple[str, ...] = ()
    remark: str = ""
    is_written: bool = False


def details_text(accepted: Accepted) -> str:
    """How it was made, as JSON, for the journal."""
    judged = [None if one is None else asdict(one) for one in accepted.malignancies]
    details = {
        "network": asdict(accepted.network),
        "calipers": accepted.calipers,
        "by_person": accepted.by_person,
        "malignancies": judged,
        "doubts": accepted.doubts,
        "remark": accepted.remark,
    }
    return json.dumps(details)


def split_details(text: str) -> dict[str, Any]:
    """The attributes of `Accepted` of which `details_text` made `text`."""
    details = json.loads(text)
    judged = []
    for one in details["malignancies"]:
        judged.append(None if one is None else Malignancy(**one))
    return {
        "network": Network(**details["network"]),
        "calipers": details["calipers"],
        "by_person": tuple(details["by_person"]),
        "malignancies": tuple(judged),
        "doubts": tuple(details["doubts"]),
        "remark": details["remark"],
    }
