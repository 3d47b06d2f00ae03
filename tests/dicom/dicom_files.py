"""Real ultrasound files of pydicom and pydicom-data, and small files made here."""

from __future__ import annotations

import functools
import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

US_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
US_LOOP = "1.2.840.10008.5.1.4.1.1.3.1"
Region = tuple[int, int, int, int, float, float]


def _folders() -> list[Path]:
    store = importlib.util.find_spec("data_store")
    assert store is not None and store.origin is not None
    return [Path(pydicom.__file__).parent / "data", Path(store.origin).parent]


@functools.cache
def find_real(name: str) -> Path:
    """A file of pydicom or pydicom-data by its name."""
    for folder in _folders():
        for path in folder.rglob(name):
            return path
    raise FileNotFoundError(name)


def region_item(
    box: tuple[int, int, int, int],
    delta: tuple[float, float],
    kind: int = 1,
    form: int = 1,
) -> Dataset:
    """A region of left, top, right, bottom (inclusive), with (row, column) deltas in cm."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = form, kind, 0
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for name, value in zip(names, box, strict=True):
        setattr(item, f"RegionLocation{name}", value)
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaY, item.PhysicalDeltaX = delta
    return item


def make_dataset(
    pixels: NDArray[Any],
    photometric: str = "MONOCHROME2",
    regions: Any = (),
    **tags: Any,
) -> Dataset:
    """An uncompressed ultrasound data set of (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3) samples."""
    is_colour = photometric in ("RGB", "YBR_FULL")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    has_frames = pixels.ndim == (4 if is_colour else 3)
    dataset.SOPClassUID = US_LOOP if has_frames else US_IMAGE
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality, dataset.Manufacturer = "US", "none"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "P-17"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260101", "120000", "1"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.PatientOrientation = ""
    if has_frames:
        dataset.NumberOfFrames = len(pixels)
        dataset.FrameTime = "40"
        dataset.FrameIncrementPointer = 0x00181063
    shape = pixels.shape[1:] if has_frames else pixels.shape
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if regions:
        dataset.SequenceOfUltrasoundRegions = list(regions)
    for name, value in tags.items():
        setattr(dataset, name, value)
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    return dataset


def as_bytes(dataset: Dataset) -> bytes:
    """The content of the file of a data set."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def conformance_errors(path: Path) -> list[str]:
    """What dciodvfy of dicom3tools calls an error in a file."""
    tool = Path(sys.executable).parent / "dciodvfy"
    done = subprocess.run([tool, path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy said nothing"
    return [line for line in lines if line.startswith("Error")]
