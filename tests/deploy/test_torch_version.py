"""An export that fails with a PyTorch newer than tested says so in one line; any other failure stays as it is."""

import pytest
import torch

from sonoseg.deploy import torch_version
from sonoseg.deploy.torch_version import failures_explained, hint, is_newer_than_tested
from sonoseg.errors import InputError


@pytest.fixture
def too_new(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "99.0.1+cu999")


def test_versions_are_compared_as_numbers(monkeypatch):
    monkeypatch.setattr(torch_version, "NEWEST_TESTED", (2, 15))
    newer = ["2.16.0", "2.100.1+cpu", "3.0.0a0+git123"]
    older = ["2.9.1", "2.15.0+cu132", "2.15.3", "1.99"]
    assert all(map(is_newer_than_tested, newer))
    assert not any(map(is_newer_than_tested, older))


def test_a_failure_with_a_newer_torch_names_both_versions(too_new):
    with pytest.raises(InputError) as error, failures_explained("b.onnx"):
        raise KeyError("gone")
    assert str(error.value).startswith("b.onnx: the export failed (KeyError); ")
    assert "torch 99.0.1+cu999" in str(error.value)
    assert "2.15" in str(error.value) and "\n" not in str(error.value)


def test_other_failures_are_raised_as_they_are(too_new, monkeypatch):
    own = InputError("b.onnx", "is on a full disk", "empty it")
    for failure in (own, MemoryError(), KeyboardInterrupt()):
        with pytest.raises(type(failure)) as error, failures_explained("b.onnx"):
            raise failure
        assert error.value is failure
    monkeypatch.setattr(torch, "__version__", "2.15.0")
    with pytest.raises(KeyError), failures_explained("b.onnx"):
        raise KeyError("a bug of ours")


def test_the_hint_is_the_version_only_where_it_is_newer(too_new, monkeypatch):
    assert "tested up to" in hint("report this network")
    monkeypatch.setattr(torch, "__version__", "2.15.0")
    assert hint("report this network") == "report this network"
