"""The images of the served folder as MONAI Label's clients name them: by file name, or by DICOM series."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import InputError
from sonoseg.serve.album import name_of
from sonoseg.serve.edits import Edit
from sonoseg.serve.limits import Limits
from sonoseg.serve.monai_images import picture_of, read_label
from sonoseg.serve.patch import to_text
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import stem_of
from sonoseg.serve.session import Session


@dataclass
class Folder:
    """The folder of a session.

    Attributes:
        session: that serves it.
        limits: on what is sent.
        names: identifiers of images that clients added, by the names that they gave them.
    """

    session: Session
    limits: Limits
    names: dict[str, str] = field(default_factory=dict)
    _series: dict[tuple[str, int], str] = field(default_factory=dict)

    def find(self, image: str) -> tuple[str, Path]:
        """Identifier and file of an image.

        Args:
            image: its name with or without ending, the name under which it was sent, or a Series Instance UID.

        Raises:
            Refused: status 404, there is no such image, or the series has several.
        """
        images = self.session.album.refresh()
        known = self.names.get(image)
        if known in images:
            return known, images[known]
        for identifier, path in images.items():
            if image in (name_of(path), stem_of(path)):
                return identifier, path
        found = [key for key, path in images.items() if self._series_of(path) == image]
        if len(found) == 1:
            return found[0], images[found[0]]
        problem = "is not in the folder"
        if found:
            problem = f"is a series of {len(found)} images, which is no volume"
        raise Refused(404, "image", problem, "name one image; see /datastore/")

    def add(self, image: str, content: bytes) -> str:
        """Puts a picture into the folder; returns the name under which the client finds it again.

        Raises:
            InputError: it is no picture, or the folder cannot be written to.
        """
        picture = picture_of(content, self.limits)
        stem = stem_of(Path(image.removesuffix(".gz").removesuffix(".nii")))
        # `Album.add` drops what follows the last dot.
        identifier = self.session.album.add(f"{stem}.x", picture)
        self.names[image] = identifier
        return image

    def save_label(self, image: str, reader: str, content: bytes) -> str:
        """Makes a label the mask of a reader, as if the reader had drawn it on the page; returns the image's name.

        Raises:
            Refused: there is no such image, or the mask was changed meanwhile.
            InputError: the label cannot be read, or does not fit.
        """
        identifier, path = self.find(image)
        result = self.session.album.result(identifier)
        source = result.record.source
        shape, region = result.mask.shape, None
        if is_dicom_file(path) and not isinstance(source, str) and source.region:
            region, shape = source.region, _frame_of(path)
        mask = read_label(content, shape, self.limits)
        if region is not None:  # the label is one of the whole frame
            left, top, width, height = region
            mask = mask[top : top + height, left : left + width]
        height, width = mask.shape
        view = self.session.view(identifier, reader)
        key = f"label-{secrets.token_hex(8)}"
        place = {"width": width, "height": height, "bits": to_text(mask)}
        edit = Edit(key, view.revision, "brush", **place)
        self.session.edit(identifier, reader, edit)
        return name_of(path)

    def next_image(self, reader: str) -> str | None:
        """Name of the first image that the reader has not accepted; None if there is none."""
        for entry in self.session.entries(reader):
            if entry["state"] != "accepted":
                return entry["name"]
        return None

    def status(self, reader: str) -> dict[str, Any]:
        """How many images there are, and how many the reader has accepted."""
        entries = self.session.entries(reader)
        accepted = [one for one in entries if one["state"] == "accepted"]
        return {"total": len(entries), "completed": len(accepted), "label_tags": {}}

    def listed(self) -> dict[str, Any]:
        """All images as MONAI Label lists them."""
        objects = {}
        for path in self.session.album.refresh().values():
            image = {"ext": path.suffix, "info": {"name": name_of(path)}}
            objects[stem_of(path)] = {"image": image, "labels": {}}
        return {"name": "sonoseg", "description": "", "objects": objects}

    def _series_of(self, path: Path) -> str:
        """The Series Instance UID of a DICOM file, "" of others."""
        try:
            key = (path.name, path.stat().st_mtime_ns)
        except OSError:
            return ""
        if key not in self._series:
            self._series[key] = _read_series(path)
        return self._series[key]


def _read_series(path: Path) -> str:
    from sonoseg.dicom.read import read_dicom

    if not is_dicom_file(path):
        return ""
    try:
        return str(read_dicom(path).dataset.get("SeriesInstanceUID", ""))
    except InputError:
        return ""


def _frame_of(path: Path) -> tuple[int, int]:
    """(H, W) of the whole frame."""
    from sonoseg.dicom.read import read_dicom

    return read_dicom(path).shape
