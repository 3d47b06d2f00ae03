"""The command line: one frozen dataclass a command, its field docstrings are the --help. No logic lives here."""

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
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, UseAppendAction

from sonoseg.errors import InputError, is_out_of_memory
from sonoseg.progress import on_stderr
from sonoseg.terminal import finish, screens

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
SERVE = {"fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "multipart"}


@dataclass(frozen=True)
class Demo:
    """Make synthetic ultrasound, segment it with the network inside, score it, and write a report to look at."""

    out: Path = Path("demo")
    """Folder for pictures, results.json and report.html."""
    count: int = 12
    """How many synthetic images."""
    model: str = "default"
    """A bundle file, or default, the one inside."""

    def run(self) -> int:
        return int(_call("sonoseg.demo:demo_command", self))


@dataclass(frozen=True)
class Segment:
    """Outline the lesions in images and videos and measure them. Needs no PyTorch."""

    images: Positional[tuple[Path, ...]]
    """PNG, JPEG, TIFF or BMP files, videos (MP4, AVI and others, with the extra sonoseg[video]), or folders of them."""
    model: str = "default"
    """A bundle file (.onnx), or default, the one inside."""
    out: Path = Path("segmented")
    """Folder for results.json, STEM_mask.png and STEM_overlay.png; of a video STEM_overlay.mp4 and STEM_frames.csv."""
    spacing: str | None = None
    """Size of a pixel in mm, if you know it: one number, or height,width as in 0.1,0.08. Lengths and areas are then in
    mm."""
    explain: bool = False
    """Also draw where the network looked (Grad-CAM), as STEM_heat.png."""

    def run(self) -> int:
        answer = _call(
            "sonoseg.reader.segment_files:segment_command",
            self.images,
            model=self.model,
            out=self.out,
            spacing=self.spacing,
            explain=self.explain,
        )
        return _print(answer)


@dataclass(frozen=True)
class Serve:
    """Show a page in the browser to look at outlines, correct and label them; and answer programs over HTTP."""

    folder: Positional[Path] = Path("sonoseg-images")
    """The folder with the images. What is drawn goes into its folder annotations/."""
    port: int = 8417
    """Where the page is found on this machine; 0 chooses a free port."""
    host: str = "127.0.0.1"
    """The address to listen on. Any other than this machine's own demands --token-file."""
    token_file: Path | None = None
    """A file with a token of at least 16 letters and digits, which clients must know."""
    model: str = "default"
    """A bundle file (.onnx), or default, the bundled model."""
    browser: bool = True
    """Open the page in a browser."""

    def run(self) -> int:
        answer = _call(
            "sonoseg.serve.command:serve_command",
            self.folder,
            model=self.model,
            host=self.host,
            port=self.port,
            token_file=self.token_file,
            open_browser=self.browser,
        )
        return _print(answer)


@dataclass(frozen=True)
class Check:
    """Report everything that is wrong with a data set, at once."""

    folder: Positional[Path]
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str | None = None
    """Also look for near-copies and groups that this split tears apart."""

    def run(self) -> int:
        return _print(_call("sonoseg.data.check:check_command", self.folder, self.split))


@dataclass(frozen=True)
class Phantom:
    """Make synthetic breast ultrasound with known lesions."""

    folder: Positional[Path]
    """Where to write images/, masks/ and labels.csv."""
    count: int = 12
    """How many."""
    seed: int = 0
    """Another seed, other images."""

    def run(self) -> int:
        _call("sonoseg.data.phantom:write_phantoms", self.folder, self.count, self.seed)
        print(f"{self.folder}: {self.count} synthetic images with masks")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download a public data set, check every file, and go on where a broken download stopped."""

    name: Positional[Literal["busi"]]
    """busi: 780 images, 250 MB."""
    folder: Path = Path("BUSI")
    """Where to put it."""
    zip: Path | None = None
    """Dataset_BUSI.zip, if you have downloaded it by hand."""

    def run(self) -> int:
        return _print(_call("sonoseg.data.fetch:fetch_busi", self.folder, archive=self.zip))


@dataclass(frozen=True)
class Pack:
    """Write a data set as one small file, which every --data takes."""

    folder: Positional[Path]
    """BUSI's or BUS-BRA's folder, or one with images/ and masks/."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels, as training does; a multiple of 32."""
    out: Path = Path("pack.safetensors")
    """The file."""

    def run(self) -> int:
        return _print(_call("sonoseg.data.packing:pack_folder", self.folder, self.size, self.out))


@dataclass(frozen=True)
class Data:
    """Check, make, fetch or pack data sets."""

    action: Check | Phantom | Fetch | Pack

    def run(self) -> int:
        return self.action.run()


@dataclass(frozen=True)
class Models:
    """List every network with its parameter counts."""

    json: bool = False
    """As JSON."""

    def run(self) -> int:
        _call("sonoseg.models.listing:print_models", self.json)
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
    attention: Literal["none", "cbam", "nonlocal", "transformer"] | None = None
    """After every decoder stage."""
    skips: bool | None = None
    """Join the encoders' maps to the decoder at every scale."""
    widths: tuple[int, int, int, int] | None = None
    """Channels that leave the decoder's four stages, from the deepest up."""
    convolution: Literal["separable", "double"] | None = None
    """The decoder's block."""
    presence: Literal["none", "image", "parts"] | None = None
    """Add a head that judges whether there is a lesion: in the image as a whole, or in each drawn part by itself."""
    loss: Literal["bce", "dice", "bce+dice", "0.4bce+0.6dice", "bce+image-dice"] | None = None
    """What is minimised."""
    optimizer: Literal["adam", "sgd"] | None = None
    """sgd has a momentum of 0.9."""
    learning_rate: float | None = None
    """With one-cycle, the highest; with poly, the first."""
    schedule: Literal["constant", "one-cycle", "poly"] | None = None
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
    monitor: Literal["loss", "dice", "last"] | None = None
    """Which epoch is kept: that of the best validation loss or Dice, or the last (with --patience 0)."""
    augment: Literal["none", "light", "ultrasound", "wide"] | None = None
    """Change the training images at random."""
    ema: float | None = None
    """Decay of the running average of the weights that is kept; 0: the weights themselves."""
    learn: str | None = None
    """The part of the network that learns: encoders, stages, head or presence; the rest stays as it starts."""
    compile: bool = False
    """Compile the network first (torch.compile), which takes minutes; worth it for long trainings on a GPU."""
    graph: bool = False
    """On one CUDA GPU, launch each step's forward and backward pass in one piece; for small networks and batches."""

    def run(self) -> int:
        _call("sonoseg.train.fit:train_command", self)
        return 0


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
        return int(_call("sonoseg.train.sweep:sweep_command", self))


@dataclass(frozen=True)
class Average:
    """Average the weights of runs of one network that began alike: often better than each, and as fast as one."""

    runs: Positional[tuple[Path, ...]]
    """Run folders; default is the one inside."""
    out: Path = Path("runs/average")
    """The run folder to write."""
    half: bool = False
    """Store the weights in 16 bits: half the size. One run may do for that."""

    def run(self) -> int:
        _call("sonoseg.deploy.average:average_command", self)
        return 0


@dataclass(frozen=True)
class Slim:
    """Take channels that hardly matter out of a run's EfficientNet-Lite: a smaller and faster network."""

    folder: Positional[Path]
    """A run folder, or default, the one inside."""
    data: Path
    """The data set that it was trained on."""
    split: str = "paper"
    """The split that it was trained on."""
    also: tuple[str, ...] = ()
    """More data sets that it was trained on: FOLDER, or FOLDER@SPLIT."""
    share: float = 0.003
    """Of the variance of what leaves a block, so much may be lost in it."""
    out: Path = Path("runs/slim")
    """The run folder to write."""

    def run(self) -> int:
        _call("sonoseg.deploy.slim:slim_command", self)
        return 0


@dataclass(frozen=True)
class Calibrate:
    """Learn how sure a trained network may be, and which images are unlike its own; evaluate and export take it up."""

    folder: Positional[Path]
    """A run folder."""
    data: Path
    """The data set that it was trained on: the temperature is fitted to its validation images."""
    split: str = "paper"
    """The split that it was trained on."""
    also: tuple[str, ...] = ()
    """More data sets that it was trained on: FOLDER, or FOLDER@SPLIT."""

    def run(self) -> int:
        _call("sonoseg.deploy.calibrate:calibrate_command", self)
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Score a model against known masks: under three conventions, with intervals, ROC curve and a row an image."""

    model: Positional[str]
    """A run folder, a bundle file, default, all-foreground or all-background."""
    data: Path
    """BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str = "all"
    """all, paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file: file,subset."""
    subset: Literal["train", "validation", "test"] = "test"
    """Which part of the split."""
    out: Path = Path("evaluation")
    """Folder for metrics.json, cases.csv and roc.png."""

    def run(self) -> int:
        _call("sonoseg.evaluate.evaluate:evaluate_command", self)
        return 0


@dataclass(frozen=True)
class Compare:
    """Say whether models differ on the same images: paired intervals, Wilcoxon with Holm's correction, McNemar."""

    reference: Positional[Path]
    """A folder that `sonoseg evaluate` wrote: what the others are compared with."""
    models: Positional[tuple[Path, ...]]
    """Folders of evaluations of the same images."""
    out: Path | None = None
    """A JSON file to write the table to."""

    def run(self) -> int:
        _call("sonoseg.evaluate.compare:compare_command", self)
        return 0


@dataclass(frozen=True)
class Explain:
    """Show with Grad-CAM what a network looks at: original, ground truth, prediction, heat map."""

    model: Positional[Path]
    """A run folder, or default, the one inside."""
    images: Positional[tuple[Path, ...]] = ()
    """PNG, JPEG, TIFF or BMP files, or folders of them; none with --score."""
    layer: str | None = None
    """bottleneck (the default), stage1 … stage4, or fused (all stages together). With --score, by default each one."""
    out: Path = Path("explained")
    """Folder for STEM_explained.png; with --score for faithfulness.json, .csv and .png."""
    score: bool = False
    """Instead of pictures, measure whether the heat maps are true, on the images of --data."""
    data: Path | None = None
    """For --score: BUSI's or BUS-BRA's folder, one with images/ and masks/, or a pack of `sonoseg data pack`."""
    split: str = "all"
    """For --score: all, paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file: file,subset."""
    subset: Literal["train", "validation", "test"] = "test"
    """For --score: which part of the split."""

    def run(self) -> int:
        return int(_call("sonoseg.explain.explain:explain_command", self))


@dataclass(frozen=True)
class Reproduce:
    """Reproduce the paper: train what is missing, set our numbers beside the printed ones, write the report."""

    data: Path
    """BUSI's folder, or another data set to do the same on."""
    out: Path = Path("reproduction")
    """Folder for report.html, report.md, tables/ and runs/. The same command goes on where it was stopped."""
    models: str = "all"
    """Such as 1-20,swin-unet,default; all: the twenty models, the five rivals and default, the network inside."""
    split: tuple[str, ...] = ("paper",)
    """One or more: paper, paper-clean, grouped-0 … grouped-4, or a CSV file: file,subset."""
    seeds: tuple[int, ...] = (0,)
    """One training each; the report shows their mean."""
    recipe: Literal["paper", "own"] = "paper"
    """How the rivals are trained: by the paper's recipe, as it did, or by their own authors'."""
    encoder_weights: str = "imagenet"
    """imagenet, none (random), or a run folder whose encoders to start from."""
    encoder_about: str = ""
    """What that run was trained on, in a few words for the report, such as BUS-BRA."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels; a multiple of 32."""
    epochs: int | None = None
    """At most, instead of the paper's 50."""
    patience: int | None = None
    """Instead of the paper's 10."""
    batch: int | None = None
    """Images a step, instead of the paper's 16."""
    learning_rate: float | None = None
    """Instead of the paper's 1e-4."""
    explain: int = 16
    """Test images on which the explanations are measured; 0: none."""
    pictures: tuple[str, ...] = ()
    """Names of test images to show; by default the first benign and the first malignant one."""
    workers: int = 0
    """Processes that train side by side; 0: one for each GPU. Without GPUs they share the cores."""
    report_only: bool = False
    """Train nothing: write the report of the results that --out holds."""

    def run(self) -> int:
        return int(_call("sonoseg.reproduction.command:reproduce_command", self))


@dataclass(frozen=True)
class Export:
    """Write a trained network as one bundle file that the reader segments with."""

    folder: Positional[Path]
    """A run folder, or default, the one inside."""
    out: Path = Path("model.onnx")
    """The bundle."""
    name: str | None = None
    """The name on its card; by default the model's."""
    scores: Path | None = None
    """A metrics.json of `sonoseg evaluate` to put on its card."""
    threshold: float = 0.5
    """A pixel is lesion where its probability is at least this."""
    min_lesion_fraction: float = 0.0
    """Parts smaller than this share of the image are dropped."""
    half: bool = False
    """Store the weights in 16 bits: half the size. The card says how far that moves a probability."""

    def run(self) -> int:
        _call("sonoseg.deploy.export:export_command", self)
        return 0


Command = Union[  # noqa: UP007  # of `|` tyro asks typeguard, a tenth of a second to import
    Demo,
    Segment,
    Serve,
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
]


def _print(answer: str | tuple[str, int]) -> int:
    """Prints the text that a command's function returned; returns its exit code, 0 if it returned none."""
    text, code = (answer, 0) if isinstance(answer, str) else answer
    if text:
        print(text)
    return code


def _call(target: str, *arguments: Any, **options: Any) -> Any:
    """Calls "module:function", importing only what this command needs."""
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
        0 if all went well, 1 if a part failed and the rest was done, 2 if the input was at fault, 130 if stopped,
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
        missing = (error.name or "").partition(".")[0]
        if missing not in LAB | SERVE:
            raise
        extra = "serve" if missing in SERVE else "lab"
        print(
            f"sonoseg: this command needs {error.name}; pip install 'sonoseg[{extra}]'",
            file=sys.stderr,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print("sonoseg: not enough memory; try fewer or smaller images at once", file=sys.stderr)
    except KeyboardInterrupt:
        print("sonoseg: stopped; the same command goes on or begins again", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
