"""What written objects take over from the image: patient, study, references; and their new identifiers."""

from __future__ import annotations

import functools
import hashlib
import hmac
import io
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from pydicom.dataset import Dataset

import sonoseg
from sonoseg.dicom.damage import dicom_errors, text
from sonoseg.dicom.header import ULTRASOUND, WRITER
from sonoseg.errors import InputError

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile
    from sonoseg.reader.segmenter import Segmenter

P = ParamSpec("P")
R = TypeVar("R")
MANUFACTURER = WRITER
NOTICE = "Research use, not a medical device"
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = (
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_KEPT = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
)
_NEEDED = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_TIMES = ("Content", "Acquisition", "Series", "Study")
"""Whose date and time an object takes over, in this order."""
_NO_TIME = "19000101", "000000"
_DATE = re.compile(r"[12]\d{3}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")
_SEX = re.compile("[MFO]")
SINGLE_FRAME, MULTI_FRAME = list(ULTRASOUND)[:2]


@dataclass(frozen=True)
class Algorithm:
    """Who made an outline: name and version of the model, and the checksum of its bundle (64 hex digits)."""

    name: str
    version: str
    sha256: str

    @staticmethod
    def of(segmenter: Segmenter) -> Algorithm:
        """That of a loaded bundle."""
        card = segmenter.card
        version = card.version
        if segmenter.sensitivity is not None:
            version += f", sensitivity {segmenter.sensitivity}"
        return Algorithm(card.name, version, segmenter.sha256)


def refuses_damage(
    function: Callable[Concatenate[DicomFile, P], R],
) -> Callable[Concatenate[DicomFile, P], R]:
    """Makes a function of a DICOM file raise InputError where a header of the file holds what cannot be."""

    @functools.wraps(function)
    def wrapped(file: DicomFile, /, *arguments: P.args, **options: P.kwargs) -> R:
        with dicom_errors(file.header.subject):
            return function(file, *arguments, **options)

    return wrapped


def as_bytes(file: DicomFile, dataset: Dataset) -> bytes:
    """The content of the file of an object that refers to `file`.

    Raises:
        InputError: what was taken over from the image cannot be written.
    """
    buffer = io.BytesIO()
    with dicom_errors(file.header.subject):
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_object(file: DicomFile, dataset: Dataset, path: Path) -> None:
    """Writes the file of an object that refers to `file`, not atomically.

    Raises:
        InputError: as `as_bytes`.
        OSError: the file cannot be written.
    """
    # Not by pydicom: of a full disk it raises an error without a number, as of a damaged image.
    path.write_bytes(as_bytes(file, dataset))


def reference_dataset(file: DicomFile, pseudonym: str | None = None) -> Dataset:
    """The elements of an image that what is written about it needs, and no others.

    Args:
        file: the image.
        pseudonym: a key. Name and ID of the patient become a code that is the same for the same patient and key;
            without both, for the same study and key. Birth date, times of the study, accession number, study ID and
            physician are left empty. UIDs stay, because they refer to the image.

    Raises:
        InputError: the image has no valid UIDs to refer to.
    """
    source = file.dataset
    for name in _NEEDED:
        if not source.get(name):
            problem = f"has no {name}, so nothing can be written that refers to it"
            raise InputError(file.header.subject, problem, "export it again")
        if not _UID.fullmatch(str(source.get(name))):
            problem = f"has a {name} that is no UID, so nothing can be written with it"
            raise InputError(file.header.subject, problem, "export it again")
    kept = Dataset()
    for name in (*_PATIENT, *_STUDY):
        setattr(kept, name, text(source, name))
    for name in _KEPT:
        if source.get(name) is not None:
            setattr(kept, name, source.get(name))
    kept.InstanceNumber = kept.get("InstanceNumber") or 1
    kept.StudyDate = _date(source, "StudyDate")
    kept.StudyTime = _time(source, "StudyTime")
    kept.PatientBirthDate = _date(source, "PatientBirthDate")
    kept.PatientSex = _matching(_SEX, str(kept.PatientSex).strip())
    if pseudonym is not None:
        _hide(kept, pseudonym)
    return kept


def content_time(file: DicomFile, pseudonym: str | None) -> tuple[str, str]:
    """Content date and time of an object: those of the image, and 1900 if they are not known or to be hidden.

    They are not those of the writing: the same image and network make the same object again.
    """
    if pseudonym is not None:
        return _NO_TIME
    for name in _TIMES:
        date = _date(file.dataset, f"{name}Date")
        if date:
            return date, _time(file.dataset, f"{name}Time") or _NO_TIME[1]
    return _NO_TIME


def _date(source: Dataset, name: str) -> str:
    return _matching(_DATE, str(source.get(name) or "").replace(".", ""))


def _time(source: Dataset, name: str) -> str:
    return _matching(_TIME, str(source.get(name) or "").replace(":", ""))


def _matching(pattern: re.Pattern[str], value: str) -> str:
    """The value if it is valid, otherwise "": old scanners write dates with dots and times with colons."""
    return value if pattern.fullmatch(value) else ""


def has_patient(dataset: Dataset) -> bool:
    """Whether a file says whose it is, by an ID or a name."""
    return any(text(dataset, name).strip(" ^=") for name in _PATIENT[:2])


def patient_key(dataset: Dataset) -> str:
    """What tells a patient from others: the ID; name and birth date; or that of the study, which is of one patient.

    A birth date alone is that of many patients.
    """
    if who := text(dataset, "PatientID").strip():
        return who
    if has_patient(dataset):
        name = text(dataset, "PatientName")
        return f"{name}|{_date(dataset, 'PatientBirthDate')}"
    return text(dataset, "StudyInstanceUID")


def _hide(dataset: Dataset, key: str) -> None:
    who = patient_key(dataset)
    code = hmac.new(key.encode(), who.encode(), hashlib.sha256).hexdigest()[:16].upper()
    dataset.PatientID = dataset.PatientName = code
    dataset.PatientBirthDate = ""
    for name in _STUDY:
        setattr(dataset, name, "")
    dataset.PatientIdentityRemoved = "YES"


def referenced_class(file: DicomFile) -> str:
    """The SOP class by which the image is referred to.

    There are loops under the class of stills. They are referred to as what they are, because a reference to a frame
    is valid only for a multi-frame class.
    """
    kind = str(file.dataset.SOPClassUID)
    return MULTI_FRAME if file.frames > 1 and kind == SINGLE_FRAME else kind


def new_uid(*parts: object) -> str:
    """A UID that is the same again for the same parts (PS3.5 B.2: derived from a UUID, here of version 5)."""
    text = "|".join(map(str, parts))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, text).int}"


def software() -> str:
    """The version of sonoseg."""
    return str(sonoseg.__version__)
