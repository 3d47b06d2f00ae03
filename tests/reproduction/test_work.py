import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sonoseg.data import load_cases
from sonoseg.errors import InputError
from sonoseg.models.catalog import Recipe, find_experiment
from sonoseg.reproduction import work
from sonoseg.reproduction.jobs import plan
from sonoseg.reproduction.material import Material, chosen_pictures
from sonoseg.reproduction.settings import ReproductionSettings, recipe_of
from sonoseg.reproduction.training import configured, first_weights_for
from sonoseg.reproduction.work import check, check_settings, settings_of

FULL = ReproductionSettings(Path("BUSI"))
NO_IMAGES = Material({}, (), {"paper": ""}, {"paper": ""})


def test_the_paper_s_recipe_is_what_nothing_departs_from():
    assert FULL.departures() == []
    assert (
        FULL.recipe_of("model-2")
        == recipe_of("model-2")
        == replace(Recipe(), loss="dice")
    )
    assert FULL.recipe_of("swin-unet") == recipe_of("swin-unet") == Recipe()


def test_the_rivals_may_be_trained_as_their_authors_did():
    own = replace(FULL, recipe="own").recipe_of("swin-unet")
    assert own == find_experiment("swin-unet").recipe != Recipe()


def test_whatever_is_reduced_is_said():
    few = replace(
        FULL,
        size=96,
        epochs=5,
        learning_rate=1e-3,
        encoder_weights="runs/x",
        encoder_about="BUS-BRA",
    )
    words = " ".join(few.departures())
    for part in (
        "96 × 96 pixels",
        "epochs 5 instead of 50",
        "rate 0.001 instead of 0.0001",
        "started from BUS-BRA",
    ):
        assert part in words
    assert "frozen" in replace(FULL, encoder_weights="none").departures()[0]
    assert replace(FULL, size=224, epochs=50, batch=16).departures() == []


def test_a_job_is_configured_as_sonoseg_train_would(phantoms):
    (job,) = plan(("model-2",), ("grouped",), (7,))
    settings = replace(FULL, data=phantoms, epochs=3, size=64, encoder_weights="none")
    config, training, validation = configured(job, settings)
    assert config.recipe == replace(Recipe(), loss="dice", epochs=3)
    assert (config.model, config.split, config.seed, config.size) == (
        "model-2",
        "grouped",
        7,
        64,
    )
    assert config.encoder_weights == "none"
    assert training and validation


@pytest.fixture
def weights(tmp_path):
    """A file with the weights of one encoder."""
    file = tmp_path / "resnet.safetensors"
    save_file({"encoders.parts.resnet18.conv1.weight": torch.zeros(1)}, file)
    return str(file)


def test_first_weights_are_taken_only_where_all_encoders_are_there(weights):
    network = replace(find_experiment("model-7").network, encoders=("resnet18",))
    assert first_weights_for(network, weights) == weights
    assert first_weights_for(find_experiment("model-7").network, weights) == "none"


def test_random_encoders_are_never_frozen_unless_asked_for(weights):
    jobs = plan(("model-5",), ("paper",), (0,))
    with pytest.raises(
        InputError, match="lacks the encoders that model-5 keeps frozen"
    ):
        check(jobs, replace(FULL, encoder_weights=weights), NO_IMAGES)
    check(jobs, replace(FULL, encoder_weights="none"), NO_IMAGES)


def test_a_recipe_out_of_range_is_refused():
    with pytest.raises(InputError, match="--epochs 0"):
        check(plan(("model-1",), ("paper",), (0,)), replace(FULL, epochs=0), NO_IMAGES)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"explain": -1}, "--explain -1: is out of range"),
        (
            {"seeds": (0, -1)},
            "--seeds -1: is out of range; give a whole number from 0 to 16777215",
        ),
        ({"seeds": ()}, "names none"),
        ({"splits": ()}, "names none"),
        ({"size": 10**9}, "is not a multiple of 32 up to 4096"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        replace(FULL, **wrong).check()


def test_done_or_begun_with_other_settings_or_images_is_refused_and_the_difference_named(
    phantoms, tmp_path
):
    options = replace(FULL, data=phantoms, splits=("grouped",), out=tmp_path, epochs=3)
    material = Material.read(options)
    (job,) = plan(("model-1",), ("grouped",), (0,))
    check_settings(job, options, material)  # nothing is there
    folder = job.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(
        json.dumps(settings_of(job, options, material))
    )
    check_settings(job, options, material)
    with pytest.raises(
        InputError,
        match=r"holds model-1 with other settings: epochs \(3 there, 4 asked for\)",
    ):
        check_settings(job, replace(options, epochs=4), material)
    for key, words in (
        ("pixels", "other images or masks"),
        ("cases", "other labels, groups or spacings"),
    ):
        other = replace(material, **{key: {"grouped": "0" * 64}})
        with pytest.raises(
            InputError, match=f"holds model-1 with {words}; choose another --out"
        ):
            check_settings(job, options, other)


def test_a_result_without_a_hash_of_labels_and_groups_is_compared_by_its_pixels(
    tmp_path,
):
    """As the results are that are in this repository."""
    options = replace(FULL, out=tmp_path)
    (job,) = plan(("model-1",), ("paper",), (0,))
    folder = job.folder(tmp_path)
    folder.mkdir(parents=True)
    settings = settings_of(job, options, NO_IMAGES)
    del settings["cases"]
    (folder / "settings.json").write_text(json.dumps(settings))
    check_settings(job, options, replace(NO_IMAGES, cases={"paper": "other"}))


def test_the_results_of_an_earlier_bundled_model_are_not_taken_for_those_of_this_one(
    tmp_path, monkeypatch
):
    options = replace(FULL, out=tmp_path)
    (job,) = plan(("default",), ("paper",), (0,))
    folder = job.folder(tmp_path)
    folder.mkdir(parents=True)
    settings = settings_of(job, options, NO_IMAGES)
    (folder / "settings.json").write_text(json.dumps(settings))
    check_settings(job, options, NO_IMAGES)
    newer = tmp_path / "default.onnx"
    newer.write_bytes(b"newer")
    monkeypatch.setattr(work, "default_bundle_path", lambda: newer)
    with pytest.raises(
        InputError, match="holds default with a result of another version of it; delete"
    ):
        check_settings(job, options, NO_IMAGES)


def test_the_pixels_of_test_images_count_too(phantoms, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    options = replace(FULL, data=data, splits=("grouped",))
    before = Material.read(options)
    mask = data / "masks" / before.subsets["grouped"]["test"][0].name
    with Image.open(mask) as picture:
        pixels = np.array(picture)
    Image.fromarray(np.roll(pixels, 9, 0)).save(mask)
    assert Material.read(options).pixels != before.pixels


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unknown,", "benign,"),
        (",synthetic_03.png,", ",synthetic_04.png,"),
        (",0.1\n", ",0.2\n"),
    ],
    ids=["label", "group", "spacing"],
)
def test_the_label_group_and_spacing_of_an_image_count_too(
    phantoms, tmp_path, old, new
):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    split = tmp_path / "split.csv"
    options = replace(FULL, data=data, splits=(str(split),))
    subsets = Material.read(replace(options, splits=("grouped",))).subsets["grouped"]
    lines = ["file,subset"]
    for name, cases in subsets.items():
        lines += [f"{case.name},{name}" for case in cases]
    split.write_text("\n".join(lines))
    before = Material.read(options)
    table = data / "labels.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    after = Material.read(options)
    assert after.pixels == before.pixels
    assert after.cases != before.cases


def test_pictures_are_a_benign_and_a_malignant_one_or_those_asked_for(real_data):
    test = [
        case for case in load_cases(real_data / "busi") if case.name.endswith("(1).png")
    ]
    assert [case.label for case in chosen_pictures(test, ())] == ["benign", "malignant"]
    assert [case.name for case in chosen_pictures(test, ("normal (1).png",))] == [
        "normal (1).png"
    ]
    with pytest.raises(InputError, match=r"--pictures x\.png: is no test image"):
        chosen_pictures(test, ("x.png",))


def test_a_split_without_training_images_is_refused(phantoms):
    with pytest.raises(InputError, match="--split all: leaves no train images"):
        Material.read(replace(FULL, data=phantoms, splits=("all",)))
