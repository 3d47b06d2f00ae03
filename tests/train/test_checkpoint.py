from __future__ import annotations

import pytest
import torch
from torch import nn

from sonoseg.errors import InputError
from sonoseg.models.catalog import Recipe
from sonoseg.models.network import SegmentationNetwork
from sonoseg.train.checkpoint import restore, save_checkpoint
from sonoseg.train.device import make_fabric
from sonoseg.train.processes import Processes
from sonoseg.train.step import Learner
from sonoseg.train.teachers import Teachers

HISTORY = [{"epoch": 1.0, "validation_dice": 0.5, "validation_loss": 0.4}]


class Small(SegmentationNetwork):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)


def learner(epochs: int) -> Learner:
    fabric = make_fabric(Processes())
    recipe = Recipe(epochs=epochs)
    return Learner(fabric, Small(), recipe, 0, 10, Teachers([]), bfloat16=False)


@pytest.fixture
def begun_by_two(tmp_path):
    """The checkpoint of a training of two epochs that two processes began."""
    file = tmp_path / "last.ckpt"
    save_checkpoint(file, learner(2), HISTORY)
    torch.save(torch.load(file, weights_only=True) | {"processes": 2}, file)
    return file


def test_a_training_goes_on_with_as_many_processes_as_began_it(begun_by_two):
    """With another number it has another number of steps: it would end in a traceback, or learn nothing."""
    with pytest.raises(InputError, match="was begun by 2 processes; start it with"):
        restore(begun_by_two, learner(2))


def test_a_training_of_one_process_goes_on_with_one(tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    save_checkpoint(file, learner(2), HISTORY)
    assert restore(file, learner(2)) == HISTORY
    two = learner(2)
    monkeypatch.setattr(type(two.fabric), "world_size", 2)
    with pytest.raises(InputError, match="was begun by one process; start it without"):
        restore(file, two)


def test_of_a_finished_training_the_number_does_not_matter(begun_by_two):
    assert restore(begun_by_two, learner(1)) == HISTORY
