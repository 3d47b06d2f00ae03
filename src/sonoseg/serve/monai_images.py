"""What MONAI Label's clients get about one picture: a label as NRRD, and parameters as JSON."""

from __future__ import annotations

import base64
import io
import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.TiffImagePlugin import X_RESOLUTION, TiffImageFile

from sonoseg.core.decode import orientation
from sonoseg.core.image import Image, read_image
from sonoseg.core.mask import read_mask
from sonoseg.core.measure import Spacing
from sonoseg.core.source import Source, check_dimensions, opened
from sonoseg.dicom.recognise import is_dicom
from sonoseg.errors import InputError
from sonoseg.reader.segmenter import Segmenter
from sonoseg.serve.answer import describe, read_upload, segment_upload
from sonoseg.serve.dicom_answer import dicom_spacing, segment_dicom_upload
from sonoseg.serve.limits import Limits
from sonoseg.serve.nifti import is_nifti, read_nifti
from sonoseg.serve.nrrd import is_nrrd, read_nrrd, write_nrrd
from sonoseg.serve.refusal import Refused
from sonoseg.serve.volume import Geometry, Volume

LABEL = "lesion"
DTYPES = ("uint8", "uint16")
_MM_PER_INCH = 25.4
_LEFT_OUT = frozenset(("mask", "seg", "sr"))


@dataclass(frozen=True)
class Labelled:
    """What the network says of one picture.

    Attributes:
        mask: (H, W) bool; of DICOM that of the whole frame.
        geometry: where its pixels lie, for a client that shows it as a volume.
        answer: as of POST /api/segment.
    """

    mask: NDArray[np.bool_]
    geometry: Geometry
    answer: dict[str, Any]

    def nrrd(self, dtype: str) -> bytes:
        """The label as a NRRD file."""
        return write_nrrd(self.mask, self.geometry, dtype)

    def parameters(self) -> dict[str, Any]:
        """What the clients call params: names of the labels, their centres, and the measurements."""
        centroids = {}
        if self.answer["lesions"]:
            x, y = self.answer["lesions"][0]["centre"]
            # MONAI Label sends them as words: number of the label, then i, j, k.
            centroids[LABEL] = ["1", str(round(x)), str(round(y)), "0"]
        about = {
            name: value for name, value in self.answer.items() if name not in _LEFT_OUT
        }
        return {"label_names": {LABEL: 1}, "centroids": centroids, "sonoseg": about}

    def dicom_seg(self) -> bytes:
        """The label as DICOM SEG.

        Raises:
            InputError: the picture is no DICOM, or there is nothing to write.
        """
        if "seg" not in self.answer:
            raise InputError("output", "dicom_seg is for DICOM images", "ask for image")
        if self.answer["seg"] is None:
            raise InputError("output", "there is no lesion to write", "ask for json")
        return base64.b64decode(self.answer["seg"])


def label_picture(segmenter: Segmenter, limits: Limits, content: bytes) -> Labelled:
    """Segments one picture.

    Args:
        segmenter: the network.
        limits: on the picture.
        content: of a picture's, DICOM, NIfTI or NRRD file.

    Raises:
        InputError: it cannot be read, or has several frames or slices.
        Refused: EXIF turns it.
    """
    if is_nifti(content) or is_nrrd(content):
        image, geometry = _volume_image(content, limits)
        result = segmenter.segment(image)
        answer = describe(segmenter, result, segmenter.card.threshold)
        return Labelled(result.mask, geometry, answer)
    settings = (segmenter, limits, content, None, False, None)
    if is_dicom(content):
        answer = segment_dicom_upload(*settings)
        spacing = dicom_spacing(content, limits)
        if answer["frames"] > 1:
            problem = f"is a loop of {answer['frames']} frames, which is no volume"
            hint = "use POST /api/segment with frame, or sonoseg segment"
            raise InputError("image", problem, hint)
    else:
        check_upright("image", content, limits)
        answer = segment_upload(*settings)
        spacing = _printed_spacing(content)
    picture = Picture.open(io.BytesIO(base64.b64decode(answer["mask"])))
    geometry = Geometry()
    if spacing is not None:
        geometry = Geometry((spacing[1], 0.0, 0.0), (0.0, spacing[0], 0.0))
    return Labelled(np.asarray(picture) > 0, geometry, answer)


def is_turned(source: Source, limits: Limits) -> bool:
    """Whether EXIF turns a picture; False for what is no picture, or too large."""
    try:
        with opened(source) as (header, subject):  # EXIF may lie behind the pixels
            check_dimensions(subject, header.width, header.height, limits.pixels)
        return orientation(source) != 1
    except InputError:
        return False  # another reader takes it, or says what is wrong with it


def check_upright(subject: str, source: Source, limits: Limits) -> None:
    """Refuses a picture that EXIF turns: a label of it would lie elsewhere for sonoseg than for the client.

    sonoseg turns it upright. ITK, and so 3D Slicer, ignores EXIF in JPEG and PNG, and turns TIFF, partly wrongly.

    Raises:
        Refused: status 422, EXIF turns it.
    """
    if is_turned(source, limits):
        problem = "is turned by EXIF, which 3D Slicer ignores or reads differently"
        raise Refused(422, subject, problem, "export it upright")


def picture_of(content: bytes, limits: Limits) -> bytes:
    """A picture's file as it can be kept: a volume of one slice becomes PNG; others stay as they are.

    Raises:
        InputError: the volume cannot be read.
        Refused: EXIF turns the picture.
    """
    if not is_nifti(content) and not is_nrrd(content):
        check_upright("image", content, limits)
        return content
    image, _ = _volume_image(content, limits)
    file = io.BytesIO()
    Picture.fromarray(image.pixels).save(file, "PNG")
    return file.getvalue()


def read_label(
    content: bytes, shape: tuple[int, int], limits: Limits
) -> NDArray[np.bool_]:
    """The mask (H, W) in a label that a client sends: NIfTI, NRRD, a picture, or bare numbers of 8 or 16 bits.

    Args:
        content: of the file.
        shape: (H, W) of the image; needed for bare numbers, which OHIF sends.
        limits: on the label.

    Raises:
        InputError: it cannot be read, or has another size.
        Refused: EXIF turns it.
    """
    bare = {shape[0] * shape[1] * size: f"<u{size}" for size in (1, 2)}
    if is_nifti(content) or is_nrrd(content):
        pixels = _read_volume(content, limits).pixels
        mask = pixels > 0 if pixels.ndim == 2 else pixels.any(axis=2)
    elif len(content) in bare:
        mask = np.frombuffer(content, bare[len(content)]).reshape(shape) > 0
    else:
        read_upload(content, limits)
        check_upright("label", content, limits)
        mask = read_mask(content).pixels
    if mask.shape != shape:
        size = f"{mask.shape[1]} × {mask.shape[0]}"
        problem = f"is {size} pixels, the image {shape[1]} × {shape[0]}"
        raise InputError("label", problem, "send a label of the image's size")
    return mask


def multipart(
    parameters: dict[str, Any], name: str, content: bytes
) -> tuple[bytes, str]:
    """An answer with parameters and a file, and its Content-Type."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n'
        f"Content-Type: application/json\r\n\r\n{json.dumps(parameters)}\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _printed_spacing(content: bytes) -> Spacing | None:
    """The (row, column) in mm that ITK, and so 3D Slicer, takes from the print resolution of JPEG and TIFF.

    It says nothing about the body. But the label must have it, too, to lie on the picture.
    """
    with opened(content) as (picture, _):
        info, mm, density = picture.info, _MM_PER_INCH, None
        if isinstance(picture, TiffImageFile) and X_RESOLUTION in picture.tag_v2:
            density = info.get("dpi")
        if picture.format in ("JPEG", "MPO"):
            density = info.get("jfif_density")
            mm = {1: _MM_PER_INCH, 2: 10.0}.get(info.get("jfif_unit", 0), 0.0)
    if density is None or mm == 0 or min(density) <= 0:
        return None
    return mm / float(density[1]), mm / float(density[0])


def _read_volume(content: bytes, limits: Limits) -> Volume:
    if is_nrrd(content):
        return read_nrrd(content, limits.pixels)
    return read_nifti(content, limits.pixels)


def _volume_image(content: bytes, limits: Limits) -> tuple[Image, Geometry]:
    volume = _read_volume(content, limits)
    image = read_image(volume.pixels, volume.geometry.spacing)
    return replace(image, spacing_source="from the file"), volume.geometry
