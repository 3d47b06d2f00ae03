"""Derives src/sonoseg/data/busi.csv: what sonoseg knows of BUSI's 1,578 files.

Run once, with the published checksums, the list of near-copies by Pawłowska et al. 2023 and the images:

    python benchmarks/make_busi_table.py CURATION.csv SHA256SUMS.txt BUSI_FOLDER

- near-copy groups: the published ones, joined with every pair whose 64×64 normalised cross-correlation is
  above 0.93 and with two suspects found by eye;
- `paper`: the 780 paths sorted as strings, 78 held out for testing by scikit-learn's train_test_split with
  random_state=42, then 78 of the rest for validation in the same way;
- `paper-clean`: of `paper`, training images in a group with a validation or test image are left out, and
  validation images in a group with a test image;
- folds of `grouped`: five, stratified by class, groups never apart;
- `look`: the fingerprint of the image, by which BUSI is known from own images of the same names;
- `labelled`: 1 for the images that Pawłowska et al. keep: one of each set of copies, and none to which they object.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sklearn.model_selection import train_test_split

from sonoseg.core.image import read_image
from sonoseg.data.copies import connected, fingerprint, near_copies, thumbnail
from sonoseg.data.splits import stratified_folds
from sonoseg.files import write_text

SUSPECTS = [
    *(
        ("malignant/malignant (3).png", f"malignant/malignant ({number}).png")
        for number in range(4, 10)
    ),
    ("benign/benign (435).png", "benign/benign (433).png"),
]
TABLE = Path(__file__).parent.parent / "src" / "sonoseg" / "data" / "busi.csv"


def groups(paths: list[str], curation: Path, images: Path) -> list[str]:
    """The near-copy group of each image, named after the group's first image."""
    with curation.open(newline="", encoding="utf-8") as file:
        published = {
            f"{row['class']}/{row['file']}": row["group"]
            for row in csv.DictReader(file)
        }
    index = {path: number for number, path in enumerate(paths)}
    first = {published[path]: index[path] for path in reversed(paths)}
    pairs = [(first[published[path]], index[path]) for path in paths]
    pairs += near_copies(
        [thumbnail(read_image(images / path).pixels) for path in paths]
    )
    pairs += [(index[a], index[b]) for a, b in SUSPECTS]
    names = dict.fromkeys(paths, "")
    for members in connected(len(paths), pairs):
        names.update(
            {paths[member]: Path(paths[members[0]]).stem for member in members}
        )
    return list(names.values())


def paper(paths: list[str]) -> list[str]:
    """The subset of each image in the paper's split."""
    rest, test = train_test_split(paths, test_size=78, random_state=42)
    _, validation = train_test_split(rest, test_size=78, random_state=42)
    subset_of = dict.fromkeys(paths, "train") | dict.fromkeys(validation, "validation")
    return list((subset_of | dict.fromkeys(test, "test")).values())


def paper_clean(subsets: list[str], group_of: list[str]) -> list[str]:
    """The paper's split without what gives the validation or test images away; "" for an image left out."""
    held = {
        subset: {
            group
            for group, other in zip(group_of, subsets, strict=True)
            if other == subset
        }
        for subset in ("validation", "test")
    }
    spoilt = {
        "train": held["validation"] | held["test"],
        "validation": held["test"],
        "test": set(),
    }
    return [
        "" if group in spoilt[subset] else subset
        for subset, group in zip(subsets, group_of, strict=True)
    ]


def labelled(paths: list[str], curation: Path) -> list[int]:
    """1 for each image whose label can be learned, 0 for the others."""
    kept = set()
    with curation.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row["objection"] and row["kept_by_dedup"] == "1":
                kept.add(f"{row['class']}/{row['file']}")
    return [int(path in kept) for path in paths]


def main() -> None:
    curation, sums, images = map(Path, sys.argv[1:])
    digests = {
        line[66:].strip().removeprefix("./"): line[:64]
        for line in sums.read_text(encoding="utf-8").splitlines()
    }
    paths = sorted(path for path in digests if "_mask" not in path)
    group_of = groups(paths, curation, images)
    subsets = paper(paths)
    folds = stratified_folds([path.split("/")[0] for path in paths], group_of)
    clean, kept = paper_clean(subsets, group_of), labelled(paths, curation)
    looks = [f"{fingerprint(read_image(images / path).pixels):016x}" for path in paths]
    columns = zip(group_of, subsets, clean, folds, kept, looks, strict=True)
    facts = dict(zip(paths, columns, strict=True))
    lines = ["path,sha256,group,paper,paper_clean,fold,labelled,look"]
    for path in sorted(digests):
        lines.append(
            ",".join(map(str, (path, digests[path], *facts.get(path, ("",) * 6))))
        )
    write_text(TABLE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
