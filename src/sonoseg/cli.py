"""The command line: one frozen dataclass per command; the docstrings of its fields are the help. No logic here."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

import tyro
from tyro.conf import (
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    UseAppendAction,
)

from sonoseg.errors import InputError, is_out_of_memory
from sonoseg.progress import on_stderr
from sonoseg.terminal import finish, screens
from sonoseg.train import choices
from sonoseg.train.settings import NetworkChanges, RecipeChanges, TrainSettings

DESCRIPTION = (
    "Segments and measures tumours in breast-ultrasound images. `sonoseg segment` needs no training and no PyTorch; "
    "the other commands train, evaluate and explain networks. Research use only: not a medical device."
)
LAB = {
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "monai",
    "filelock",
    "matplotlib",
    "onnx",
    "onnxscript",
    "optuna",
    "safetensors",
    "scipy",
    "tqdm",
}


@dataclass(frozen=True)
class Demo:
    """Make synthetic ultrasound images, segment them with the bundled model, score the masks, and write a report."""

    out: Path = Path("demo")
    """Folder for the pictures, results.json and report.html."""
    count: int = 12
    """Number of synthetic images."""
    model: str = "default"
    """A bundle file, or default: the bundled model."""

    def run(self) -> int:
        print(_call("sonoseg.demo:demo_command", self.out, self.count, self.model))
        return 0


@dataclass(frozen=True)
class Segment:
    """Find, outline and measure lesions in images and videos. Needs no PyTorch."""

    images: Positional[tuple[Path, ...]]
    """PNG, JPEG, TIFF or BMP files, videos (MP4, AVI and others, with the extra sonoseg[video]), DICOM files (with the
    extra sonoseg[dicom]), or folders of them."""
    model: str = "default"
    """A bundle file (.onnx), or default, the bundled model."""
    out: Path = Path("segmented")
    """Folder for results.json, STEM_mask.png and STEM_overlay.png; of a video STEM_overlay.mp4 and STEM_frames.csv."""
    spacing: str | None = None
    """Size of a pixel in mm, if you know it: one number, or height,width as in 0.1,0.08. Lengths and areas are then in
    mm. It replaces the size that a DICOM file names."""
    explain: bool = False
    """Also draw which parts of the image the network reacted to (Grad-CAM), as STEM_heat.png."""
    to: tuple[Literal["seg", "sr", "sc", "coco", "geojson", "labelme"], ...] = ()
    """Also write DICOM objects (of DICOM images): seg, the outlines; sr, the measurements; sc, the overlay. Or outlines
    for annotation programs: coco, geojson (QuPath), labelme."""
    strict: bool = False
    """Leave the positions out of seg, which the standard has only for images with a frame of reference. OHIF and dcmqi
    want them."""
    fractional: bool = False
    """Also write the probabilities of DICOM stills, as STEM_probability.dcm."""
    pseudonym: str | None = None
    """A secret word: replaces the patient's data in DICOM objects, the same patient always by the same code."""

    def run(self) -> int:
        return _print(
            _call(
                "sonoseg.segment_command:segment_command",
                self.images,
                model=self.model,
                out=self.out,
                spacing=self.spacing,
                explain=self.explain,
                to=self.to,
                strict=self.strict,
                fractional=self.fractional,
                pseudonym=self.pseudonym,
            )
        )


@dataclass(frozen=True)
class Check:
    """Report all problems of a data set."""

    folder: Positional[Path]
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str | None = None
    """Also look for near-copies and patients that are in more than one part of this split."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.check:check_command", self.folder, self.split)
        )


@dataclass(frozen=True)
class Phantom:
    """Make synthetic breast ultrasound with known lesions."""

    folder: Positional[Path]
    """Where to write images/, masks/ and labels.csv."""
    count: int = 12
    """How many."""
    seed: int = 0
    """Another seed makes other images."""
    dicom: bool = False
    """As DICOM: stills, loops and split screens in turns, the lesions as segmentations."""

    def run(self) -> int:
        if self.dicom:
            _call("sonoseg.dicom.recognise:check_installed")
            write = "sonoseg.data.dicom_phantom:write_dicom_phantoms"
            _call(write, self.folder, self.count, self.seed)
            print(
                f"{self.folder}: {self.count} synthetic DICOM files with segmentations"
            )
            return 0
        _call("sonoseg.data.phantom:write_phantoms", self.folder, self.count, self.seed)
        print(f"{self.folder}: {self.count} synthetic images with masks")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download a public data set and check every file. A broken download is continued."""

    name: Positional[Literal["busi"]]
    """busi: 780 images, 250 MB."""
    folder: Path = Path("BUSI")
    """Where to put it."""
    zip: Path | None = None
    """Dataset_BUSI.zip, if you have downloaded it by hand."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.fetch:fetch_busi", self.folder, archive=self.zip)
        )


@dataclass(frozen=True)
class Pack:
    """Write a data set as one small file, which every option --data accepts."""

    folder: Positional[Path]
    """BUSI's or BUS-BRA's folder, or one with images/ and masks/."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels, as in training; a multiple of 32."""
    out: Path = Path("pack.safetensors")
    """The file."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.packing:pack_folder", self.folder, self.size, self.out)
        )


@dataclass(frozen=True)
class Data:
    """Check, make, fetch or pack data sets."""

    action: Check | Phantom | Fetch | Pack

    def run(self) -> int:
        return self.action.run()


@dataclass(frozen=True)
class SegToMask:
    """Turn a DICOM segmentation (SEG), of any program, into PNG masks: one for each frame that has one."""

    seg: Positional[Path]
    """The segmentation."""
    out: Positional[Path]
    """Folder for STEM_mask.png, or STEM_frame0007_mask.png of a loop."""
    image: Path | None = None
    """The image it belongs to: masks are named after it."""

    def run(self) -> int:
        _call("sonoseg.dicom.recognise:check_installed")
        return _print(
            _call(
                "sonoseg.dicom.seg_to_mask:write_masks", self.seg, self.out, self.image
            )
        )


@dataclass(frozen=True)
class Info:
    """Say what is read of DICOM files: frames, B-mode regions, the size of a pixel, doubts. No patient data."""

    files: Positional[tuple[Path, ...]]
    """DICOM files."""

    def run(self) -> int:
        _call("sonoseg.dicom.recognise:check_installed")
        return _print(_call("sonoseg.dicom.read:info_command", self.files))


@dataclass(frozen=True)
class Dicom:
    """Work with DICOM objects."""

    action: SegToMask | Info

    def run(self) -> int:
        return self.action.run()


@dataclass(frozen=True)
class Models:
    """List every network with its parameter counts."""

    json: bool = False
    """As JSON."""

    def run(self) -> int:
        print(_call("sonoseg.models.catalog:models_command", self.json))
        return 0


@dataclass(frozen=True)
class Train:
    """Train a network. The same command goes on where an interrupted one stopped. Empty options: the model's recipe."""

    model: Positional[str]
    """A name that `sonoseg models` lists, such as model-1 or sonoseg-1."""
    data: Path
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str = "paper"
    """paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file: file,subset."""
    also: tuple[str, ...] = ()
    """More data sets to train on: FOLDER for all of it, FOLDER@SPLIT for that split's training images."""
    out: Path | None = None
    """The run folder; by default runs/MODEL-SPLIT."""
    encoder_weights: str = "imagenet"
    """imagenet, none (random), or whose encoders to start from: a run folder, a .safetensors file, or default, ours."""
    start_from: Path | None = None
    """A run folder or .safetensors file of the same network, to start all of it from; or default, the one inside."""
    teachers: tuple[Path, ...] = ()
    """Run folders, or default: the pixels learn half from the masks, half from the mean of what these networks say."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels; a multiple of 32."""
    seed: int = 0
    """Decides every random choice."""
    encoders: tuple[str, ...] | None = None
    """One or more of resnet18, resnet50, densenet121, efficientnet_b0, tf_efficientnet_lite0 to 2."""
    attention: choices.Attention | None = None
    """After every decoder stage."""
    skips: bool | None = None
    """Join the encoders' maps to the decoder at every scale."""
    widths: tuple[int, int, int, int] | None = None
    """Channels that leave the decoder's four stages, from the deepest up."""
    convolution: choices.Convolution | None = None
    """The decoder's block."""
    presence: choices.Presence | None = None
    """Add a head that judges whether there is a lesion: in the image as a whole, or in each drawn part by itself."""
    loss: choices.Loss | None = None
    """What is minimised."""
    optimizer: choices.Optimizer | None = None
    """sgd has a momentum of 0.9."""
    learning_rate: float | None = None
    """With one-cycle, the highest; with poly, the first."""
    schedule: choices.Schedule | None = None
    """How the learning rate changes."""
    weight_decay: float | None = None
    """Decoupled with adam, added to the gradient with sgd."""
    batch: int | None = None
    """Images a step."""
    dropout: float | None = None
    """Share of the bottleneck's channels that a step drops."""
    epochs: int | None = None
    """At most."""
    patience: int | None = None
    """Stop after so many epochs that were no better on validation; 0: never."""
    monitor: choices.Monitor | None = None
    """Which epoch is kept: that of the best validation loss or Dice, or the last (with --patience 0)."""
    augment: choices.Augment | None = None
    """Change the training images at random."""
    ema: float | None = None
    """Decay of the running average of the weights that is kept; 0: the weights themselves."""
    learn: str | None = None
    """The part of the network that learns: encoders, stages, head or presence; the rest stays as it starts."""
    graph: bool = False
    """On one CUDA GPU, launch each step's forward and backward pass in one piece; for small networks and batches."""

    def run(self) -> int:
        recipe = RecipeChanges(
            loss=self.loss,
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            batch=self.batch,
            dropout=self.dropout,
            epochs=self.epochs,
            patience=self.patience,
            monitor=self.monitor,
            augment=self.augment,
            ema=self.ema,
            learn=self.learn,
        )
        network = NetworkChanges(
            encoders=self.encoders,
            attention=self.attention,
            skips=self.skips,
            widths=self.widths,
            convolution=self.convolution,
            presence=self.presence,
        )
        settings = TrainSettings(
            model=self.model,
            data=self.data,
            split=self.split,
            also=self.also,
            encoder_weights=self.encoder_weights,
            start_from=self.start_from,
            teachers=self.teachers,
            size=self.size,
            seed=self.seed,
            recipe=recipe,
            network=network,
        )
        command = "sonoseg.train.command:train_command"
        return _print(_call(command, settings, out=self.out, cuda_graph=self.graph))


@dataclass(frozen=True)
class Sweep:
    """Train with every combination of some settings and name the best; processes started alike share the work."""

    model: Positional[str]
    """A name that `sonoseg models` lists."""
    data: Path
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    grid: UseAppendAction[tuple[str, ...]] = ()
    """AXIS=VALUE,VALUE, once an axis, such as learning_rate=1e-4,1e-3; without any, the paper's 36 combinations."""
    split: str = "paper"
    """As in train; the combinations are compared on its validation images."""
    also: tuple[str, ...] = ()
    """More data sets to train on, as in train."""
    out: Path | None = None
    """Folder for table, picture and runs; by default runs/MODEL-SPLIT-sweep."""
    storage: str | None = None
    """Where the processes meet: a database's URL, or journal:FILE on a network disk; by default sqlite:///OUT/sweep.db."""
    encoder_weights: str = "imagenet"
    """imagenet, none (random), or whose encoders to start from: a run folder, a .safetensors file, or default, ours."""
    start_from: Path | None = None
    """A run folder or .safetensors file of the same network, to start all of it from; or default, the one inside."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels; a multiple of 32."""
    seed: int = 0
    """Decides every random choice."""
    epochs: int | None = None
    """At most."""
    patience: int | None = None
    """Stop after so many epochs that were no better on validation; 0: never."""

    def run(self) -> int:
        settings = TrainSettings(
            model=self.model,
            data=self.data,
            split=self.split,
            also=self.also,
            encoder_weights=self.encoder_weights,
            start_from=self.start_from,
            size=self.size,
            seed=self.seed,
            recipe=RecipeChanges(epochs=self.epochs, patience=self.patience),
        )
        command = "sonoseg.train.sweep:sweep_command"
        answer = _call(
            command, settings, axes=self.grid, out=self.out, storage=self.storage
        )
        return _print(answer)


@dataclass(frozen=True)
class Average:
    """Average the weights of runs that started from the same weights: often better than each, and as fast as one."""

    runs: Positional[tuple[Path, ...]]
    """Run folders; default is the bundled model."""
    out: Path = Path("runs/average")
    """The run folder to write."""
    half: bool = False
    """Store the weights in 16 bits: half the size. For that, one run is enough."""

    def run(self) -> int:
        print(
            _call(
                "sonoseg.deploy.average:average_command", self.runs, self.out, self.half
            )
        )
        return 0


@dataclass(frozen=True)
class Slim:
    """Remove the channels of a run's EfficientNet-Lite that matter least: a smaller and faster network."""

    folder: Positional[Path]
    """A run folder, or default, the bundled model."""
    data: Path
    """The data set that it was trained on."""
    split: str = "paper"
    """The split that it was trained on."""
    also: tuple[str, ...] = ()
    """More data sets that it was trained on: FOLDER, or FOLDER@SPLIT."""
    share: float = 0.003
    """The largest share of the variance of a block's output that may be lost in it."""
    out: Path = Path("runs/slim")
    """The run folder to write."""

    def run(self) -> int:
        slim = "sonoseg.deploy.slim:slim_command"
        data = (self.data, self.split, self.also)
        print(_call(slim, self.folder, *data, self.share, self.out))
        return 0


@dataclass(frozen=True)
class Calibrate:
    """Fit a run's probabilities to its data, and learn which images are unlike them; evaluate and export use both."""

    folder: Positional[Path]
    """A run folder."""
    data: Path
    """The data set that it was trained on: the temperature is fitted to its validation images."""
    split: str = "paper"
    """The split that it was trained on."""
    also: tuple[str, ...] = ()
    """More data sets that it was trained on: FOLDER, or FOLDER@SPLIT."""

    def run(self) -> int:
        calibrate = "sonoseg.deploy.calibrate:calibrate_command"
        print(_call(calibrate, self.folder, self.data, self.split, self.also))
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Score a model against reference masks: three conventions, intervals, ROC curve, one row per image."""

    model: Positional[str]
    """A run folder, a bundle file, default (the bundled model), all-foreground or all-background."""
    data: Path
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str = "all"
    """all, paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file: file,subset."""
    subset: Literal["train", "validation", "test"] = "test"
    """Which part of the split."""
    out: Path = Path("evaluation")
    """Folder for metrics.json, cases.csv and roc.png."""

    def run(self) -> int:
        print(
            _call(
                "sonoseg.evaluate.evaluate:evaluate_command",
                self.model,
                data=self.data,
                split=self.split,
                subset=self.subset,
                out=self.out,
            )
        )
        return 0


@dataclass(frozen=True)
class Compare:
    """Test whether models differ on the same images: paired intervals, Wilcoxon with Holm's correction, McNemar."""

    reference: Positional[Path]
    """A folder that `sonoseg evaluate` wrote. The other models are compared with this one."""
    models: Positional[tuple[Path, ...]]
    """Folders of evaluations of the same images."""
    out: Path | None = None
    """A JSON file to write the table to."""

    def run(self) -> int:
        print(
            _call(
                "sonoseg.evaluate.compare:compare_command",
                self.reference,
                self.models,
                out=self.out,
            )
        )
        return 0


@dataclass(frozen=True)
class Explain:
    """Show with Grad-CAM what a network looks at: original, ground truth, prediction, heat map."""

    model: Positional[Path]
    """A run folder, or default: the bundled model."""
    images: Positional[tuple[Path, ...]] = ()
    """PNG, JPEG, TIFF or BMP files, or folders of them. With --score, leave them out."""
    layer: str | None = None
    """bottleneck (the default), stage1 … stage4, or fused (all stages together). With --score the default is all."""
    out: Path = Path("explained")
    """Folder for STEM_explained.png; with --score for faithfulness.json, .csv and .png."""
    score: bool = False
    """Measure how faithful the heat maps are, on the images of --data, instead of drawing pictures."""
    data: Path | None = None
    """For --score: BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str = "all"
    """For --score: all, paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file: file,subset."""
    subset: Literal["train", "validation", "test"] = "test"
    """For --score: which part of the split."""

    def run(self) -> int:
        text, exit_code = _call(
            "sonoseg.explain.explain:explain_command",
            self.model,
            self.images,
            layer=self.layer,
            out=self.out,
            score=self.score,
            data=self.data,
            split=self.split,
            subset=self.subset,
        )
        print(text)
        return int(exit_code)


@dataclass(frozen=True)
class Reproduce:
    """Reproduce the paper: train what is missing, compare our numbers with the printed ones, write a report."""

    data: Path
    """BUSI's folder, or the folder of another data set."""
    out: Path = Path("reproduction")
    """Folder for report.html, report.md, tables/ and runs/. The same command continues where it was stopped."""
    models: str = "all"
    """Such as 1-20,swin-unet,default. all: the twenty models, the five rivals and default (the bundled model)."""
    split: tuple[str, ...] = ("paper",)
    """One or more: paper, paper-clean, grouped-0 … grouped-4, or a CSV file: file,subset."""
    seeds: tuple[int, ...] = (0,)
    """One training per seed. The report shows the mean over the seeds."""
    recipe: Literal["paper", "own"] = "paper"
    """How the rivals are trained: paper, with the paper's recipe; own, with the recipe of their own authors."""
    encoder_weights: str = "imagenet"
    """imagenet, none (random), or a run folder whose encoders to start from."""
    encoder_about: str = ""
    """The data that these encoders were trained on, in a few words for the report, such as BUS-BRA."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels; a multiple of 32."""
    epochs: int | None = None
    """Largest number of epochs, instead of the paper's 50."""
    patience: int | None = None
    """Instead of the paper's 10."""
    batch: int | None = None
    """Images per step, instead of the paper's 16."""
    learning_rate: float | None = None
    """Instead of the paper's 1e-4."""
    explain: int = 16
    """Number of test images on which the explanations are measured. 0: none."""
    pictures: tuple[str, ...] = ()
    """Names of test images to show. By default the first benign and the first malignant one."""
    workers: int = 0
    """Processes that train side by side. 0: one for each GPU. Without GPUs they share the processor cores."""
    report_only: bool = False
    """Train nothing. Write the report of the results that are in --out."""

    def run(self) -> int:
        settings = _call(
            "sonoseg.reproduction.settings:ReproductionSettings",
            data=self.data,
            out=self.out,
            models=self.models,
            splits=self.split,
            seeds=self.seeds,
            recipe=self.recipe,
            encoder_weights=self.encoder_weights,
            encoder_about=self.encoder_about,
            size=self.size,
            epochs=self.epochs,
            patience=self.patience,
            batch=self.batch,
            learning_rate=self.learning_rate,
            explain=self.explain,
            pictures=self.pictures,
            workers=self.workers,
            report_only=self.report_only,
        )
        text, exit_code = _call(
            "sonoseg.reproduction.command:reproduce_command", settings
        )
        print(text)
        return int(exit_code)


@dataclass(frozen=True)
class Export:
    """Write a trained network as one file, a bundle, which `sonoseg segment` uses without PyTorch."""

    folder: Positional[Path]
    """A run folder, or default, the bundled model."""
    out: Path = Path("model.onnx")
    """The bundle."""
    name: str | None = None
    """The name on its card; by default that of the model."""
    scores: Path | None = None
    """A metrics.json of `sonoseg evaluate` to put on its card."""
    threshold: float = 0.5
    """A pixel is lesion where its probability is at least this."""
    min_lesion_fraction: float = 0.0
    """Parts smaller than this share of the image are dropped."""
    half: bool = False
    """Store the weights in 16 bits: half the size. The command prints how much that changes the outputs."""

    def run(self) -> int:
        settings = _call(
            "sonoseg.deploy.bundle_card:CardSettings",
            name=self.name,
            threshold=self.threshold,
            min_lesion_fraction=self.min_lesion_fraction,
        )
        export = "sonoseg.deploy.export:export_command"
        print(_call(export, self.folder, self.out, settings, self.scores, self.half))
        return 0


Command = Union[  # noqa: UP007  # of `|` tyro asks typeguard, a tenth of a second to import
    Demo,
    Segment,
    Explain,
    Evaluate,
    Compare,
    Train,
    Sweep,
    Average,
    Slim,
    Calibrate,
    Reproduce,
    Export,
    Models,
    Data,
    Dicom,
]


def _print(answer: str | tuple[str, int]) -> int:
    """Prints the text that a command's function returned; returns its exit code, 0 if it returned none."""
    text, code = (answer, 0) if isinstance(answer, str) else answer
    if text:
        print(text)
    return code


def _call(target: str, *arguments: Any, **options: Any) -> Any:
    """Calls "module:function"; imports only what this command needs."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments, **options)


_SILENT = logging.NullHandler()
"""Without a handler, Python prints what libraries log."""


def _run_quietly(command: Command) -> int:
    """Runs it with progress and our own messages on stderr; those of other libraries are not shown.

    Their warnings are shown with `python -W`.
    """
    logging.getLogger().addHandler(_SILENT)
    with warnings.catch_warnings(), on_stderr():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        return command.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 if all went well, 1 if a part failed and the rest was done, 2 if the input cannot be used, 130 if stopped,
        141 if the program that read the output has ended.
    """
    with screens() as (out, err):
        try:
            command: Command = tyro.cli(
                Command,
                prog="sonoseg",
                description=DESCRIPTION,
                args=arguments,
                config=(OmitSubcommandPrefixes, OmitArgPrefixes),
            )
        except SystemExit as stopped:  # after --help, or a word that is no option
            raise SystemExit(
                finish(stopped.code if isinstance(stopped.code, int) else 0, out)
            ) from None
        out.escapes = err.escapes = True
        return finish(_run(command), out)


def _run(command: Command) -> int:
    try:
        return _run_quietly(command)
    except InputError as error:
        print(f"sonoseg: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LAB:
            raise
        print(
            f"sonoseg: this command needs {error.name}; pip install 'sonoseg[lab]'",
            file=sys.stderr,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(
            "sonoseg: not enough memory; try fewer or smaller images at once",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(
            "sonoseg: stopped; the same command goes on or begins again",
            file=sys.stderr,
        )
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
