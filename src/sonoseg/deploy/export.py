"""`sonoseg export`: a run becomes one bundle that the reader segments with, an ONNX file with card and checksum."""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from sonoseg.core.resize import resize_image, unit_range
from sonoseg.data.phantom import make_phantom
from sonoseg.deploy.bundle_card import CardSettings, make_card
from sonoseg.deploy.calibration import Calibration, load_calibration
from sonoseg.deploy.card_scores import with_scores
from sonoseg.deploy.deployed import Deployed
from sonoseg.deploy.malignancy import load_head
from sonoseg.deploy.onnx_rewrite import make_optional, on_demand, store_half
from sonoseg.deploy.torch_version import failures_explained, hint
from sonoseg.describe.malignancy_head import HEAD_KEY, MalignancyHead
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, output_file
from sonoseg.models.network import SegmentationNetwork
from sonoseg.reader.answers import EXPLAIN, PRESENCE_SHIFT
from sonoseg.reader.card import CARD_KEY, Card
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum
from sonoseg.train.run_folder import load_run, weights_hash

TOLERANCE = 1e-4
"""The largest allowed difference between an output of the bundle and PyTorch's."""
HEAT_TOLERANCE = 1e-3
"""The same for the heat: where rounding moves a value across a rectifier's 0, the gradient changes by a step."""

Answers = dict[str, NDArray[np.float32]]
"""Name of an output → its values."""


@dataclass(frozen=True)
class Agreement:
    """The largest differences between outputs on synthetic ultrasound images (see `example_images`)."""

    onnx_to_torch: float
    """Between ONNX Runtime and PyTorch, before any weight is rounded."""
    rounding: float
    """Between the probabilities of ONNX Runtime on the weights that the file holds and on the unrounded ones."""


def export_command(
    folder: Path,
    out: Path,
    settings: CardSettings,
    scores: Path | None = None,
    half: bool = False,
) -> str:
    """`sonoseg export`: checks the input, writes the bundle and describes it.

    Args:
        folder: a run folder, or "default", the bundled model.
        out: the bundle to write.
        settings: of the card.
        scores: a metrics.json of `sonoseg evaluate` for the card.
        half: store the weights in 16 bits.

    Returns:
        The text to print.

    Raises:
        InputError: a setting is out of its range, the run cannot be read, or see `with_scores` and `export_bundle`.
    """
    output_file(out)
    if not 0 < settings.threshold < 1 or not 0 <= settings.min_lesion_fraction < 1:
        raise InputError(
            "--threshold or --min-lesion-fraction",
            "is not between 0 and 1",
            "try 0.5 and 0",
        )
    model, config = load_run(folder)
    calibration, stored = load_calibration(folder), load_head(folder)
    try:
        card = make_card(config, calibration, settings, weights_hash(folder))
        if stored is not None:
            card = replace(card, malignancy=stored.report)
        if scores is not None:
            card = with_scores(card, scores, folder)
    except ValueError as error:
        raise InputError(out, str(error), "give another --name or --scores") from error
    agreement = export_bundle(
        model, card, out, half, calibration, stored.head if stored else None
    )

    lines = [f"{out}: {card.name}, {out.stat().st_size / 1e6:.1f} MB"]
    if calibration is None:
        lines.append(
            "not calibrated: it will not recognise unfamiliar images (see sonoseg calibrate)"
        )
    difference = f"differs from PyTorch by {agreement.onnx_to_torch:.1e} at most"
    if half:
        difference += f", rounding changes probabilities by {agreement.rounding:.1e}"
    lines.append(f"{difference}, on two synthetic images")
    return "\n".join(lines)


def export_bundle(
    model: SegmentationNetwork,
    card: Card,
    out: Path,
    half: bool = False,
    calibration: Calibration | None = None,
    head: MalignancyHead | None = None,
) -> Agreement:
    """Writes `model` as a bundle.

    Args:
        model: in evaluation mode.
        card: what the reader needs to know, such as the size of the input.
        out: the file.
        half: store the weights in 16 bits; the graph computes in 32.
        calibration: of the run, if it has one.
        head: of the run for malignancy, if it has one.

    Raises:
        InputError: the file cannot be written, an output differs from PyTorch's by more than its tolerance, or the
            export fails with a PyTorch that is newer than tested.
    """
    model = model.eval().to(memory_format=torch.contiguous_format)
    image = example_images(card.size)
    with failures_explained(out):
        deployed = Deployed(model, image, calibration, head is not None).eval()
        with torch.no_grad():
            expected = deployed.outputs(image)
        graph = trace(deployed, image, list(expected))
        unrounded = run_on_all_and_first(graph.SerializeToString(), image)
    worst = {}
    for name, values in expected.items():
        both = torch.cat([values, values[:1]]).numpy()
        worst[name] = difference(unrounded[name], both)
        allowed = HEAT_TOLERANCE if name == "heat" else TOLERANCE
        if not worst[name] <= allowed:  # NaN as well
            problem = f"the exported graph's {name} differs from PyTorch's by {worst[name]:.1e}"
            raise InputError(out, problem, hint("report this network"))

    if half:
        store_half(graph)
    on_demand(graph, "heat", EXPLAIN)
    checksum = CHECKSUM_MARK + "0" * 64  # `add_checksum` fills it in
    properties = {CARD_KEY: card.to_json(), CHECKSUM_KEY: checksum}
    if head is not None:
        properties[HEAD_KEY] = head.to_text()
    helper.set_model_props(graph, properties)
    content = add_checksum(graph.SerializeToString())
    final = run_on_all_and_first(content, image)
    rounding = difference(final["probability"], unrounded["probability"])
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
    # NumPy's maximum is NaN if one of the values is; Python's may hide it.
    return Agreement(float(np.max(list(worst.values()))), rounding)


def example_images(size: tuple[int, int]) -> Tensor:
    """Two synthetic ultrasound images, (2, 1, *size) float32 in 0..1, on which outputs are compared.

    On noise a trained network finds nothing, so that its probabilities are near 0 and hardly differ. There are two
    images because with one, the exporter would take their number for a constant 1.
    """
    images = [resize_image(make_phantom(seed)[0], size) for seed in (0, 1)]
    return torch.from_numpy(unit_range(np.stack(images)))[:, None]


def trace(deployed: Deployed, image: Tensor, names: list[str]) -> onnx.ModelProto:
    """The ONNX graph, with a free number of images.

    It is optimised, which folds batch normalisation into the convolutions. ONNX Runtime alone does not fold these, and
    needs a third more time. PyTorch notes the source files of each operation in the graph; these notes are removed.

    Args:
        deployed: in evaluation mode.
        image: (2, 1, H, W).
        names: of the outputs.
    """
    inputs = deployed.inputs(image)
    shapes = tuple(
        {0: torch.export.Dim.DYNAMIC} if values.ndim else {}
        for values in inputs.values()
    )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            deployed,
            tuple(inputs.values()),
            file,
            dynamo=True,
            input_names=list(inputs),
            output_names=names,
            dynamic_shapes=shapes,
            external_data=False,
            optimize=True,
            verbose=False,
        )
        model = onnx.load(file)
    if deployed.has_presence:
        make_optional(model, PRESENCE_SHIFT, np.array(0, np.float32))
    graph = model.graph
    for part in (model, graph):
        part.ClearField("metadata_props")
    for parts in (graph.node, graph.initializer, graph.value_info):
        for part in parts:
            part.ClearField("metadata_props")
    return model


def run_on_all_and_first(content: bytes, image: Tensor) -> Answers:
    """ONNX Runtime's outputs for the whole batch, followed by those for its first image alone."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of `on_demand`'s optional input
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
    inputs = {}
    if EXPLAIN in {node.name for node in session.get_overridable_initializers()}:
        inputs[EXPLAIN] = np.array(True)
    whole = session.run(None, inputs | {"image": image.numpy()})
    first = session.run(None, inputs | {"image": image[:1].numpy()})
    answers = {}
    for output, some, one in zip(session.get_outputs(), whole, first, strict=True):
        answers[output.name] = np.concatenate([some, one])
    return answers


def difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference, divided by the largest expected value if that is over 1. NaN if any value is NaN."""
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max() / scale)
