"""How well malignancy is told from an outlined lesion: official folds, other hospitals, and what else could explain it.

The first step runs a network on all labelled images and keeps the features in a folder; the second fits and
reads all heads, and writes a JSON file for each part:

    python benchmarks/malignancy.py features NETWORK DATA CACHE
    python benchmarks/malignancy.py scores CACHE results/malignancy
    python benchmarks/malignancy.py marks CROSS-BUSI CACHE DATA results/malignancy
    python benchmarks/malignancy.py failures CROSS-BUSI CACHE DATA docs/images/malignancy.png
    python benchmarks/malignancy.py three-classes DATA results/malignancy

DATA holds busi/, busbra/ and breast/. NETWORK is a run folder, or best.safetensors of `benchmarks/card.py`.
The scores need four networks: `default`, and `cross-busi`, `cross-busbra`, `cross-breast` of `benchmarks/card.py`, each
trained on the other two data sets. So no network behind a number has seen a mask of the test images.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.auc import auc, auc_interval, paired_auc_test
from sonoseg.core.resize import enlarge, resize_mask
from sonoseg.data.busbra import official_folds
from sonoseg.data.busi import busi_images
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.deploy.fit_malignancy import Lesions, fit_malignancy
from sonoseg.deploy.malignancy_data import Look, largest_lesion, looker
from sonoseg.describe.features import measure_features
from sonoseg.describe.gray import Gray
from sonoseg.describe.malignancy import pool_maps
from sonoseg.describe.malignancy_head import MalignancyHead, sigmoid
from sonoseg.describe.rim import Rim
from sonoseg.describe.shape import Shape
from sonoseg.evaluate.malignancy import Judged, malignancy_summary
from sonoseg.files import write_json
from sonoseg.progress import track
from sonoseg.reader.segmenter import load

MEASURED = len(fields(Shape)) + len(fields(Gray)) + len(fields(Rim))
SOURCES = ("busi", "busbra", "breast")
CROSS = {"busi": "cross-busi", "busbra": "cross-busbra", "breast": "cross-breast"}


# The first step: features.


def build(network: str) -> tuple[Callable[[NDArray[np.uint8]], Look], str]:
    """The network's `looker` and its name."""
    from sonoseg.deploy.calibration import load_calibration
    from sonoseg.models.encoders import load_tensors
    from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
    from sonoseg.train.run_folder import load_run

    path = Path(network)
    if path.suffix != ".safetensors":
        model, config = load_run(network)
        calibration = load_calibration(path)
        temperature = calibration.temperature if calibration else 1.0
        size = config.size, config.size
        return looker(model, size, temperature), path.name
    shape = FusionUNetConfig(
        ("tf_efficientnet_lite2",), skips=True, widths=(128, 64, 48, 32)
    )
    plain = FusionUNet(shape)
    tensors, own = load_tensors(path), plain.state_dict()
    plain.load_state_dict({name: tensors[name].to(own[name].dtype) for name in own})
    return looker(plain.eval(), (256, 256)), path.parent.name


def known(data: Path) -> Iterator[tuple[str, Case, dict[str, Any]]]:
    """Every image that is used, with its source and what its tables say. Copies and objections of BUSI are left out."""
    birads = {row["ID"]: row["BIRADS"] for row in _list(data / "busbra/bus_data.csv")}
    clinical = _rows(data / "breast/clinical.csv", "Image_filename")
    published = busi_images()
    for source in SOURCES:
        cases = load_cases(data / source)
        folds = official_folds(cases) or {} if source == "busbra" else {}
        for case in cases:
            about = {"birads": "", "fold": folds.get(case.name, -1), "subset": ""}
            if source == "busi":
                if not published[case.name].is_labelled:
                    continue
                about["subset"] = published[case.name].paper_clean
            elif source == "busbra":
                about["birads"] = birads[Path(case.name).stem]
            else:
                about["birads"] = clinical[case.name]["BIRADS"][:1]
            yield source, case, about


def _list(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _rows(path: Path, key: str) -> dict[str, dict[str, str]]:
    return {row[key]: row for row in _list(path)}


def features(network: str, data: Path, cache: Path) -> None:
    """Writes the features of all lesions under reference mask, own outline and whole image as CACHE/NAME.npz."""
    look, name = build(network)
    kept: dict[str, list[Any]] = {}
    images = list(known(data))
    for source, case, about in track(images, name, len(images), "image"):
        image, truth = case.read()
        row = {
            "source": source,
            "label": case.label,
            "group": f"{source}:{case.group}",
            "size": float(truth.mean()),
            **about,
            **_seen(image, truth, look(image)),
        }
        for key, value in row.items():
            kept.setdefault(key, []).append(value)
    cache.mkdir(parents=True, exist_ok=True)
    columns = {key: np.array(values) for key, values in kept.items()}
    np.savez(cache / f"{name}.npz", **columns)


def _seen(
    image: NDArray[np.uint8], truth: NDArray[np.bool_], found: Look
) -> dict[str, Any]:
    """The features of an image; NaN where there is no reference mask, or nothing is outlined."""
    size = sum(values.shape[0] for values in found.maps)
    probability = enlarge(found.probability, truth.shape)
    own = largest_lesion(probability >= 0.5)
    row: dict[str, Any] = {
        "whole": np.concatenate([values.mean((1, 2)) for values in found.maps]),
        "outline": float(probability[own].mean()) if own.any() else 0.0,
        "dice": 2 * float((own & truth).sum()) / max(1.0, own.sum() + truth.sum()),
    }
    for view, mask in (("reference", largest_lesion(truth)), ("own", own)):
        if mask.any():
            row[view] = pool_maps(found.maps, mask)
            measured = measure_features(image, mask).to_dict()
            row[f"{view}_measured"] = np.array(list(measured.values()), np.float32)
        else:
            row[view] = np.full(3 * size, np.nan, np.float32)
            row[f"{view}_measured"] = np.full(MEASURED, np.nan, np.float32)
    return row


# The second step: heads and their scores.


class Table:
    """The features of one network for all images, and which of them hold a lesion."""

    def __init__(self, cache: Path, name: str) -> None:
        with np.load(cache / f"{name}.npz") as file:
            self.columns = {key: file[key] for key in file.files}
        self.source = self.columns["source"]
        self.malignant = self.columns["label"] == "malignant"
        self.is_lesion = self.columns["label"] != "normal"
        self.is_found = self.columns["outline"] > 0

    def lesions(self, rows: NDArray[np.bool_], view: str) -> Lesions:
        """The lesions of `rows` (N,) as a view shows them: reference, own, or whole (image)."""
        rows = rows & self.is_lesion
        if view == "own":
            rows = rows & self.is_found
        count = int(rows.sum())
        is_own = np.full(count, view != "reference")
        outline, dice = self.columns["outline"][rows], self.columns["dice"][rows]
        return Lesions(
            self.columns[view][rows],
            self.malignant[rows],
            self.columns["group"][rows],
            is_own,
            outline if view == "own" else np.ones(count, np.float32),
            dice if view == "own" else np.ones(count, np.float32),
        )

    def training(self, rows: NDArray[np.bool_]) -> Lesions:
        """Both outlines of the lesions of `rows`."""
        return Lesions.join(
            [self.lesions(rows, "reference"), self.lesions(rows, "own")]
        )

    def measured_alone(
        self, train: NDArray[np.bool_], test: NDArray[np.bool_], view: str
    ) -> NDArray[np.float64]:
        """The logits of `baseline` for the lesions of `test`."""
        measured = self.columns[f"{view}_measured"]
        known = train & self.is_lesion
        if view == "own":
            known = known & self.is_found
        test = test & self.is_lesion
        return baseline(measured[known], self.malignant[known], measured[test])

    def judged(
        self, rows: NDArray[np.bool_], view: str, head: MalignancyHead
    ) -> Judged:
        """The head's answers for the lesions of `rows`."""
        rows = rows & self.is_lesion
        vectors = self.columns[view][rows]
        is_found = self.is_found[rows] if view == "own" else np.ones(len(vectors), bool)
        logits = head.logits(vectors)
        probability = head.probabilities(logits)[:, 0].astype(float)
        outline = self.columns["outline"][rows]
        if view != "own":
            outline = np.ones_like(outline)
        answered = [
            found and head.why_withheld(float(value), float(sure), None) is None
            for value, sure, found in zip(probability, outline, is_found, strict=True)
        ]
        return Judged(
            self.malignant[rows],
            np.where(is_found, probability, np.nan),
            np.where(is_found, sigmoid(logits.mean(1)), np.nan),
            np.array(answered),
            self.columns["group"][rows],
            self.source[rows],
            self.columns["birads"][rows],
            self.columns["size"][rows],
        )


def join(parts: list[Judged]) -> Judged:
    names = Judged.__dataclass_fields__
    columns = [
        np.concatenate([getattr(part, name) for part in parts]) for name in names
    ]
    return Judged(*columns)


def baseline(
    known: NDArray[np.float32], malignant: NDArray[np.bool_], test: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Logistic regression on the measured features alone: a logit for each row of `test`."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = np.nanmean(known, 0), np.nanstd(known, 0) + 1e-6

    def scaled(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.nan_to_num((values - mean) / deviation).clip(-5, 5).astype(float)

    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(scaled(known), malignant)
    return np.asarray(model.decision_function(scaled(test)))


Fold = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def cross_validated(table: Table, folds: list[Fold]) -> dict[str, Any]:
    """The scores of heads that are each fitted to the training rows of a fold and read on its test rows."""
    views: dict[str, list[Judged]] = {"own": [], "reference": [], "whole": []}
    plain: dict[str, list[NDArray[np.float64]]] = {"own": [], "reference": []}
    rules = []
    for train, test in folds:
        known = table.training(train)
        fitted = fit_malignancy(known)
        rules.append(fitted.head.rules)
        for view in ("own", "reference"):
            views[view].append(table.judged(test, view, fitted.head))
            plain[view].append(table.measured_alone(train, test, view))
        whole = fit_malignancy(table.lesions(train, "whole"))
        views["whole"].append(table.judged(test, "whole", whole.head))
    found: dict[str, Any] = {}
    for view, parts in views.items():
        judged = join(parts)
        summary = malignancy_summary(judged, rules[0])
        # Each fold has thresholds of its own: what is said of them is the mean of the folds.
        summary["at"] = at_own_thresholds(parts, rules)
        if view in plain:
            summary["measured_alone"] = against(judged, np.concatenate(plain[view]))
        found[view] = summary
    found["own_to_whole"] = against_other(join(views["own"]), join(views["whole"]))
    found["rules"] = [asdict(each) for each in rules]
    return found


def at_own_thresholds(parts: list[Judged], rules: list[Any]) -> dict[str, Any]:
    """Sensitivity and specificity over all images, each called by the threshold of its own fold."""
    found = {}
    for name in ("balanced", "sensitive"):
        called, malignant = [], []
        for part, rule in zip(parts, rules, strict=True):
            is_found = np.isfinite(part.probability)
            called.append(part.probability[is_found] >= getattr(rule, name))
            malignant.append(part.malignant[is_found])
        all_called, truth = np.concatenate(called), np.concatenate(malignant)
        found[name] = {
            "sensitivity": float(all_called[truth].mean()),
            "specificity": float((~all_called[~truth]).mean()),
        }
    return found


def against(judged: Judged, logit: NDArray[np.float64]) -> dict[str, Any]:
    """AUC of the measured features alone, and the head's advantage over them."""
    rows = np.isfinite(judged.probability)
    part, other = judged.pick(rows), logit[rows]
    groups = list(part.groups)
    test = paired_auc_test(part.malignant, part.probability, other, groups)
    assert test is not None
    return {
        "auc": auc(part.malignant, other),
        "interval": auc_interval(part.malignant, other, groups),
        "head_minus_this": test[0],
        "difference_interval": test[1],
        "p": test[2],
    }


def against_other(one: Judged, other: Judged) -> dict[str, Any]:
    rows = np.isfinite(one.probability) & np.isfinite(other.probability)
    first, second = one.pick(rows), other.pick(rows)
    test = paired_auc_test(
        first.malignant, first.probability, second.probability, list(first.groups)
    )
    assert test is not None
    return {"difference": test[0], "interval": test[1], "p": test[2]}


def shuffled(table: Table, folds: list[Fold]) -> dict[str, Any]:
    """The AUC if labels are exchanged between patients before the heads are fitted: it must be near 0.5."""
    train, test = folds[0]
    random = np.random.default_rng(1)
    known = table.training(train)
    names, member = np.unique(known.groups, return_inverse=True)
    of_group = np.zeros(len(names), bool)
    of_group[member] = known.malignant
    wrong = Lesions(
        known.vectors,
        random.permutation(of_group)[member],
        known.groups,
        known.is_own,
        known.outline,
        known.dice,
    )
    judged = table.judged(test, "own", fit_malignancy(wrong).head)
    found = judged.pick(np.isfinite(judged.probability))
    groups = list(found.groups)
    return {
        "auc": auc(found.malignant, found.probability),
        "interval": auc_interval(found.malignant, found.probability, groups),
    }


def three_classes(data: Path) -> dict[str, Any]:
    """Benign, malignant or normal, by the bundle: normal where nothing is outlined, else by the balanced threshold."""
    segmenter = load("default")
    assert segmenter.head is not None
    threshold = segmenter.head.rules.balanced
    found = {}
    for subset in ("validation", "test"):
        pairs = []
        for source, case, about in known(data):
            if source == "busi" and about["subset"] == subset:
                lesions = segmenter.segment(case.image).lesions
                said = "normal"
                if lesions:
                    answer = lesions[0].malignancy
                    assert answer is not None
                    is_malignant = answer.probability >= threshold
                    said = "malignant" if is_malignant else "benign"
                pairs.append((case.label, said))
        counts = Counter(pairs)
        right = sum(number for (label, said), number in counts.items() if label == said)
        recall = []
        for kind in ("benign", "malignant", "normal"):
            total = sum(
                number for (label, _), number in counts.items() if label == kind
            )
            recall.append(counts[kind, kind] / total)
        found[subset] = {
            "images": len(pairs),
            "accuracy": right / len(pairs),
            "recall": dict(zip(("benign", "malignant", "normal"), recall, strict=True)),
            "called": {f"{a} as {b}": n for (a, b), n in sorted(counts.items())},
        }
    return found


def painted(
    image: NDArray[np.uint8], own: NDArray[np.bool_], what: str
) -> NDArray[np.uint8]:
    """The image without its marks, or without its lesion.

    marks: calipers and text are bright and thin: what a gray opening of 7 pixels takes away by more than 60, where the
    image is brighter than 180, is replaced by the opening; and the four corners (an eighth of each side) by the
    image's median, except for the lesion and its rim. lesion: the outline, grown by a twentieth of the image, is
    filled with the mean of the tissue around it.
    """
    from scipy import ndimage

    grown = ndimage.binary_dilation(own, iterations=max(1, image.shape[1] // 20))
    changed = image.copy()
    if what == "lesion":
        ring = ndimage.binary_dilation(grown, iterations=8) & ~grown
        changed[grown] = image[ring].mean() if ring.any() else image.mean()
    if what == "marks":
        opened = ndimage.grey_opening(image, (7, 7))
        is_mark = (image.astype(int) - opened > 60) & (image > 180)
        is_mark = ndimage.binary_dilation(is_mark, iterations=1)
        changed[is_mark] = opened[is_mark]
        height, width = (length // 8 for length in image.shape)
        corners = np.zeros(image.shape, bool)
        for rows in (slice(height), slice(-height, None)):
            corners[rows, :width] = corners[rows, -width:] = True
        changed[corners & ~grown] = np.median(image)
    return changed


def is_it_the_lesion(
    look: Callable[[NDArray[np.uint8]], Look],
    head: MalignancyHead,
    cases: Sequence[Case],
) -> dict[str, Any]:
    """The AUC on images that are painted over, under the own outline of the image as it is; and with random heads."""
    views: dict[str, list[NDArray[np.float32]]] = {
        "as it is": [],
        "marks": [],
        "lesion": [],
    }
    malignant, groups = [], []
    for case in cases:
        image = case.read_image()
        found = look(image)
        own = largest_lesion(enlarge(found.probability, image.shape) >= 0.5)
        if own.any():
            malignant.append(case.label == "malignant")
            groups.append(case.group)
            for what, vectors in views.items():
                if what != "as it is":
                    found = look(painted(image, own, what))
                vectors.append(pool_maps(found.maps, own))
    truth, scores_of, result = np.array(malignant), {}, {"images": len(malignant)}
    for what, vectors in views.items():
        logits = head.logits(np.stack(vectors)).mean(1).astype(float)
        scores_of[what] = logits
        result[what] = {
            "auc": auc(truth, logits),
            "interval": auc_interval(truth, logits, groups),
        }
    lost = paired_auc_test(truth, scores_of["as it is"], scores_of["marks"], groups)
    assert lost is not None
    result["lost with the marks"] = {
        "difference": lost[0],
        "interval": lost[1],
        "p": lost[2],
    }
    random = np.random.default_rng(0)
    shape = head.hidden.shape
    areas = []
    for _ in range(100):
        one = replace(
            head,
            hidden=random.normal(0, 0.05, shape).astype(np.float32),
            out=random.normal(0, 0.3, head.out.shape).astype(np.float32),
        )
        area = auc(truth, one.logits(np.stack(views["as it is"])).mean(1).astype(float))
        assert area is not None
        areas.append(area)
    result["random heads"] = {
        "mean auc": float(np.mean(areas)),
        "deviation": float(np.std(areas)),
    }
    return result


def marks(cache: Path, data: Path, network: str) -> dict[str, Any]:
    """`is_it_the_lesion` on BUSI, whose images have calipers and text burned in, with heads that have not seen it."""
    table = Table(cache, CROSS["busi"])
    head = fit_malignancy(table.training(table.source != "busi")).head
    look, _ = build(network)
    cases = [
        case
        for source, case, _ in known(data)
        if source == "busi" and case.label != "normal"
    ]
    return is_it_the_lesion(look, head, cases)


def failures(cache: Path, data: Path, network: str, out: Path) -> None:
    """A picture of the six images of BUSI whose probability is farthest from the truth: three of each kind.

    The heads have not seen BUSI. The own outline is drawn. The first row is benign, the second malignant.
    """
    table = Table(cache, CROSS["busi"])
    head = fit_malignancy(table.training(table.source != "busi")).head
    rows = np.flatnonzero((table.source == "busi") & table.is_lesion & table.is_found)
    probability = head.probabilities(head.logits(table.columns["own"][rows]))[:, 0]
    order = rows[np.argsort(probability)]
    is_malignant = table.malignant[order]
    worst = [*order[~is_malignant][::-1][:3], *order[is_malignant][:3]]
    cases, side = list(known(data)), 168
    look, _ = build(network)
    picture = Image.new("L", (3 * side, 2 * side))
    for place, row in enumerate(worst):
        source, case, _ = cases[row]
        image = case.read_image()
        own = largest_lesion(enlarge(look(image).probability, image.shape) >= 0.5)
        small = np.array(Image.fromarray(image).resize((side - 4, side - 4)))
        mask = resize_mask(own, (side - 4, side - 4))
        inner = mask.copy()
        inner[1:-1, 1:-1] &= (
            mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        )
        small[mask & ~inner] = 255
        picture.paste(Image.fromarray(small), (place % 3 * side, place // 3 * side))
        said = float(probability[rows == row][0])
        print(f"{source} {case.name}: {case.label}, probability {said:.2f}")
    picture.save(out, optimize=True)


def official_split(cache: Path) -> dict[str, Any]:
    """BUS-BRA, each of its five folds once as test; BUSI and BrEaST help to train."""
    table = Table(cache, CROSS["busbra"])
    is_busbra, fold = table.source == "busbra", table.columns["fold"]
    tests = [is_busbra & (fold == number) for number in range(5)]
    folds = [(~test, test) for test in tests]
    found = cross_validated(table, folds)
    return found | {"labels_shuffled": shuffled(table, folds)}


def other_hospital(cache: Path, source: str) -> dict[str, Any]:
    """All images of one data set as test; the other two train."""
    table = Table(cache, CROSS[source])
    is_test = table.source == source
    return cross_validated(table, [(~is_test, is_test)])


def scores(cache: Path, out: Path, parts: list[str]) -> None:
    """Fits the heads of each part and writes PART.json; all parts if none is named."""
    out.mkdir(parents=True, exist_ok=True)
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "busbra-folds": lambda: official_split(cache),
    }
    for source in SOURCES:
        known[f"without-{source}"] = partial(other_hospital, cache, source)
    for part in parts or known:
        write_json(out / f"{part}.json", known[part]())


def main() -> None:
    command, *rest = sys.argv[1:]
    if command == "features":
        features(rest[0], Path(rest[1]), Path(rest[2]))
    elif command == "marks":
        write_json(
            Path(rest[3]) / "marks.json", marks(Path(rest[1]), Path(rest[2]), rest[0])
        )
    elif command == "failures":
        failures(Path(rest[1]), Path(rest[2]), rest[0], Path(rest[3]))
    elif command == "three-classes":
        write_json(Path(rest[1]) / "three-classes.json", three_classes(Path(rest[0])))
    else:
        scores(Path(rest[0]), Path(rest[1]), rest[2:])


if __name__ == "__main__":
    main()
