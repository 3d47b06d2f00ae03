"""A small synthetic data set with the table of BrEaST."""

from pathlib import Path

from sonoseg.data.phantom import write_phantoms

HEADER = "Image_filename,Shape,Margin,Echogenicity,Posterior_features"
ROWS = (
    "oval,circumscribed,hypoechoic,no",
    "irregular,not circumscribed - angular&indistinct,heterogeneous,shadowing",
    "oval,circumscribed,anechoic,enhancement",
    "irregular,not circumscribed - spiculated&microlobulated,hypoechoic,no",
    "round,circumscribed,isoechoic,no",
)
NOTHING = ",".join(["not applicable"] * 4)


def write_breast(folder: Path, count: int) -> None:
    """Phantoms, and words for those with a lesion, which have nothing to do with them."""
    write_phantoms(folder, count)
    lines = [HEADER]
    masks = {path.stem.removesuffix("_mask") for path in (folder / "masks").iterdir()}
    for number, image in enumerate(sorted((folder / "images").iterdir())):
        words = ROWS[number % len(ROWS)] if image.stem in masks else NOTHING
        lines.append(f"{image.name},{words}")
    (folder / "clinical.csv").write_text("\n".join(lines) + "\n")
