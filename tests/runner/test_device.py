"""Devices by the names that users type."""

from types import SimpleNamespace

import pytest
import torch

from autosparse.errors import AutosparseError
from autosparse.experiment.environment import describe_device
from autosparse.runner.work.gpu_check import device_named


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, as far as their number goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"a card called {device}")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_goes_by_its_name(gpus, name):
    assert device_named(name) == name


def test_auto_is_the_gpu_where_there_is_one(gpus):
    assert device_named("auto") == "cuda"


def test_one_too_many_is_told_of(gpus):
    with pytest.raises(AutosparseError, match=r"^there is no device 'cuda:2' here: PyTorch sees 2 of its kind"):
        device_named("cuda:2")


def test_without_a_gpu_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named("auto") == "cpu"
    with pytest.raises(AutosparseError, match="PyTorch sees 0 of its kind; take cpu or auto"):
        device_named("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta"])
def test_a_name_that_is_none_is_told_of(name):
    with pytest.raises(AutosparseError, match=f"^no device is called '{name}': take cpu, cuda, cuda:1 or auto$"):
        device_named(name)


def test_a_device_is_described_by_its_own_name(gpus):
    assert describe_device("cuda:1")["device_name"] == "a card called cuda:1"


def test_a_device_whose_module_tells_no_name_is_called_by_its_kind(monkeypatch):
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace())
    assert describe_device("mps")["device_name"] == "mps"
