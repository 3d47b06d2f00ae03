"""`sonoseg export`: a run becomes one bundle that the reader segments with, an ONNX file with card and checksum."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sonoseg.deploy.calibration import Calibration, load_calibration
from sonoseg.deploy.onnx_gradcam import trace_heat
from sonoseg.deploy.onnx_rewrite import on_demand, store_half
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, output_file
from sonoseg.inputs import read_json
from sonoseg.models.encoders import Encoders, Normalize
from sonoseg.models.network import SegmentationNetwork
from sonoseg.reader.answers import EXPLAIN, OUTPUTS
from sonoseg.reader.bundle import CARD_KEY, Card
from sonoseg.reader.checksum import CHECKSUM_KEY, CHECKSUM_MARK, add_checksum
from sonoseg.train.run_folder import RunConfig, load_run

if TYPE_CHECKING:
    from sonoseg.cli import Export

TOLERANCE = 1e-4
"""How far the bundle's answers may lie from the network's."""
HEAT_TOLERANCE = 1e-3
"""How far its heat may: a rectifier that rounding tips over changes the gradient by a step."""
INTENDED_USE = "Research on breast ultrasound: outlining and measuring lesions in B-mode images. Not a medical device."
LIMITS = (
    "Not for diagnosis or any clinical decision.",
    "Trained on single B-mode images; it does not know Doppler, elastography, split screens or other organs.",
    "Images of other machines or populations than the training data's may be outlined worse than its scores say.",
)


class Deployed(nn.Module):
    """The network as the reader calls it: image (N, 1, H, W) in 0..1 → `OUTPUTS`.

    These are the probability (N, 1, H, W), the heat of Grad-CAM (N, 1, H, W) in 0..1 and, if the run is calibrated,
    how unfamiliar the image is, (N,).

    Args:
        model: in evaluation mode; it is copied.
        image: two images (2, 1, H, W) of the size to come.
        calibration: of the run.
    """

    def __init__(
        self, model: SegmentationNetwork, image: Tensor, calibration: Calibration | None = None
    ) -> None:
        super().__init__()
        self.model = model = folded(model).requires_grad_(False)
        features, maps = model.encode(image)
        self.heat = trace_heat(model, image.shape[2:], features, maps)
        self.temperature = calibration.temperature if calibration else 1.0
        self.familiarity = calibration.familiarity if calibration else None
        self.outputs = OUTPUTS if calibration else OUTPUTS[:2]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features, maps = self.model.encode(image)
        logits = self.model.decode(features, maps, image.shape[2:]).logits
        answers = (logits / self.temperature).sigmoid(), self.heat(features, *maps)
        return answers if self.familiarity is None else (*answers, self.familiarity(maps))


def folded(model: SegmentationNetwork) -> SegmentationNetwork:
    """A copy with fewer steps: a decoder with its batch normalisation folded into its convolutions, and gray stems.

    PyTorch's exporter would fold as well, but not where the gradient shares the weights.
    """
    model = copy.deepcopy(model)
    for block in model.modules():
        if isinstance(block, Encoders):
            make_gray(block)
        if isinstance(block, nn.Sequential):
            for position, (conv, norm) in enumerate(pairwise(block)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    block[position], block[position + 1] = (
                        fuse_conv_bn_eval(conv, norm),
                        nn.Identity(),
                    )
    return model


def make_gray(encoders: Encoders) -> None:
    """Lets first convolutions take gray images as they are where all three colours would be scaled alike."""
    for name, encoder in encoders.parts.items():
        norm, stem = encoders.normalize[name], getattr(encoder, "conv_stem", None)
        assert isinstance(norm, Normalize)
        if isinstance(stem, nn.Conv2d) and all(
            len(torch.unique(values)) == 1 for values in (norm.mean, norm.std)
        ):
            norm.mean, norm.std = norm.mean[:, :1], norm.std[:, :1]
            stem.weight, stem.in_channels = nn.Parameter(stem.weight.sum(1, keepdim=True)), 1


@dataclass(frozen=True)
class Agreement:
    """Greatest differences of the answers on random images."""

    onnx_to_torch: float
    """Between ONNX Runtime and PyTorch, before any weight is rounded."""
    rounding: float
    """Between ONNX Runtime on the weights that the file holds and on the unrounded ones."""


def export_command(options: Export) -> None:
    """`sonoseg export`: checks the input, writes the bundle, says what it is."""
    output_file(options.out)
    if not 0 < options.threshold < 1 or not 0 <= options.min_lesion_fraction < 1:
        raise InputError(
            "--threshold or --min-lesion-fraction", "is not between 0 and 1", "try 0.5 and 0"
        )
    model, config = load_run(options.folder)
    calibration = load_calibration(options.folder)
    card = make_card(config, options, calibration)
    agreement = export_bundle(model, card, options.out, options.half, calibration)
    print(f"{options.out}: {card.name}, {options.out.stat().st_size / 1e6:.1f} MB")
    if calibration is None:
        print("not calibrated: it will not tell images unlike its own (see sonoseg calibrate)")
    print(f"differs from PyTorch by {agreement.onnx_to_torch:.1e} at most", end="")
    print(f", from the unrounded weights by {agreement.rounding:.1e}" if options.half else "")


def make_card(config: RunConfig, options: Export, calibration: Calibration | None = None) -> Card:
    """What the bundle says of itself.

    Raises:
        InputError: the scores cannot be read.
    """
    scores: dict[str, Any] = {}
    if options.scores is not None:
        try:
            scores = read_json(options.scores)
        except InputError as error:
            raise InputError(
                options.scores, "not a readable metrics.json", "give one of sonoseg evaluate"
            ) from error
    stages = [*config.lineage, config.to_json()]
    card = Card(
        format=1,
        name=options.name or config.model,
        version="1",
        input={"size": [config.size, config.size], "range": [0, 1], "channels": 1},
        threshold=options.threshold,
        min_lesion_fraction=options.min_lesion_fraction,
        training_data=list(
            dict.fromkeys(
                f"{stage['data']}, split {stage['split']}, {stage['size']} pixels"
                for stage in stages
            )
        ),
        recipe=describe_recipe(config, calibration),
        scores=scores,
        intended_use=INTENDED_USE,
        limits=list(LIMITS),
        licence="Apache-2.0",
        created=datetime.now(UTC).date().isoformat(),
    )
    try:
        return Card.from_json(card.to_json())
    except ValueError as error:
        raise InputError(options.out, str(error), "give another --name or --scores") from error


def describe_recipe(config: RunConfig, calibration: Calibration | None = None) -> str:
    """How the network was trained, in a sentence; all settings are in the run folder's config.json."""
    recipe = config.recipe
    words = [
        f"{config.model}, seed {config.seed}: at most {recipe.epochs} epochs at {config.size} × {config.size} pixels",
        f"{recipe.batch} images a step",
        f"loss {recipe.loss}",
        f"{recipe.optimizer} at {recipe.learning_rate:g} ({recipe.schedule})",
        f"augmentation {recipe.augment}",
        f"epoch kept by {recipe.monitor}",
    ]
    if recipe.learn:
        words.append(f"only the {recipe.learn} learned")
    if config.start_from:
        words.append(f"started from {config.start_from}")
    elif config.encoder_weights != "none":
        words.append(f"encoders started from {config.encoder_weights}")
    if config.teachers:
        words.append(f"taught by {len(config.teachers)} other networks")
    if config.lineage:
        words.append(f"{len(config.lineage)} earlier trainings")
    if calibration:
        words.append(f"logits divided by {calibration.temperature:.3g}")
    return ", ".join(words) + "."


def export_bundle(
    model: SegmentationNetwork,
    card: Card,
    out: Path,
    half: bool = False,
    calibration: Calibration | None = None,
) -> Agreement:
    """Writes `model` as a bundle.

    Args:
        model: in evaluation mode.
        card: what the reader needs to know, the input's size among it.
        out: the file.
        half: store the weights in 16 bits; the graph computes in 32.
        calibration: of the run, if it has one.

    Raises:
        InputError: the file cannot be written, or its answers differ from PyTorch's by over `TOLERANCE`.
    """
    model = model.eval().to(memory_format=torch.contiguous_format)
    image = torch.rand(
        2, 1, *card.size, generator=torch.Generator().manual_seed(0)
    )  # of 1, Non-Local breaks
    deployed = Deployed(model, image, calibration).eval()
    with torch.no_grad():
        own = [answer.numpy() for answer in deployed(image)]
    graph = trace(deployed, image)
    whole = answers(graph.SerializeToString(), image)
    worst = differences(whole, [np.concatenate([answer, answer[:1]]) for answer in own])
    for name, far in zip(deployed.outputs, worst, strict=True):
        if not far <= (HEAT_TOLERANCE if name == "heat" else TOLERANCE):
            raise InputError(
                out,
                f"the exported graph's {name} differs from PyTorch's by {far:.1e}",
                "report this network",
            )
    if half:
        store_half(graph)
    on_demand(graph, "heat", EXPLAIN)
    helper.set_model_props(
        graph, {CARD_KEY: card.to_json(), CHECKSUM_KEY: CHECKSUM_MARK + "0" * 64}
    )
    content = add_checksum(graph.SerializeToString())
    rounding = differences(answers(content, image), whole)
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
    return Agreement(float(np.max(worst)), float(np.max(rounding)))  # NaN, if there is one


def answers(content: bytes, image: Tensor) -> list[NDArray[np.float32]]:
    """ONNX Runtime's answers to the whole batch and to its first image alone, one after the other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of `on_demand`'s optional input
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    asked = {EXPLAIN: np.array(True)} if session.get_overridable_initializers() else {}
    runs = (session.run(None, {"image": batch.numpy(), **asked}) for batch in (image, image[:1]))
    return [np.concatenate(pair) for pair in zip(*runs, strict=True)]


def differences(some: list[NDArray[np.float32]], others: list[NDArray[np.float32]]) -> list[float]:
    """The greatest of each pair, as a share of the greatest value where that is over 1; NaN if there is one."""
    pairs = zip(some, others, strict=True)
    return [float(np.abs(a - b).max() / max(1.0, float(np.abs(b).max()))) for a, b in pairs]


def trace(deployed: Deployed, image: Tensor) -> onnx.ModelProto:
    """The ONNX graph, with a free batch size.

    It is optimised, which folds batch normalisation into the convolutions: left to itself, ONNX Runtime keeps the two
    apart and needs a third more time. The traces of source files that PyTorch leaves in it are taken out.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            deployed,
            (image,),
            file,
            dynamo=True,
            input_names=["image"],
            output_names=list(deployed.outputs),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            external_data=False,
            optimize=True,
            verbose=False,
        )
        model = onnx.load(file)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.value_info,
    ):
        part.ClearField("metadata_props")
    return model
