"""The model bundle: one ONNX file that carries its own card and a seal against alteration."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there
from sonoseg.reader.paths import readable_file

WEIGHTS = Path(__file__).parent.parent / "weights"
OUTPUTS, EXPLAIN = ("probability", "heat", "unfamiliarity"), "explain"
CARD_KEY, SEAL_KEY, SEAL_MARK = "sonoseg.card", "sonoseg.sha256", "sonoseg-sha256:"
_SEAL = re.compile(re.escape(SEAL_MARK.encode()) + rb"[0-9a-f]{64}")
_MAX_BYTES = 2**31  # no ONNX file is larger
_FETCH = "give a bundle made by sonoseg export"


@dataclass(frozen=True)
class Card:
    """What a network is, for whom, and how its output is to be read.

    Attributes:
        format: version of this card's layout, 1.
        name: of the network; one short line, it stands in pictures.
        version: of the network.
        input: `size` [height, width] of the network's input, `range` [0, 1], `channels` 1.
        threshold: probability from which a pixel counts as lesion, between 0 and 1.
        min_lesion_fraction: connected parts smaller than this share of the image are dropped; 0 drops none.
        training_data: what the network was trained on, one data set an entry.
        recipe: how it was trained, as a name or a sentence.
        scores: measured on data it was not trained on.
        intended_use: in a sentence.
        limits: where it must not be relied on, one an entry.
        licence: of the weights.
        created: ISO date.
    """

    format: int
    name: str
    version: str
    input: dict[str, Any]
    threshold: float
    min_lesion_fraction: float
    training_data: list[str]
    recipe: str
    scores: dict[str, Any]
    intended_use: str
    limits: list[str]
    licence: str
    created: str

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = self.input["size"]
        return height, width

    def to_json(self) -> str:
        """The card as it stands in the bundle's metadata."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Reads and checks a card; keys that this version does not know are passed over.

        Raises:
            ValueError: not JSON, or a key is missing or has a value out of its range; says which.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("its card is not JSON") from None
        if not isinstance(values, dict):
            raise ValueError("its card is not a JSON object")
        for key, (is_valid, wanted) in _CARD_RULES.items():
            if key not in values or not is_valid(values[key]):
                raise ValueError(f"its card's {key} is not {wanted}")
        return cls(**{key: values[key] for key in _CARD_RULES})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= len(value) <= 40


def _is_input(value: object) -> bool:
    if not isinstance(value, dict) or (value.get("range"), value.get("channels")) != ([0, 1], 1):
        return False
    size = value.get("size")
    return isinstance(size, list) and len(size) == 2 and all(type(n) is int and 16 <= n <= 4096 for n in size)


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


_CARD_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda value: type(value) is int and value == 1, "1 (upgrade sonoseg if it is larger)"),
    "name": (_is_line, "a line of at most 40 characters"),
    "version": (_is_line, "a line of at most 40 characters"),
    "input": (_is_input, "a size of two whole numbers (16 to 4096), range [0, 1] and channels 1"),
    "threshold": (lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1"),
    "min_lesion_fraction": (lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "training_data": (_is_texts, "a list of texts"),
    "recipe": (_is_text, "a text"),
    "scores": (lambda value: isinstance(value, dict), "an object"),
    "intended_use": (_is_text, "a text"),
    "limits": (_is_texts, "a list of texts"),
    "licence": (_is_text, "a text"),
    "created": (_is_date, "an ISO date"),
}


def seal(content: bytes) -> bytes:
    """Fills in the seal of a bundle: the sha256 of the file with the seal's own 64 hex digits set to zeros.

    Args:
        content: an ONNX file whose metadata has `SEAL_KEY` = `SEAL_MARK` and any 64 hex digits.

    Raises:
        ValueError: no such mark, or more than one.
    """
    marks = list(_SEAL.finditer(content))
    if len(marks) != 1:
        raise ValueError(f"{len(marks)} seal marks instead of one")
    end = marks[0].end()
    empty = content[: end - 64] + b"0" * 64 + content[end:]
    return empty[: end - 64] + hashlib.sha256(empty).hexdigest().encode() + empty[end:]


def default_bundle_path() -> Path:
    """Where the bundle that ships with sonoseg lies."""
    return WEIGHTS / "default.onnx"


def find_bundle(model: Path | str) -> Path:
    """The bundle file for a shipped name ("default") or a path.

    Raises:
        InputError: neither; names the choices.
    """
    shipped = {path.stem: path for path in sorted(WEIGHTS.glob("*.onnx"))}
    if str(model) in shipped:
        return shipped[str(model)]
    if is_folder(model):
        raise InputError(model, "is a folder, not a bundle", f"make a bundle of a run: sonoseg export {model}")
    if not is_there(model):
        choices = [*(f'"{name}"' for name in shipped), "the path of a bundle (.onnx)"]
        raise InputError(model, "no such model", f"give {' or '.join(choices)}")
    return readable_file(model)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, its network ready to run.

    Attributes:
        path: the file.
        card: what the network is.
        sha256: 64 hex digits, the file's seal.
        session: onnxruntime.InferenceSession on the CPU.
    """

    path: Path
    card: Card
    sha256: str
    session: Any

    @classmethod
    def read(cls, path: Path | str, threads: int = 0) -> Bundle:
        """Reads a bundle and checks its seal, its card and its inputs and outputs.

        Args:
            path: the ONNX file.
            threads: processor threads for the network; 0 takes one a core.

        Raises:
            InputError: not there, not a bundle, altered, or not a network that this version can run.
        """
        path = readable_file(path)
        sha256, session, metadata = _open(path, threads)
        if metadata.get(SEAL_KEY) != SEAL_MARK + sha256:
            raise InputError(path, "is not a sonoseg bundle (its seal is in the wrong place)", _FETCH)
        try:
            card = Card.from_json(metadata.get(CARD_KEY, ""))
            _check_network(session, card)
        except ValueError as error:
            raise InputError(path, f"is not a bundle that can be used: {error}", _FETCH) from error
        return cls(path, card, sha256, session)

    def check_explains(self) -> None:
        """Raises InputError if the network cannot tell where it looked."""
        if EXPLAIN not in {node.name for node in self.session.get_overridable_initializers()}:
            raise InputError(self.path, "cannot tell where it looked", "export it again with this version")

    def run(self, batch: NDArray[np.float32], explain: bool = False) -> Answers:
        """Runs the network on (N, 1, H, W) float32 in 0..1.

        Raises:
            InputError: the network failed, gave something else than probabilities, or cannot explain.
        """
        if explain:
            self.check_explains()
        names = [node.name for node in self.session.get_outputs() if node.name in OUTPUTS]
        switch = {EXPLAIN: np.array(True)} if explain else {}
        try:
            answers = dict(zip(names, self.session.run(names, {"image": batch, **switch}), strict=True))
        except Exception as error:  # onnxruntime's errors share no other base
            reason = "out of memory" if "alloc" in str(error).lower() else "its network cannot be run"
            raise InputError(self.path, reason, "try fewer images at once or another bundle") from error
        probability = answers["probability"]
        # Rounding may leave 0..1 by a little; NaN fails both comparisons.
        if probability.shape != batch.shape or not (probability.min() > -1e-3 and probability.max() < 1 + 1e-3):
            raise InputError(self.path, "its network does not give probabilities", _FETCH)
        heat = answers["heat"] if explain else None
        return Answers(np.clip(probability, 0, 1), answers.get("unfamiliarity"), heat)


class Answers(NamedTuple):
    """What a network says of N images (N, 1, H, W).

    Attributes:
        probability: (N, 1, H, W) in 0..1, that a pixel is lesion.
        unfamiliarity: (N,) from 0, how unlike the training images each image is, over 1 too unlike to be trusted;
            None if the network does not tell.
        heat: (N, 1, H, W) in 0..1, Grad-CAM of the bottleneck; None if it was not asked for.
    """

    probability: NDArray[np.float32]
    unfamiliarity: NDArray[np.float32] | None
    heat: NDArray[np.float32] | None


def _open(path: Path, threads: int) -> tuple[str, Any, dict[str, str]]:
    """The seal's digits, session and metadata. Nothing unsealed is handed to onnxruntime."""
    if path.stat().st_size >= _MAX_BYTES:
        raise InputError(path, "is not a sonoseg bundle", _FETCH)
    content = path.read_bytes()
    marks = list(_SEAL.finditer(content))
    if len(marks) != 1:
        raise InputError(path, "is not a sonoseg bundle", _FETCH)
    if seal(content) != content:
        raise InputError(path, "has been altered or damaged since it was exported", "copy or export it again")

    import onnxruntime  # a quarter of a second, which errors above need not wait for

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # its faults are told by our own error
    try:
        # Without fallback: trying again on the same processor only prints the fault.
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's errors share no other base
        raise InputError(path, "holds no network that onnxruntime can load", "upgrade onnxruntime") from error
    return marks[0].group()[-64:].decode(), session, metadata


def _check_network(session: Any, card: Card) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [(node.name, node.type) for node in inputs] != [("image", "tensor(float)")]:
        raise ValueError('its network has not the one float input "image"')
    if ("probability", "tensor(float)") not in [(node.name, node.type) for node in outputs]:
        raise ValueError('its network has no float output "probability"')
    batch, *rest = inputs[0].shape or [1]
    if isinstance(batch, int) or rest != [1, *card.size]:
        raise ValueError(f"its network takes {inputs[0].shape}, not any number of [1, {card.size}] images")
