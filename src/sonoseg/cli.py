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

from sonoseg.errors import InputError, counted, is_out_of_memory
from sonoseg.progress import on_stderr
from sonoseg.terminal import finish, screens
from sonoseg.train import choices
from sonoseg.train.settings import NetworkChanges, RecipeChanges, TrainSettings

DESCRIPTION = (
    "Outline and measure tumours in breast ultrasound: images, videos and DICOM. "
    "Train, evaluate and explain the networks. Research use only, not a medical device."
)
LAB = {
    "torch",
    "torchvision",
    "timm",
    "lightning_fabric",
    "filelock",
    "matplotlib",
    "onnx",
    "onnxscript",
    "safetensors",
    "scipy",
    "tqdm",
}
Sensitivity = Literal["high", "balanced", "specific"]
CLUSTER = {"distributed", "dask", "pyarrow"}
SERVE = {"fastapi", "starlette", "uvicorn", "pydantic", "python_multipart", "multipart"}


@dataclass(frozen=True)
class Demo:
    """Make synthetic images, segment them with the bundled model, score the masks, and write an HTML report."""

    out: Path = Path("demo")
    """Folder for the pictures, results.json and report.html."""
    count: int = 12
    """Number of synthetic images."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower)."""

    def run(self) -> int:
        print(_call("sonoseg.demo:demo_command", self.out, self.count, self.model))
        return 0


@dataclass(frozen=True)
class Segment:
    """Outline and measure the lesions in images, videos and DICOM files. Works without PyTorch."""

    images: Positional[tuple[Path, ...]]
    """Files or folders: PNG, JPEG, TIFF and BMP; videos such as MP4 and AVI (they need the extra video);
    DICOM (it needs the extra dicom)."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower)."""
    out: Path = Path("segmented")
    """Folder for results.json and, of each image, STEM_mask.png and STEM_overlay.png.
    Of a video: STEM_overlay.mp4 and STEM_frames.csv."""
    spacing: str | None = None
    """Size of a pixel in mm: one number, or height,width such as 0.1,0.08. Lengths are then in mm, areas in mm².
    DICOM files contain a size of their own; this one replaces it."""
    explain: bool = False
    """Also write STEM_heat.png: a Grad-CAM heat map of the parts of the image that the network used.
    It is that of the network without operating point: of the pixels of at least 0.5."""
    to: tuple[Literal["seg", "sr", "sc", "coco", "geojson", "labelme"], ...] = ()
    """Other formats to write. Of DICOM images: seg (outlines), sr (measurements), sc (overlay picture).
    Of all images, for annotation programs: coco, geojson (QuPath), labelme."""
    strict: bool = False
    """Write seg without plane positions: DICOM defines them only for images with a frame of reference.
    OHIF and dcmqi cannot open a seg without them."""
    fractional: bool = False
    """Also write the probability of each pixel, as STEM_probability.dcm. Only for DICOM files with one frame."""
    pseudonym: str | None = None
    """A secret word of your choice. Written DICOM objects then have a code instead of the patient's name and ID.
    The same patient and word always give the same code."""
    sensitivity: Sensitivity | None = None
    """Operating point: high misses few lesions, specific has few false lesions. Default: as the network was trained."""
    workers: int = 0
    """For an archive, a folder with any number of images at any depth: number of processes. It needs the extra cluster.
    Writes results.parquet, and the masks in zip files."""
    cluster: str = ""
    """For an archive: the address of a Dask scheduler, such as tcp://host:8786, or its scheduler file."""

    def run(self) -> int:
        if self.workers or self.cluster:
            return _print(
                _call(
                    "sonoseg.archive.command:archive_command",
                    self.images,
                    model=self.model,
                    out=self.out,
                    spacing=self.spacing,
                    workers=self.workers,
                    cluster=self.cluster,
                    sensitivity=self.sensitivity,
                    others={
                        "--explain": self.explain,
                        "--to": self.to,
                        "--strict": self.strict,
                        "--fractional": self.fractional,
                        "--pseudonym": self.pseudonym,
                    },
                )
            )
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
                sensitivity=self.sensitivity,
            )
        )


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
    dicomweb: str | None = None
    """Address of a server with DICOMweb: its studies are listed, fetched into the folder, and get SEG and SR."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower)."""
    browser: bool = True
    """Open the page in a browser."""
    sensitivity: Sensitivity | None = None
    """Operating point, as in segment."""

    def run(self) -> int:
        answer = _call(
            "sonoseg.serve.command:serve_command",
            self.folder,
            model=self.model,
            host=self.host,
            port=self.port,
            token_file=self.token_file,
            dicomweb=self.dicomweb,
            open_browser=self.browser,
            sensitivity=self.sensitivity,
        )
        return _print(answer)


@dataclass(frozen=True)
class CompareReaders:
    """Show how far the readers of a folder agree, with each other and with the network: Dice and Cohen's kappa."""

    folder: Positional[Path]
    """The folder that `sonoseg serve` showed."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower)."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        compare = "sonoseg.serve.compare_readers:compare_readers_command"
        return _print(_call(compare, self.folder, self.model, self.json))


@dataclass(frozen=True)
class Watch:
    """Segment new ultrasound images of a server. Outlines (SEG) and measurements (SR) go into their study."""

    url: Positional[str | None] = None
    """Address of Orthanc, such as http://127.0.0.1:8042, or https://USER:PASSWORD@HOST/orthanc."""
    dicomweb: str | None = None
    """Address of any server with DICOMweb instead, such as http://127.0.0.1:8042/dicom-web."""
    days: int | None = None
    """With --dicomweb: look only at studies of the last so many days. Without it, at all."""
    state: Path = Path("sonoseg-watch.json")
    """The file that keeps how far it is. The next start goes on there."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower)."""
    strict: bool = False
    """Write seg without plane positions; see `sonoseg segment`."""
    once: bool = False
    """End when there are no more new images, instead of waiting for them."""

    def run(self) -> int:
        _call("sonoseg.dicom.recognise:check_installed")
        answer = _call(
            "sonoseg.watch.command:watch_command",
            self.url,
            self.dicomweb,
            days=self.days,
            state=self.state,
            model=self.model,
            strict=self.strict,
            once=self.once,
        )
        return _print(answer)


@dataclass(frozen=True)
class Check:
    """Check a data set and report all problems at once."""

    folder: Positional[Path]
    """Folder of BUSI or BUS-BRA, with images/ and masks/, or of DICOM with SEG; or a file of `sonoseg data pack`."""
    split: str | None = None
    """Also report near-copies and patients that are in more than one subset of this split."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.check:check_command", self.folder, self.split)
        )


@dataclass(frozen=True)
class Phantom:
    """Make synthetic breast-ultrasound images with known lesions."""

    folder: Positional[Path]
    """The folder to write: images/, masks/ and labels.csv. With --dicom, labels.csv is not written."""
    count: int = 12
    """Number of images."""
    seed: int = 0
    """Random seed. Another seed makes other images."""
    dicom: bool = False
    """Write DICOM files: in turn a still, a loop and a split screen. The masks are DICOM segmentations."""

    def run(self) -> int:
        if self.dicom:
            _call("sonoseg.dicom.recognise:check_installed")
            write = "sonoseg.data.dicom_phantom:write_dicom_phantoms"
            _call(write, self.folder, self.count, self.seed)
            files = counted(self.count, "synthetic DICOM file")
            print(f"{self.folder}: {files} with segmentations")
            return 0
        _call("sonoseg.data.phantom:write_phantoms", self.folder, self.count, self.seed)
        images = counted(self.count, "synthetic image")
        print(f"{self.folder}: {images} with masks")
        return 0


@dataclass(frozen=True)
class Fetch:
    """Download a public data set and check every file. To resume a broken download, run the same command again."""

    name: Positional[Literal["busi"]]
    """busi: 780 images, 250 MB."""
    folder: Path = Path("BUSI")
    """The folder to write."""
    zip: Path | None = None
    """Path of Dataset_BUSI.zip, if you downloaded it yourself."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.fetch:fetch_busi", self.folder, archive=self.zip)
        )


@dataclass(frozen=True)
class Pack:
    """Write a data set to one small file, a pack. Every option --data accepts it."""

    folder: Positional[Path]
    """Folder of BUSI or BUS-BRA, with images/ and masks/, or of DICOM with SEG."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels, as in training. SIZE is a multiple of 32."""
    out: Path = Path("pack.safetensors")
    """The file to write. Its name ends in .safetensors."""

    def run(self) -> int:
        return _print(
            _call("sonoseg.data.packing:pack_folder", self.folder, self.size, self.out)
        )


@dataclass(frozen=True)
class Data:
    """Check, create, download or pack data sets."""

    action: Check | Phantom | Fetch | Pack

    def run(self) -> int:
        return self.action.run()


@dataclass(frozen=True)
class SegToMask:
    """Convert a DICOM segmentation (SEG) of any program to PNG masks, one for each segmented frame."""

    seg: Positional[Path]
    """The SEG file."""
    out: Positional[Path]
    """Folder for the masks: STEM_mask.png, or STEM_frame0007_mask.png for frame 7 of a loop."""
    image: Path | None = None
    """The segmented image. STEM is then its name; without this option, the name of the SEG file."""

    def run(self) -> int:
        _call("sonoseg.dicom.recognise:check_installed")
        return _print(
            _call(
                "sonoseg.dicom.mask_files:write_masks", self.seg, self.out, self.image
            )
        )


@dataclass(frozen=True)
class Info:
    """Show what sonoseg reads from DICOM files: frames, B-mode regions, pixel size, doubts. No patient data."""

    files: Positional[tuple[Path, ...]]
    """One or more DICOM files."""

    def run(self) -> int:
        _call("sonoseg.dicom.recognise:check_installed")
        return _print(_call("sonoseg.dicom.read:info_command", self.files))


@dataclass(frozen=True)
class Dicom:
    """Inspect DICOM files, or convert DICOM segmentations to masks."""

    action: SegToMask | Info

    def run(self) -> int:
        return self.action.run()


@dataclass(frozen=True)
class Models:
    """List all networks with their parameter counts."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        print(_call("sonoseg.models.catalog:models_command", self.json))
        return 0


@dataclass(frozen=True)
class Train:
    """Train a network. To resume, run the same command again. Options that are None come from the model's recipe."""

    model: Positional[str]
    """Name of a network, such as model-1 or sonoseg-1. `sonoseg models` lists all names."""
    data: Path
    """Folder of BUSI or BUS-BRA, with images/ and masks/, or of DICOM with SEG; or a file of `sonoseg data pack`."""
    split: str = "paper"
    """paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file with the columns file,subset."""
    also: tuple[str, ...] = ()
    """More training data. FOLDER adds all of its images, FOLDER@SPLIT only the training images of that split."""
    out: Path | None = None
    """The run folder to write. Default: runs/MODEL-SPLIT."""
    encoder_weights: str = "imagenet"
    """First weights of the encoders: imagenet, none (random), a run folder, or a .safetensors file.
    default: those of the bundled model."""
    start_from: Path | None = None
    """First weights of the whole network: a run folder or .safetensors file of the same network.
    default: those of the bundled model."""
    teachers: tuple[Path, ...] = ()
    """Run folders, or default (the bundled model). Half of the pixel loss then compares with the masks.
    The other half compares with the mean prediction of these networks."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels. SIZE is a multiple of 32."""
    seed: int = 0
    """Seed of all random choices."""
    encoders: tuple[str, ...] | None = None
    """One or more of resnet18, resnet50, densenet121, efficientnet_b0, tf_efficientnet_lite0 to 2."""
    attention: choices.Attention | None = None
    """Attention module after each decoder stage."""
    skips: bool | None = None
    """Skip connections: join the feature maps of the encoders to the decoder at every scale."""
    widths: tuple[int, int, int, int] | None = None
    """Output channels of the four decoder stages, the deepest stage first."""
    convolution: choices.Convolution | None = None
    """Convolutions of the decoder: separable, as in the paper, or double (two 3 × 3 convolutions)."""
    presence: choices.Presence | None = None
    """Add a head that decides whether there is a lesion: in the whole image, or in each predicted part."""
    loss: choices.Loss | None = None
    """The loss function."""
    optimizer: choices.Optimizer | None = None
    """adam is AdamW; sgd has a momentum of 0.9."""
    learning_rate: float | None = None
    """The learning rate: with one-cycle the highest, with poly the first."""
    schedule: choices.Schedule | None = None
    """How the learning rate changes during the training."""
    weight_decay: float | None = None
    """Weight decay: decoupled with adam, added to the gradient with sgd."""
    batch: int | None = None
    """Number of images per step."""
    dropout: float | None = None
    """Fraction of the bottleneck channels that are set to zero in each step."""
    epochs: int | None = None
    """Largest number of epochs."""
    patience: int | None = None
    """Stop after this number of epochs without improvement on validation. 0: never stop early."""
    monitor: choices.Monitor | None = None
    """Which epoch is kept: lowest validation loss, highest validation Dice, or the last (needs --patience 0)."""
    augment: choices.Augment | None = None
    """Random changes of the training images."""
    ema: float | None = None
    """Decay of the running average of the weights. The average is saved. 0: no average, save the weights."""
    learn: str | None = None
    """Train only one part: encoders, stages, head or presence. The other parts keep their first weights."""
    graph: bool = False
    """On one CUDA GPU: run each step as one CUDA graph. This speeds up small networks and small batches."""

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
    """Train with all combinations of some settings and name the best. Several machines can share the work."""

    model: Positional[str]
    """Name of a network, such as model-1 or sonoseg-1. `sonoseg models` lists all names."""
    data: Path
    """Folder of BUSI or BUS-BRA, with images/ and masks/, or of DICOM with SEG; or a file of `sonoseg data pack`."""
    grid: UseAppendAction[tuple[str, ...]] = ()
    """AXIS=VALUE,VALUE, such as batch=8,16. Repeat it for each axis. Default: the 36 combinations of the paper."""
    split: str = "paper"
    """As in train. The combinations are compared on the validation images of this split."""
    also: tuple[str, ...] = ()
    """More training data, as in train."""
    out: Path | None = None
    """Folder for the table, the picture and the runs. Default: runs/MODEL-SPLIT-sweep."""
    workers: int = 0
    """Number of trainings at the same time on this machine. 0: one per GPU, or one. More need the extra cluster."""
    cluster: str = ""
    """Train on a Dask cluster: the address of its scheduler, such as tcp://host:8786, or its scheduler file."""
    encoder_weights: str = "imagenet"
    """First weights of the encoders: imagenet, none (random), a run folder, or a .safetensors file.
    default: those of the bundled model."""
    start_from: Path | None = None
    """First weights of the whole network: a run folder or .safetensors file of the same network.
    default: those of the bundled model."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels. SIZE is a multiple of 32."""
    seed: int = 0
    """Seed of all random choices."""
    epochs: int | None = None
    """Largest number of epochs."""
    patience: int | None = None
    """Stop after this number of epochs without improvement on validation. 0: never stop early."""

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
            command,
            settings,
            axes=self.grid,
            out=self.out,
            workers=self.workers,
            cluster=self.cluster,
        )
        return _print(answer)


@dataclass(frozen=True)
class Average:
    """Average the weights of runs that started from the same weights. The result is as fast as one network."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, or a bundled model: default or accurate."""
    out: Path = Path("runs/average")
    """The run folder to write."""
    half: bool = False
    """Store the weights in 16 bits, which halves the file. With this option, one run is enough."""

    def run(self) -> int:
        print(
            _call(
                "sonoseg.deploy.average:average_command", self.runs, self.out, self.half
            )
        )
        return 0


@dataclass(frozen=True)
class Ensemble:
    """Make one network of several: it runs all of them and averages their logits, as an ensemble of folds does."""

    runs: Positional[tuple[Path, ...]]
    """Run folders of the same kind of network and image size."""
    out: Path = Path("runs/ensemble")
    """The run folder to write. evaluate, calibrate and export take it like any other."""
    half: bool = False
    """Store the weights in 16 bits, which halves the file."""

    def run(self) -> int:
        arguments = (self.runs, self.out, self.half)
        print(_call("sonoseg.deploy.average:ensemble_command", *arguments))
        return 0


@dataclass(frozen=True)
class Slim:
    """Make an EfficientNet-Lite encoder smaller and faster: remove the channels that matter least."""

    folder: Positional[Path]
    """A run folder, or a bundled model: default or accurate."""
    data: Path
    """The data set on which the run was trained."""
    split: str = "paper"
    """The split with which the run was trained."""
    also: tuple[str, ...] = ()
    """More data sets on which the run was trained: FOLDER or FOLDER@SPLIT."""
    share: float = 0.003
    """Fraction of the variance of its output that each block may lose. A larger value removes more channels."""
    out: Path = Path("runs/slim")
    """The run folder to write."""

    def run(self) -> int:
        slim = "sonoseg.deploy.slim:slim_command"
        data = (self.data, self.split, self.also)
        print(_call(slim, self.folder, *data, self.share, self.out))
        return 0


@dataclass(frozen=True)
class Calibrate:
    """Fit a temperature to a run, learn to recognise images unlike its data, and choose its operating points."""

    folder: Positional[Path]
    """A run folder."""
    data: Path
    """The data set on which the run was trained. The temperature is fitted to its validation images."""
    split: str = "paper"
    """The split with which the run was trained."""
    also: tuple[str, ...] = ()
    """More data sets on which the run was trained: FOLDER or FOLDER@SPLIT."""
    abroad: tuple[Path, ...] = ()
    """Data sets of other hospitals, which were not trained on. They help to choose the operating points."""
    points: Path | None = None
    """The sensitivity.csv of a run that was trained alike, but without some hospital, and calibrated with that one as
    --abroad. The operating points are chosen there."""

    def run(self) -> int:
        calibrate = "sonoseg.deploy.calibrate:calibrate_command"
        data = (self.data, self.split, self.also, self.abroad, self.points)
        print(_call(calibrate, self.folder, *data))
        return 0


@dataclass(frozen=True)
class Malignancy:
    """Fit a head to a run that says how probable a lesion is malignant. export puts it into the bundle."""

    folder: Positional[Path]
    """A run folder, trained and calibrated."""
    data: Path
    """A data set with the labels benign and malignant, such as BUSI. The training images of the split are used."""
    split: str = "paper-clean"
    """A split of this data set. Keep its other images for tests."""
    also: tuple[str, ...] = ()
    """More data sets to learn from: FOLDER or FOLDER@SPLIT."""
    seed: int = 0
    """Seed of the random numbers."""

    def run(self) -> int:
        fit = "sonoseg.deploy.malignancy:malignancy_command"
        text = _call(fit, self.folder, self.data, self.split, self.also, self.seed)
        return _print(text)


@dataclass(frozen=True)
class Evaluate:
    """Score a model against reference masks: means with 95 % intervals, ROC curve, one row per image."""

    model: Positional[str]
    """A run folder, a bundle file, a bundled model (default or accurate), a folder of masks that another program has
    predicted (one per image, NAME.png), all-foreground or all-background."""
    data: Path
    """Folder of BUSI or BUS-BRA, with images/ and masks/, or of DICOM with SEG; or a file of `sonoseg data pack`."""
    split: str = "all"
    """all, paper, paper-clean, grouped, grouped-0 … grouped-4, or a CSV file with the columns file,subset."""
    subset: Literal["train", "validation", "test"] = "test"
    """Which subset of the split."""
    out: Path = Path("evaluation")
    """Folder for metrics.json, cases.csv (one row per image) and the curves."""

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
class Descriptors:
    """Fit the words that describe a lesion (shape, margin, …), and measure their agreement with a radiologist's."""

    data: Path
    """Folder of BrEaST: images/, masks/, and clinical.csv with the words of radiologists."""
    model: str = "default"
    """A bundle file (.onnx), or a bundled model: default, or accurate (slower). Its outlines are described, and the
    reference masks."""
    folds: int = 10
    """Number of parts of the cross-validation; a patient is in one part only."""
    out: Path = Path("descriptors")
    """Folder for descriptors.json (what was fitted), metrics.json and cases.csv (one row per outline)."""

    def run(self) -> int:
        print(
            _call(
                "sonoseg.evaluate.descriptors:descriptors_command",
                self.data,
                model=self.model,
                folds=self.folds,
                out=self.out,
            )
        )
        return 0


@dataclass(frozen=True)
class Compare:
    """Test whether models differ on the same images (Wilcoxon test with Holm correction, McNemar test)."""

    reference: Positional[Path]
    """A folder that `sonoseg evaluate` wrote. The other models are compared with this model."""
    models: Positional[tuple[Path, ...]]
    """Folders of other evaluations of the same images."""
    out: Path | None = None
    """Also write the table to this JSON file."""

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
class Cross:
    """Leave one data set out: train on the others, read the one left out, for each of them. To resume, run it again."""

    data: Positional[tuple[Path, ...]]
    """Two or more data sets, such as the folders of BUSI, BUS-BRA and BrEaST."""
    models: tuple[str, ...] = ()
    """Networks to train, such as sonoseg-1 model-1. `sonoseg models` lists all names."""
    runs: tuple[Path, ...] = ()
    """Run folders of earlier trainings. Each one reads the data sets that it was not trained on."""
    out: Path = Path("cross")
    """Folder for cross.csv, the runs and their evaluations."""
    encoder_weights: str = "imagenet"
    """As in train."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels. SIZE is a multiple of 32."""
    seed: int = 0
    """Seed of all random choices."""
    epochs: int | None = None
    """Largest number of epochs."""
    augment: choices.Augment | None = None
    """Random changes of the training images."""
    presence: choices.Presence | None = None
    """As in train."""

    def run(self) -> int:
        training = TrainSettings(
            model="",
            data=Path(),
            encoder_weights=self.encoder_weights,
            size=self.size,
            seed=self.seed,
            recipe=RecipeChanges(epochs=self.epochs, augment=self.augment),
            network=NetworkChanges(presence=self.presence),
        )
        settings = _call(
            "sonoseg.evaluate.cross:CrossSettings",
            data=self.data,
            out=self.out,
            models=self.models,
            runs=self.runs,
            training=training,
        )
        return _print(_call("sonoseg.evaluate.cross:cross_command", settings))


@dataclass(frozen=True)
class Explain:
    """Show with Grad-CAM which parts of an image a network uses: original, reference mask, prediction, heat map."""

    model: Positional[Path]
    """A run folder, or a bundled model: default or accurate."""
    images: Positional[tuple[Path, ...]] = ()
    """PNG, JPEG, TIFF or BMP files, or folders of them. Give none with --score."""
    layer: str | None = None
    """bottleneck (the default), stage1 … stage4, or fused (mean of the stages). With --score, the default is all."""
    out: Path = Path("explained")
    """Folder for STEM_explained.png; with --score for faithfulness.json, .csv and .png."""
    score: bool = False
    """Measure how faithful the heat maps are, on the images of --data, instead of drawing pictures."""
    data: Path | None = None
    """With --score: the data set, as for `sonoseg evaluate`."""
    split: str = "all"
    """With --score: the split, as for `sonoseg evaluate`."""
    subset: Literal["train", "validation", "test"] = "test"
    """With --score: which subset of the split."""

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
    """Reproduce the paper: train its networks, compare our numbers with the printed ones, write a report."""

    data: Path
    """The folder of BUSI, or another data set for the same experiment."""
    out: Path = Path("reproduction")
    """Folder for report.html, report.md, tables/ and runs/. To resume, run the same command again."""
    models: str = "all"
    """Which models, such as 1-20,swin-unet,default. all: the twenty models, the five rivals and the bundled model."""
    split: tuple[str, ...] = ("paper",)
    """One or more: paper, paper-clean, grouped-0 … grouped-4, or a CSV file with the columns file,subset."""
    seeds: tuple[int, ...] = (0,)
    """One training per seed. The report shows the mean over the seeds."""
    recipe: Literal["paper", "own"] = "paper"
    """How the rivals are trained: with the recipe of the paper (paper), or with that of their own authors (own)."""
    encoder_weights: str = "imagenet"
    """First weights of the encoders: imagenet, none (random), or a run folder."""
    encoder_about: str = ""
    """If that is a run folder: what it was trained on, in a few words for the report, such as BUS-BRA."""
    size: int = 224
    """Images are resized to SIZE × SIZE pixels. SIZE is a multiple of 32."""
    epochs: int | None = None
    """Largest number of epochs, instead of 50 as in the paper."""
    patience: int | None = None
    """Stop after this number of epochs without improvement on validation, instead of 10 as in the paper."""
    batch: int | None = None
    """Number of images per step, instead of 16 as in the paper."""
    learning_rate: float | None = None
    """Learning rate, instead of 1e-4 as in the paper."""
    explain: int = 16
    """Number of test images on which the explanations are measured. 0: none."""
    pictures: tuple[str, ...] = ()
    """Names of the test images to show. Default: the first benign and the first malignant image."""
    workers: int = 0
    """Number of models trained at the same time on this machine. 0: one per GPU, or one. Without a GPU, they share the
    processor cores. 2 or more need the extra cluster."""
    cluster: str = ""
    """Work on a Dask cluster: the address of its scheduler, such as tcp://host:8786, or its scheduler file."""
    report_only: bool = False
    """Train nothing. Write the report of the results that are already in --out."""

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
            cluster=self.cluster,
            report_only=self.report_only,
        )
        text, exit_code = _call(
            "sonoseg.reproduction.command:reproduce_command", settings
        )
        print(text)
        return int(exit_code)


@dataclass(frozen=True)
class Export:
    """Write a trained network to one file, a bundle. `sonoseg segment` uses it without PyTorch."""

    folder: Positional[Path]
    """A run folder, or a bundled model: default or accurate."""
    out: Path = Path("model.onnx")
    """The bundle file to write."""
    name: str | None = None
    """Name on the model card. Default: the name of the model."""
    scores: Path | None = None
    """A metrics.json that `sonoseg evaluate` measured with this network. Its scores are written on the model card."""
    threshold: float = 0.5
    """Pixels with at least this probability are lesion."""
    min_lesion_fraction: float = 0.0
    """Connected parts that are smaller than this fraction of the image are removed."""
    half: bool = False
    """Store the weights in 16 bits, which halves the file.
    The command prints how much probabilities change on two synthetic images."""

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
    Serve,
    CompareReaders,
    Watch,
    Explain,
    Evaluate,
    Compare,
    Cross,
    Descriptors,
    Train,
    Sweep,
    Average,
    Ensemble,
    Slim,
    Calibrate,
    Malignancy,
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
    """Imports the module of "module:function" and calls the function: each command imports only what it needs."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments, **options)


_SILENT = logging.NullHandler()
"""Without a handler, Python prints what libraries log."""


def _run_quietly(command: Command) -> int:
    """Runs a command with progress and our own messages on stderr; messages of other libraries are not shown.

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
        words = sys.argv[1:] if arguments is None else arguments
        if "" in words:  # an unset variable of the shell; as a path it is this folder
            print(
                "sonoseg: an argument: is empty; give a value or leave it out",
                file=sys.stderr,
            )
            return finish(2, out)
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
        extras = {"lab": LAB, "serve": SERVE, "cluster": CLUSTER}
        extra = next((name for name in extras if missing in extras[name]), None)
        if extra is None:
            raise
        print(
            f"sonoseg: this command needs {error.name}; pip install '.[{extra}]' in the source folder",
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
            "sonoseg: stopped; to finish, run the same command again",
            file=sys.stderr,
        )
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
