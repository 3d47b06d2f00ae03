import os
import shutil

import pytest

from sonoseg.cli import main
from sonoseg.data.phantom import write_phantoms


def ten_phantoms(made_once):
    """The folder of ten small synthetic images, two of them without lesion."""
    return made_once(
        "phantoms", lambda folder: write_phantoms(folder, 10, seed=1, size=(128, 160))
    )


@pytest.fixture(scope="session")
def phantoms(made_once):
    """`ten_phantoms`"""
    return ten_phantoms(made_once)


def smallest(data, out):
    """The command line of the smallest reproduction, without its models."""
    line = f"reproduce --data {data} --out {out} --split grouped --encoder-weights none"
    line += " --size 32 --epochs 1 --batch 4 --explain 1"
    return line.split()


@pytest.fixture
def words(phantoms, tmp_path):
    """The command line of the smallest reproduction, but for its models."""
    return smallest(phantoms, tmp_path / "out")


def train_smallest(made_once):
    """The output folder of the smallest reproduction of Model 15, on `ten_phantoms`."""
    data = ten_phantoms(made_once)

    def train(out):
        assert main([*smallest(data, out), "--models", "15"]) == 0

    return made_once("model-15", train)


@pytest.fixture(scope="session")
def trained(made_once):
    """`train_smallest`"""
    return train_smallest(made_once)


@pytest.fixture
def with_model_15(trained, tmp_path):
    """A copy of `trained` in the output folder of `words`. Its files are links: they may be replaced, not changed."""
    return shutil.copytree(trained, tmp_path / "out", copy_function=os.link)
