"""What is shown of a folder: pictures, loops and videos frame by frame, and each image of a split screen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sonoseg.core.paths import is_clip, stem_of
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.errors import visible

_IDENTIFIER = re.compile("([0-9a-f]{16})(?:-([0-9]{1,6}))?")
_PART = re.compile(r"(_frame\d{4,})?(_region\d+)?$")
"""What `Shot.stem` puts behind the name of a file."""
PATTERN = f"^{_IDENTIFIER.pattern}$"
"""Of an identifier in an address: 16 hex digits, and the number of a frame."""


@dataclass(frozen=True)
class Scene:
    """One entry of the list.

    Attributes:
        path: of the file.
        frames: how many there are; more than 1 is a loop or a video.
        frame_time: milliseconds from frame to frame; None if it is not known.
        region: of a split screen, which image is shown, from 1.
        regions: how many images the screen has side by side.
        patient: of DICOM, a code that images of one patient share; "" for other files, and for damaged ones.
    """

    path: Path
    frames: int = 1
    frame_time: float | None = None
    region: int = 1
    regions: int = 1
    patient: str = ""

    @property
    def key(self) -> str:
        """Its name in the journal. No file's name holds a slash, so that it is no other's."""
        region = f"/region{self.region}" if self.regions > 1 else ""
        return f"{name_of(self.path)}{region}"

    @property
    def name(self) -> str:
        """That of the file, as text that can be shown."""
        return name_of(self.path)

    @property
    def place(self) -> str:
        """Which image of a split screen it is, in words; "" for others."""
        return f"image {self.region} of {self.regions}" if self.regions > 1 else ""

    @property
    def identifier(self) -> str:
        """16 hex digits that stand for it in addresses."""
        return identifier_of(self.key)

    @property
    def is_video(self) -> bool:
        """Whether its frames can only be read one after the other."""
        return is_clip(self.path) and not is_dicom_file(self.path)

    @property
    def is_copied(self) -> bool:
        """Whether the file itself is the image."""
        return not (self.is_video or is_dicom_file(self.path))


@dataclass(frozen=True)
class Shot:
    """One frame of a scene, numbered from 1: what is segmented, drawn on and accepted."""

    scene: Scene
    frame: int = 1

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.scene.path

    @property
    def identifier(self) -> str:
        """That of the scene; in a loop with the number of the frame behind it."""
        own = self.scene.identifier
        return f"{own}-{self.frame}" if self.scene.frames > 1 else own

    @property
    def key(self) -> str:
        """Its name in the journal."""
        own = self.scene.key
        return f"{own}/frame{self.frame}" if self.scene.frames > 1 else own

    @property
    def stem(self) -> str:
        """The name of its files in a data set, without ending, as in other places of sonoseg."""
        frame = f"_frame{self.frame:04d}" if self.scene.frames > 1 else ""
        region = f"_region{self.scene.region}" if self.scene.regions > 1 else ""
        return f"{plain_stem(self.path)}{frame}{region}"


def identifier_of(key: str) -> str:
    """16 hex digits that stand for a file, or a scene, in addresses."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def split_identifier(identifier: str) -> tuple[str, int]:
    """The scene's identifier and the number of the frame, 1 if there is none."""
    found = _IDENTIFIER.fullmatch(identifier)
    if found is None:
        return identifier, 1
    return found[1], int(found[2] or 1)


def name_of(path: Path) -> str:
    """The name of a file as text that can be shown and stored."""
    return visible(path.name)


def whole_stem(stem: str) -> str:
    """The stem of the file of which an image with this stem is a frame or a region, by its name."""
    return _PART.sub("", stem)


def stem_in(key: str, file: str) -> str:
    """The stem of an image's file, see `plain_stem`, by its key in the journal and its name in a data set."""
    stem = Path(file).stem
    _, region, frame = parts_of(key)
    if "/region" in key:
        stem = stem.removesuffix(f"_region{region}")
    if "/frame" in key:
        stem = stem.removesuffix(f"_frame{frame:04d}")
    return stem


def twins_notice(scenes: Iterable[Scene]) -> str:
    """A line that names files whose masks would have one name, see `Shot.stem`; "" if there are none."""
    by_stem: dict[str, Scene] = {}
    pairs: dict[tuple[str, str], None] = {}
    files = {scene.path: scene for scene in scenes}
    for path, scene in sorted(files.items()):
        # Upper and lower case are one name on many disks.
        other = by_stem.setdefault(stem_of(path).casefold(), scene)
        if other is not scene:
            pairs[other.name, scene.name] = None
    for stem, scene in by_stem.items():
        whole = by_stem.get(whole_stem(stem), scene)
        if whole is not scene and (whole.frames > 1 or whole.regions > 1):
            pairs[whole.name, scene.name] = None
    if not pairs:
        return ""
    first, second = next(iter(pairs))
    more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
    return f"{first} and {second}{more} have one name in the data set, which cannot hold both: rename one of them"


def plain_stem(path: Path) -> str:
    """The stem as any program can read it: a name with odd characters loses them, and gets a checksum instead."""
    stem = stem_of(path)
    plain = re.sub(r"[\\/]", "_", visible(stem).strip())
    if plain == stem:
        return stem
    return f"{plain}-{hashlib.sha256(stem.encode(errors='surrogateescape')).hexdigest()[:6]}"


def parts_of(key: str) -> tuple[str, int, int]:
    """Of a key in the journal: the file's name, and the numbers of region and frame."""
    name, *places = key.split("/")
    numbers = {"region": 1, "frame": 1}
    for place in places:
        kind = place.rstrip("0123456789")
        numbers[kind] = int(place[len(kind) :])
    return name, numbers["region"], numbers["frame"]


def find_shot(scenes: Iterable[Scene], key: str) -> Shot | None:
    """The image with this key in the journal; None if its file is gone."""
    _, _, frame = parts_of(key)
    for scene in scenes:
        shot = Shot(scene, frame)
        if shot.key == key:
            return shot
    return None
