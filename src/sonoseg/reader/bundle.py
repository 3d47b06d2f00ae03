"""The model bundle: one ONNX file that carries its own card and a checksum."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.malignancy_head import HEAD_KEY, MalignancyHead
from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there
from sonoseg.inputs import readable_file
from sonoseg.reader.answers import (
    EXPLAIN,
    MAPS,
    OUTPUTS,
    PRESENCE_SHIFT,
    Answers,
    run_network,
)
from sonoseg.reader.card import CARD_KEY, SENSITIVITIES, Card
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, HINT, read_checked
from sonoseg.reader.session import open_session

WEIGHTS = Path(__file__).parent.parent / "weights"


def default_bundle_path() -> Path:
    """The path of the bundle that ships with sonoseg."""
    return WEIGHTS / "default.onnx"


def shipped_bundles() -> dict[str, Path]:
    """The bundles of the package: their files by name, in the order of the names."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.onnx"))}


def find_bundle(model: Path | str) -> Path:
    """The bundle file for a shipped name ("default" or "accurate") or a path.

    Raises:
        InputError: neither; names the choices.
    """
    shipped = shipped_bundles()
    if str(model) in shipped:
        return shipped[str(model)]
    if is_folder(model):
        raise InputError(
            model,
            "is a folder, not a bundle",
            f"make a bundle of a run: sonoseg export {model}",
        )
    if not is_there(model):
        names = ", ".join(f'"{name}"' for name in shipped)
        choices = " or ".join(filter(None, [names, "the path of a bundle (.onnx)"]))
        raise InputError(model, "no such model", f"give {choices}")
    return readable_file(model)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, its network ready to run. It can be pickled: the path is sent, not the network.

    Attributes:
        path: the file.
        card: what the network is.
        sha256: 64 hex digits, the file's checksum.
        session: onnxruntime.InferenceSession on the CPU.
        threads: processor threads for the network; see `open_session`.
        head: judges the malignancy of lesions; None if the bundle has none.
    """

    path: Path
    card: Card
    sha256: str
    session: Any
    threads: int = 0
    head: MalignancyHead | None = None

    @classmethod
    def read(cls, path: Path | str, threads: int = 0) -> Bundle:
        """Reads a bundle and checks its checksum, its card and its inputs and outputs.

        Args:
            path: the ONNX file.
            threads: processor threads for the network; see `open_session`.

        Raises:
            InputError: not there, not a bundle, altered, or not a network that this version can run.
        """
        path = readable_file(path)
        content, sha256 = read_checked(
            path
        )  # only files with a correct checksum reach onnxruntime
        session = open_session(path, content, threads)
        metadata = session.get_modelmeta().custom_metadata_map
        if metadata.get(CHECKSUM_KEY) != CHECKSUM_MARK + sha256:
            raise InputError(
                path,
                "is not a sonoseg bundle (its checksum is in the wrong place)",
                HINT,
            )
        try:
            card = Card.from_json(metadata.get(CARD_KEY, ""))
            _check_network(session, card)
            head = _read_head(session, metadata.get(HEAD_KEY))
        except ValueError as error:
            raise InputError(
                path, f"is not a bundle that can be used: {error}", HINT
            ) from error
        return cls(path, card, sha256, session, threads, head)

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_again, (self.path.absolute(), self.card, self.sha256, self.threads)

    def check_explains(self) -> None:
        """Raises InputError if the bundle contains no Grad-CAM."""
        if not _explains(self.session):
            problem = "contains no Grad-CAM"
            raise InputError(self.path, problem, "export it again with this version")

    def presence_shift(self, sensitivity: str) -> float:
        """What an operating point adds to the logit of the presence head.

        With it, a lesion of just the probability in the card's `sensitivity` is just kept at the card's threshold.

        Args:
            sensitivity: a name of `SENSITIVITIES`.

        Raises:
            InputError: there is no such operating point, or the bundle has none.
        """
        subject = f"--sensitivity {sensitivity}"
        if sensitivity not in SENSITIVITIES:
            hint = f"use {', '.join(SENSITIVITIES)}"
            raise InputError(subject, "there is no such operating point", hint)
        if sensitivity not in self.card.sensitivity:
            problem = f"the model {self.card.name} has no operating points"
            hint = "leave it out, or calibrate and export the model again"
            raise InputError(subject, problem, hint)
        cut = self.card.sensitivity[sensitivity]
        return _logit(self.card.threshold) - _logit(cut)

    def run(
        self,
        batch: NDArray[np.float32],
        explain: bool = False,
        presence_shift: float = 0.0,
    ) -> Answers:
        """Runs the network once on (N, 1, H, W) float32 in 0..1; mask and explanation come from the same run.

        Raises:
            InputError: the network failed, took too long, returned anything but `Answers`, or cannot explain.
        """
        if explain:
            self.check_explains()
        return run_network(self.path, self.session, batch, explain, presence_shift)


def _read_again(path: Path, card: Card, sha256: str, threads: int) -> Bundle:
    """Reads a pickled bundle, in another process or in this one."""
    return replace(_read_same(path, sha256, threads), card=card)


@functools.lru_cache(maxsize=2)
def _read_same(path: Path, sha256: str, threads: int) -> Bundle:
    """The bundle with this checksum. It is cached, since a process pool sends it again with every task."""
    bundle = Bundle.read(path, threads)
    if bundle.sha256 != sha256:
        raise InputError(
            path, "was replaced by another bundle during the work", "start again"
        )
    return bundle


def _check_network(session: Any, card: Card) -> None:
    inputs = session.get_inputs()
    if [(node.name, node.type) for node in inputs] != [("image", "tensor(float)")]:
        raise ValueError('its network has not the one float input "image"')
    optional = _optional_inputs(session)
    if card.sensitivity and optional.get(PRESENCE_SHIFT) != "tensor(float)":
        raise ValueError(f'its network has no float input "{PRESENCE_SHIFT}"')
    types = {node.name: node.type for node in session.get_outputs()}
    needed = {"probability"}
    if _explains(session):
        needed.add("heat")
    for name in OUTPUTS:
        is_missing = name in needed and name not in types
        if is_missing or types.get(name, "tensor(float)") != "tensor(float)":
            raise ValueError(f'its network has no float output "{name}"')
    batch, *rest = inputs[0].shape or [1]
    if isinstance(batch, int) or rest != [1, *card.size]:
        raise ValueError(
            f"its network takes {inputs[0].shape}, not any number of [1, {card.size}] images"
        )


def _read_head(session: Any, text: str | None) -> MalignancyHead | None:
    """The malignancy head of a bundle, if it has one, after a check that the network has the maps for it."""
    if text is None:
        return None
    head = MalignancyHead.from_text(text)
    shapes = {node.name: node.shape for node in session.get_outputs()}
    channels = [shapes[name][1] for name in MAPS if name in shapes]
    if len(channels) != len(MAPS) or 3 * sum(channels) != len(head.mean):
        raise ValueError("its network has not the maps that its malignancy head needs")
    return head


def _explains(session: Any) -> bool:
    """Whether the network has the optional input that asks for the heat."""
    return EXPLAIN in _optional_inputs(session)


def _optional_inputs(session: Any) -> dict[str, str]:
    """Name → type of the inputs that have a default."""
    return {node.name: node.type for node in session.get_overridable_initializers()}


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
