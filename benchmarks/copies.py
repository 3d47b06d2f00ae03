"""What are near-copies worth? One network, trained with near-copies of the test images and without.

    python benchmarks/copies.py BUSI --without results/copies/without-*/test --with results/copies/with-*/test

Each folder is an evaluation of the split paper's test images. Their mean Dice over the folders of either kind is
compared on the images that have a near-copy among the others of that split, and on those that have none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import RESULTS, report
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import image_scores, included
from sonoseg.data.load import load_cases
from sonoseg.data.splits import leaked, split_cases
from sonoseg.evaluate.evaluated import Evaluated, in_order_of
from sonoseg.report.tables import interval_text


def mean_dice(folders: list[Path], reference: Evaluated) -> NDArray[np.float64]:
    """(N,) Dice `lesion` of each image with a lesion, the mean over the evaluations in `folders`."""
    told = (in_order_of(reference, Evaluated.read(folder)) for folder in folders)
    return np.mean(
        [image_scores(each.counts, "lesion")["dice"] for each in told], axis=0
    )


def draw(
    without: NDArray[np.float64],
    remembered: NDArray[np.float64],
    has_copy: NDArray[np.bool_],
) -> None:
    """Writes copies.png: each image's Dice, trained with the copies over trained without, (N,) each."""
    figure = Figure(figsize=(4.8, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=1, zorder=0)
    kinds = {
        "has a near-copy": (has_copy, "#d55e00", "o"),
        "has none": (~has_copy, "#0072b2", "x"),
    }
    for label, (chosen, colour, marker) in kinds.items():
        axes.scatter(
            without[chosen],
            remembered[chosen],
            26,
            colour,
            marker=marker,
            label=label,
            linewidths=1.2,
        )
    axes.set(
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.03),
        aspect="equal",
        title="What near-copies are worth, image by image",
    )
    axes.set(
        xlabel="Dice, trained without the copies", ylabel="Dice, trained with them"
    )
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(RESULTS / "copies.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("busi", type=Path)
    parser.add_argument("--without", nargs="+", type=Path, required=True)
    parser.add_argument(
        "--with", nargs="+", type=Path, required=True, dest="remembered"
    )
    options = parser.parse_args()
    copied = leaked(split_cases(load_cases(options.busi), "paper"), "test")
    reference = Evaluated.read(options.without[0])
    lesion = included(reference.counts, "lesion")
    groups = np.array(reference.groups)[lesion]
    has_copy = np.array([name in copied for name in reference.files])[lesion]
    without, remembered = (
        mean_dice(folders, reference)
        for folders in (options.without, options.remembered)
    )
    rows = []
    for what, chosen in {
        "with a near-copy": has_copy,
        "without": ~has_copy,
        "all": np.ones_like(has_copy),
    }.items():
        difference = (remembered - without)[chosen]
        interval = bootstrap_interval(difference, list(groups[chosen]))
        rows.append(
            {
                "test images": what,
                "with a lesion": int(chosen.sum()),
                "Dice, trained without the copies": round(
                    float(without[chosen].mean()), 3
                ),
                "and with them": round(float(remembered[chosen].mean()), 3),
                "difference": f"{difference.mean():+.3f} ({interval_text(interval, '+.3f')})",
            }
        )
    report("copies", {"trainings of each kind": len(options.without)}, rows)
    draw(without, remembered, has_copy)


if __name__ == "__main__":
    main()
