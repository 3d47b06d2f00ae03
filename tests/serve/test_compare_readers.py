"""`sonoseg compare-readers`: its numbers are those of scikit-learn; readers and network on the same images."""

import functools
import json

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.metrics import cohen_kappa_score, f1_score

from sonoseg.cli import main
from sonoseg.core.image import parse_spacing
from sonoseg.core.kappa import kappa, kappa_of_table
from sonoseg.core.measure import find_lesions
from sonoseg.data import phantom
from sonoseg.serve.calipers import diameters_text
from sonoseg.serve.compare_readers import find_readers

make_phantom = functools.cache(phantom.make_phantom)
IMAGES = ("one.png", "two.png", "three.png", "four.png")


def write(folder, reader, accepted, place="", spacing="", calipers=None):
    """Writes what sonoseg serve leaves of a reader: (mask, label) by file, and calipers as (file, text)."""
    own = folder / "annotations" / (place or reader.lower())
    rows = ["file,label,birads,note,reader,accepted,changed"]
    sizes = ["file,label,group,spacing,diameters"]
    for part in ("images", "masks"):
        (own / part).mkdir(parents=True)
    for file, (mask, label) in accepted.items():
        image, _ = make_phantom(IMAGES.index(file))
        Image.fromarray(image).save(own / "images" / file)
        Image.fromarray(mask.astype(np.uint8) * 255).save(own / "masks" / file)
        changed = "outline, calipers" if file in (calipers or {}) else "outline"
        rows.append(f'{file},{label},,,{reader},2026-01-01,"{changed}"')
        worked_out = diameters_text(lesions_of(mask, spacing))
        diameters = (calipers or {}).get(file, worked_out)
        sizes.append(f"{file},{label},,{spacing},{diameters}")
    (own / "annotations.csv").write_text("\n".join(rows) + "\n")
    (own / "labels.csv").write_text("\n".join(sizes) + "\n")


def lesions_of(mask, spacing=""):
    known = parse_spacing(spacing) if spacing else None
    return find_lesions(mask, mask.astype(np.float32), spacing=known)


@pytest.fixture
def readers(tmp_path):
    """Anna and Ben, who share three images, and their masks and labels."""
    masks = [make_phantom(seed)[1] for seed in range(4)]
    none = np.zeros_like(masks[2])
    anna = {
        "one.png": (masks[0], "benign"),
        "two.png": (masks[1], "malignant"),
        "three.png": (masks[2], "benign"),
        "four.png": (masks[3], "uncertain"),
    }
    ben = {
        "one.png": (np.roll(masks[0], 9, axis=0), "benign"),
        "two.png": (np.roll(masks[1], 5, axis=1), "benign"),
        "three.png": (none, "normal"),
    }
    write(tmp_path, "Anna", anna)
    write(tmp_path, "Ben", ben)
    return tmp_path, anna, ben


def run(folder, capsys):
    assert main(["compare-readers", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def wanted(one, other):
    """Dice and the two kappas of masks of both, by scikit-learn."""
    dice = []
    for first, second in zip(one, other, strict=True):
        if first.any() or second.any():
            dice.append(f1_score(first.ravel(), second.ravel(), zero_division=0))
    first = np.concatenate([mask.ravel() for mask in one])
    second = np.concatenate([mask.ravel() for mask in other])
    seen = [[bool(mask.any()) for mask in masks] for masks in (one, other)]
    kappas = cohen_kappa_score(first, second), cohen_kappa_score(*seen)
    return [np.mean(dice), *kappas]


def test_readers_agree_as_scikit_learn_says(readers, capsys):
    folder, anna, ben = readers
    found = run(folder, capsys)[0]
    assert (found["first"], found["second"], found["images"]) == ("Anna", "Ben", 3)
    one, other = ([each[name][0] for name in IMAGES[:3]] for each in (anna, ben))
    shown = [found[name] for name in ("dice", "kappa_pixels", "kappa_lesion")]
    assert 0.1 < shown[0] < 0.9
    np.testing.assert_allclose(shown, wanted(one, other), atol=1e-9)
    labels = [[each[name][1] for name in IMAGES[:3]] for each in (anna, ben)]
    assert found["kappa_label"] == pytest.approx(cohen_kappa_score(*labels))


@pytest.mark.filterwarnings("ignore:A single label", "ignore:.*only one label")
def test_the_network_is_compared_on_all_images_of_a_reader(readers, capsys, segmenter):
    folder, anna, _ = readers
    found = run(folder, capsys)
    pairs = [(one["first"], one["second"], one["images"]) for one in found]
    assert pairs == [("Anna", "Ben", 3), ("Anna", "network", 4), ("Ben", "network", 3)]
    network = []
    for seed in range(4):
        network.append(segmenter.segment(make_phantom(seed)[0]).mask)
    dice, pixels, _ = wanted([anna[name][0] for name in IMAGES], network)
    assert found[1]["dice"] == pytest.approx(dice)
    assert found[1]["kappa_pixels"] == pytest.approx(pixels)
    assert found[1]["kappa_label"] is None


BENS = (1.5, -0.5, 2.0)
"""Ben's longest diameters are so many mm longer than Anna's."""


@pytest.fixture
def measurers(tmp_path):
    """Anna and Ben with the same outlines at 0.1 mm; Ben has put calipers on all three."""
    masks = {
        name: (make_phantom(seed)[1], "benign") for seed, name in enumerate(IMAGES[:3])
    }
    calipers = {}
    for (name, (mask, _)), longer in zip(masks.items(), BENS, strict=True):
        longest = lesions_of(mask, "0.1")[0].longest.length + longer
        calipers[name] = f"{longest:.4f} x 3 mm"
    write(tmp_path, "Anna", masks, spacing="0.1")
    write(tmp_path, "Ben", masks, spacing="0.1", calipers=calipers)
    return tmp_path, masks


def test_calipers_are_compared_and_not_outlines(measurers, capsys):
    folder, masks = measurers
    found = run(folder, capsys)[0]
    assert found["dice"] == 1
    anna = np.array(
        [lesions_of(masks[name][0], "0.1")[0].longest.length for name in IMAGES[:3]]
    )
    ben = anna + BENS
    sizes = found["sizes"]
    assert (sizes["images"], sizes["images_metric"], sizes["missed"]) == (3, 3, 0)
    percent = 200 * (ben - anna) / (ben + anna)
    longest = sizes["longest_diameter"]
    assert longest["percent"]["bias"] == pytest.approx(percent.mean(), abs=0.02)
    reach = 1.96 * percent.std(ddof=1)
    limits = [percent.mean() - reach, percent.mean() + reach]
    assert longest["percent"]["limits"] == pytest.approx(limits, abs=0.05)
    assert longest["absolute"]["bias"] == pytest.approx((ben - anna).mean(), rel=1e-3)
    assert 0 < longest["absolute"]["icc"] < 1
    assert sizes["area"]["absolute"]["icc"] == pytest.approx(1)  # of the outlines
    assert main(["compare-readers", str(folder)]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert (
        f"{percent.mean():+.1f}" in row and f"{longest['absolute']['icc']:.3f}" in row
    )


def test_the_network_is_measured_with_the_readers_pixel_size(
    measurers, capsys, segmenter
):
    folder, masks = measurers
    found = run(folder, capsys)[2]
    assert (found["first"], found["second"]) == ("Ben", "network")
    difference = []
    for seed, name in enumerate(IMAGES[:3]):
        network = segmenter.segment(make_phantom(seed)[0], 0.1).lesions[0]
        anna = lesions_of(masks[name][0], "0.1")[0]
        ben = anna.longest.length + BENS[seed]
        difference.append(network.longest.length - ben)
    absolute = found["sizes"]["longest_diameter"]["absolute"]
    assert absolute["bias"] == pytest.approx(np.mean(difference), abs=1e-3)


def test_millimetres_are_not_compared_with_pixels(tmp_path, capsys):
    accepted = {"one.png": (make_phantom(0)[1], "benign")}
    write(tmp_path, "Anna", accepted, spacing="0.1")
    write(tmp_path, "Ben", accepted)
    first, *_ = run(tmp_path, capsys)
    assert first["images"] == first["other_pixel_size"] == 1
    assert first["sizes"]["images"] == 0
    assert first["sizes"]["longest_diameter"] == {"percent": None, "absolute": None}
    assert main(["compare-readers", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[-4:] == ["0", "–", "–", "–"]


@pytest.mark.parametrize(("spacing", "left_out"), [("0.2", 1), ("0.10000001", 0)])
def test_two_pixel_sizes_say_nothing_of_how_readers_measure(
    tmp_path, capsys, spacing, left_out
):
    accepted = {"one.png": (make_phantom(0)[1], "benign")}
    write(tmp_path, "Anna", accepted, spacing="0.1")
    write(tmp_path, "Ben", accepted, spacing=spacing)
    first, *others = run(tmp_path, capsys)
    assert first["other_pixel_size"] == left_out
    assert first["sizes"]["images"] == 1 - left_out
    assert all(one["sizes"]["images"] == 1 for one in others)
    assert main(["compare-readers", str(tmp_path)]) == 0
    says = "Of sizes, 1 comparison with different pixel sizes left out."
    assert (says in capsys.readouterr().out) == bool(left_out)


def test_sizes_that_are_not_those_of_the_mask_are_one_line(tmp_path, capsys):
    """Somebody typed another pixel size into the table: the lengths beside it are of the old one."""
    accepted = {"one.png": (make_phantom(0)[1], "benign")}
    write(tmp_path, "Anna", accepted, spacing="0.1")
    table = tmp_path / "annotations" / "anna" / "labels.csv"
    table.write_text(table.read_text().replace(",0.1,", ",0.2,"))
    assert main(["compare-readers", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{table}: the diameters of one.png are not those" in error


def test_two_rows_of_an_image_are_one_line(tmp_path, capsys):
    write(tmp_path, "Anna", {"one.png": (make_phantom(0)[1], "benign")})
    table = tmp_path / "annotations" / "anna" / "labels.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    assert main(["compare-readers", str(tmp_path)]) == 2
    assert f"{table}: has two rows for one.png" in capsys.readouterr().err


def test_a_reader_who_changed_nothing_measures_as_the_network(
    tmp_path, capsys, segmenter
):
    mask = segmenter.segment(make_phantom(0)[0]).mask
    write(tmp_path, "Anna", {"one.png": (mask, "benign")}, spacing="0.0713")
    (only,) = run(tmp_path, capsys)
    assert only["sizes"]["longest_diameter"]["percent"]["bias"] == 0


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            " x 3 mm",
            " x 3 px",
            "has no sizes as sonoseg serve writes them for one.png",
        ),
        (
            " x 3 mm",
            " and long",
            "has no sizes as sonoseg serve writes them for one.png",
        ),
        (
            " x 3 mm",
            " x 3 mm; 3 x 2 mm",
            "the diameters of one.png are not those of its mask and pixel size",
        ),
        *(
            (" x 3 mm", f" x {length} mm", "has no sizes as sonoseg serve writes them")
            for length in ("0", "-3", "nan", "inf", "1e308")
        ),
        (",0.1,", ",zero,", "has no sizes as sonoseg serve writes them for one.png"),
        ("one.png", "other.png", "has no row for one.png, which annotations.csv has"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(measurers, capsys, before, after, says):
    folder, _ = measurers
    table = folder / "annotations" / "ben" / "labels.csv"
    table.write_text(table.read_text().replace(before, after))
    assert main(["compare-readers", str(folder)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.filterwarnings("ignore:A single label", "ignore:.*only one label")
def test_two_readings_of_one_reader_are_compared_with_each_other(
    tmp_path, capsys, segmenter
):
    images = [make_phantom(seed)[0] for seed in range(4)]
    left = [np.zeros(image.shape, bool) for image in images]
    for mask in left:
        mask[50:90, 40:80] = True
    right = [np.fliplr(mask) for mask in left]
    labels = (
        ("benign", "malignant", "benign", "benign"),
        ("benign", "malignant", "malignant", "uncertain"),
    )
    for place, masks, words in zip(("1", "2"), (left, right), labels, strict=True):
        accepted = dict(zip(IMAGES, zip(masks, words, strict=True), strict=True))
        write(tmp_path, "Anna", accepted, place)
    found = run(tmp_path / "annotations", capsys)
    pairs = [(one["first"], one["second"], one["images"]) for one in found]
    assert pairs == [
        ("Anna (1)", "Anna (2)", 4),
        ("Anna (1)", "network", 4),
        ("Anna (2)", "network", 4),
    ]
    assert found[0]["dice"] == 0
    assert found[0]["kappa_pixels"] == pytest.approx(wanted(left, right)[1])
    assert found[0]["kappa_label"] == pytest.approx(cohen_kappa_score(*labels))
    network = [segmenter.segment(image).mask for image in images]
    for one, masks in zip(found[1:], (left, right), strict=True):
        dice, pixels, _ = wanted(masks, network)
        assert one["dice"] == pytest.approx(dice)
        assert one["kappa_pixels"] == pytest.approx(pixels)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (
            {"a": "network", "b": "network (reader)"},
            ["network (reader) (a)", "network (reader) (b)"],
        ),
        (
            {"a": "Eva", "b": "Eva", "c": "Eva (a)"},
            ["Eva (a) (a)", "Eva (a) (c)", "Eva (b)"],
        ),
        ({"a": "Eva", "b": "eva"}, ["Eva", "eva"]),
    ],
)
def test_no_two_readers_have_one_name(tmp_path, names, shown):
    accepted = {"one.png": (make_phantom(0)[1], "benign")}
    for place, name in names.items():
        write(tmp_path, name, accepted, place)
    readers = find_readers(tmp_path / "annotations")
    assert [reader.name for reader in readers] == shown
    assert {reader.folder.name for reader in readers} == set(names)


def test_one_reader_in_two_places_of_a_folder_is_two_readings(tmp_path):
    accepted = {"one.png": (make_phantom(0)[1], "benign")}
    write(tmp_path, "Anna", accepted)
    write(tmp_path / "images", "Anna", accepted)
    names = [reader.name for reader in find_readers(tmp_path)]
    assert names == ["Anna (annotations/anna)", "Anna (images/annotations/anna)"]


def test_different_images_of_one_name_are_one_line(readers, capsys):
    folder, _, _ = readers
    path = folder / "annotations" / "ben" / "images" / "two.png"
    ImageOps.mirror(Image.open(path)).save(path)
    assert main(["compare-readers", str(folder)]) == 2
    assert "two.png: is another image for Anna than for Ben" in capsys.readouterr().err


def test_the_same_pixels_in_other_bytes_are_the_same_image(readers, capsys):
    folder, _, _ = readers
    before = run(folder, capsys)
    path = folder / "annotations" / "ben" / "images" / "two.png"
    Image.open(path).save(path, compress_level=0)
    assert run(folder, capsys) == before


def test_the_table_has_a_row_for_each_pair(readers, capsys):
    folder, _, _ = readers
    assert main(["compare-readers", str(folder / "annotations")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["first", "second", "images"]
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["Anna", "Ben", "3"],
        ["Anna", "network", "4"],
        ["Ben", "network", "3"],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    one = [str(each) for each in random.integers(0, 4, 50)]
    other = [
        each if random.random() < 0.6 else str(random.integers(0, 5)) for each in one
    ]
    assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))


def test_kappa_of_nothing_and_of_one_word_is_none():
    assert kappa([], []) is None
    assert kappa(["a", "a"], ["a", "a"]) is None
    assert kappa(["a", "b"], ["a", "b"]) == 1
    assert kappa_of_table([[0, 3], [3, 0]]) == -1


def test_a_folder_without_readers_is_one_line(tmp_path, capsys):
    assert main(["compare-readers", str(tmp_path)]) == 2
    assert main(["compare-readers", str(tmp_path / "nothing")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert all("accepted" in line for line in lines)


def test_an_outline_that_is_not_filled_is_one_line(readers, capsys):
    """Its Dice would say that the readers disagree."""
    folder, anna, _ = readers
    mask, _ = anna["one.png"]
    inner = mask[2:-2, 2:-2] & mask[4:, 2:-2] & mask[:-4, 2:-2]
    inner &= mask[2:-2, 4:] & mask[2:-2, :-4]
    ring = mask & ~np.pad(inner, 2)
    path = folder / "annotations" / "ben" / "masks" / "one.png"
    Image.fromarray(ring.astype(np.uint8) * 255).save(path)
    assert main(["compare-readers", str(folder)]) == 2
    assert "one.png: the mask seems to be an outline" in capsys.readouterr().err


def test_masks_of_different_sizes_are_one_line(readers, capsys):
    folder, _, _ = readers
    mask = folder / "annotations" / "ben" / "masks" / "one.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(mask)
    assert main(["compare-readers", str(folder)]) == 2
    assert "one.png" in capsys.readouterr().err
