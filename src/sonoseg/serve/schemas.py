"""The forms of the service's answers, for /openapi.json. They describe; the answers are made in `answer.py`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was refused."""

    subject: str = Field(description="the part of the request that is wrong")
    problem: str = Field(description="what is wrong with it")
    hint: str = Field(description="what to do about it")


class ModelAnswer(BaseModel):
    """Which network answered."""

    name: str
    version: str
    sha256: str = Field(description="checksum of the bundle, 64 hex digits")
    sensitivity: str | None = Field(
        description="operating point: high, balanced or specific; null: as trained"
    )


class Box(BaseModel):
    """The smallest upright rectangle around a lesion, in pixels."""

    x: int
    y: int
    width: int
    height: int


class DescriptorAnswer(BaseModel):
    """What a radiologist would probably say of one aspect of a lesion."""

    word: str | None = Field(description="null where the program cannot say")
    probabilities: dict[str, float] = Field(description="of each word, 0 to 1")


class MalignancyAnswer(BaseModel):
    """How probable it is that a lesion is malignant. No diagnosis."""

    probability: float | None = Field(description="0 to 1; null if withheld")
    interval: list[float] | None = Field(description="95 %: [low, high]")
    withheld: str | None = Field(description="why there is no number")


class LesionAnswer(BaseModel):
    """One connected part of the mask; lengths in its unit, places [x, y] in pixels."""

    unit: str = Field(description="mm, or px where the spacing is not known")
    area: float
    longest_diameter: float
    perpendicular_diameter: float
    mean_probability: float = Field(
        description="of the network over the lesion's pixels, 0 to 1"
    )
    box: Box
    centre: list[float]
    longest_diameter_ends: list[list[float]]
    perpendicular_diameter_ends: list[list[float]]
    descriptors: dict[str, DescriptorAnswer] = Field(
        description="shape, orientation, margin, echo pattern, posterior features"
    )
    malignancy: MalignancyAnswer | None = Field(
        default=None, description="only if the network judges it"
    )
    contour: list[list[list[int]]] = Field(
        description="rings of corners [x, y] along pixel edges; fill them by the even-odd rule"
    )


class SpacingAnswer(BaseModel):
    """The size of a pixel."""

    mm_per_pixel: list[float] = Field(description="[row, column]")
    source: str


class SegmentAnswer(BaseModel):
    """What the network found in one image."""

    sonoseg: str = Field(description="version of the program")
    notice: str
    model: ModelAnswer
    width: int
    height: int
    unit: str = Field(
        description="of lengths: mm, or px where the spacing is not known; as `spacing` of the first DICOM region"
    )
    spacing: SpacingAnswer | None
    unfamiliarity: float | None = Field(
        description="over 1 the image is unlike those that the network was trained on"
    )
    doubts: list[str] = Field(
        description="why the result should not be trusted; empty if nothing"
    )
    lesions: list[LesionAnswer] = Field(description="the largest first")
    threshold: float
    mask: str = Field(
        description="PNG in base64: 255 is lesion, 0 is not; of the image's size"
    )
    heat: str | None = Field(
        default=None,
        description="PNG in base64: where the network looked for the pixels of at least 0.5; only with explain",
    )
    frame: int | None = Field(
        default=None, description="which frame was segmented, from 1; only of DICOM"
    )
    frames: int | None = Field(
        default=None, description="how many the file has; only of DICOM"
    )
    seg: str | None = Field(
        default=None,
        description="DICOM segmentation in base64; only of DICOM with a lesion",
    )
    sr: str | None = Field(
        default=None, description="DICOM report of the measurements in base64"
    )
