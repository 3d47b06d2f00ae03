"""The images of the served folder as MONAI Label's clients name them: by file name, or by DICOM series."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonoseg.core.paths import stem_of
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import InputError
from sonoseg.serve.edits import Edit
from sonoseg.serve.limits import Limits
from sonoseg.serve.monai_images import (
    check_upright,
    is_turned,
    picture_of,
    read_label,
)
from sonoseg.serve.patch import Mask, to_text
from sonoseg.serve.refusal import Refused
from sonoseg.serve.scans import open_scan
from sonoseg.serve.scenes import Scene, Shot, name_of
from sonoseg.serve.session import Session
from sonoseg.serve.uploads import free_stem, plain_name


@dataclass
class Folder:
    """The folder of a session.

    Attributes:
        session: that serves it.
        limits: on what is sent.
        names: files of images that clients added, by the names that they gave them.
    """

    session: Session
    limits: Limits
    names: dict[str, Path] = field(default_factory=dict)
    _series: dict[tuple[str, int], str] = field(default_factory=dict)
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def find(self, image: str) -> list[Scene]:
        """What the page shows of one file: one scene, or the images of a split screen.

        Args:
            image: the file's name with or without ending, the name under which it was sent, or a Series Instance UID.

        Raises:
            Refused: status 422, no image is named; or 404, there is none, or the name or the series has several.
        """
        if not image:
            raise Refused(422, "image", "is not named", "name one; see /datastore/")
        files: dict[Path, list[Scene]] = {}
        for scene in self.session.album.refresh().values():
            files.setdefault(scene.path, []).append(scene)
        found = {path for path in files if _is_name_of(path, image)}
        if image in self.names:  # its file may be gone; then no other is meant
            found.add(self.names[image])
        if not found:
            found = {path for path in files if self._series_of(path) == image}
        problem = f"stands for {len(found)} images, which are no volume"
        if len(found) < 2:
            problem = "is not in the folder"
            for path in found & files.keys():
                return files[path]
        raise Refused(404, "image", problem, "name one image; see /datastore/")

    def path(self, image: str) -> Path:
        """The file of an image; see `find`."""
        return self.find(image)[0].path

    def add(self, image: str, content: bytes) -> str:
        """Puts a picture into the folder; returns the name under which the client finds it again.

        Raises:
            Refused: status 409, there is another file of this name, for which its label would be taken; or 422, EXIF
                turns it.
            InputError: it is no picture, or the folder cannot be written to.
        """
        picture = picture_of(content, self.limits)
        stem = stem_of(Path(image.removesuffix(".gz").removesuffix(".nii")))
        # `plain_name` drops what follows the last dot.
        name = f"{stem}.x"
        plain, album = plain_name(name), self.session.album
        with self._adding:
            same = [
                scene.path
                for scene in album.refresh().values()
                if stem_of(scene.path).casefold() == plain.casefold()
                or _is_name_of(scene.path, image)
            ]
            is_taken = not same and free_stem(album.folder, plain) != plain
            if is_taken or any(path.read_bytes() != picture for path in same):
                problem = "the folder has another file of this name"
                raise Refused(409, "image", problem, "send it under another name")
            if not same:
                same = [album.shot(album.add(name, picture)).path]
            self.names[image] = same[0]
        return image

    def save_label(self, image: str, reader: str, content: bytes) -> str:
        """Makes a label the mask of a reader, as if the reader had drawn it on the page; returns the file's name.

        Raises:
            Refused: there is no such image, EXIF turns it or the label, or the mask was changed meanwhile.
            InputError: the label cannot be read, or does not fit; or the image is a loop.
        """
        scenes = self.find(image)
        if scenes[0].frames > 1:
            hint = "draw on its frames on the page"
            raise InputError("label", "the image is a loop", hint)
        check_upright("image", scenes[0].path, self.limits)
        shots = [Shot(scene) for scene in scenes]
        masks = [self.session.album.result(shot).mask for shot in shots]
        if is_dicom_file(scenes[0].path):  # the label is one of the whole frame
            file = open_scan(scenes[0].path, self.limits)
            whole = read_label(content, file.shape, self.limits)
            regions = [file.layout.regions[scene.region - 1] for scene in scenes]
            drawn = [whole[region.slices] for region in regions]
        else:
            drawn = [read_label(content, masks[0].shape, self.limits)]
        for shot, mask in zip(shots, drawn, strict=True):
            self._draw(shot, reader, mask)
        return scenes[0].name

    def next_image(self, reader: str) -> str | None:
        """Name of the first image that the reader has not accepted, and EXIF does not turn; None if there is none."""
        scenes = self.session.album.refresh()
        for entry in self.session.entries(reader):
            scene = scenes.get(entry["id"])
            if scene is None or entry["state"] == "accepted":
                continue
            if not is_turned(scene.path, self.limits):
                return scene.name
        return None

    def status(self, reader: str) -> dict[str, Any]:
        """How many files there are, and how many the reader has accepted; of a split screen each part must be."""
        is_done: dict[str, bool] = {}
        for entry in self.session.entries(reader):
            name, is_accepted = entry["name"], entry["state"] == "accepted"
            is_done[name] = is_done.get(name, True) and is_accepted
        done = sum(is_done.values())
        return {"total": len(is_done), "completed": done, "label_tags": {}}

    def listed(self) -> dict[str, Any]:
        """All images as MONAI Label lists them."""
        objects = {}
        for scene in self.session.album.refresh().values():
            image = {"ext": scene.path.suffix, "info": {"name": scene.name}}
            objects[stem_of(scene.path)] = {"image": image, "labels": {}}
        return {"name": "sonoseg", "description": "", "objects": objects}

    def _draw(self, shot: Shot, reader: str, mask: Mask) -> None:
        height, width = mask.shape
        view = self.session.view(shot, reader)
        key = f"label-{secrets.token_hex(8)}"
        place = {"width": width, "height": height, "bits": to_text(mask)}
        edit = Edit(key, view.revision, "brush", **place)
        self.session.edit(shot, reader, edit)

    def _series_of(self, path: Path) -> str:
        """The Series Instance UID of a DICOM file, "" of others."""
        try:
            key = (path.name, path.stat().st_mtime_ns)
        except OSError:
            return ""
        if key not in self._series:
            self._series[key] = _read_series(path)
        return self._series[key]


def _is_name_of(path: Path, image: str) -> bool:
    return image in (name_of(path), stem_of(path))


def _read_series(path: Path) -> str:
    from sonoseg.dicom.read import read_dicom

    if not is_dicom_file(path):
        return ""
    try:
        return str(read_dicom(path).dataset.get("SeriesInstanceUID", ""))
    except InputError:
        return ""
