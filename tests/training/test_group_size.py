"""How many networks are trained together: a rule on the CPU, a trial on a GPU (here one that is made up)."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from autosparse.training import Execution, Recipe
from autosparse.training import group_size as module
from autosparse.training.group_size import ON_CPU, group_size
from autosparse.training.stack import Stack

RECIPE = Recipe(epochs=1, batch_size=8)


def linear(*widths):
    def make(seed):
        layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers)

    return make


def convolutional(seed):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


@pytest.mark.parametrize(
    ("make", "most", "expected"),
    [
        (linear(64, 30, 10), 3, 3),
        (linear(64, 30, 10), 100, ON_CPU),
        (linear(64, 30, 10), 1, 1),
        (linear(64, 1400, 10), 100, 1),  # 105,010 parameters
        (convolutional, 100, 1),
        (lambda seed: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10)), 100, 1),
    ],
    ids=["few", "many", "one", "large", "convolutional", "draws at random"],
)
def test_on_a_cpu_small_networks_of_linear_layers_go_together(tiny_digits, make, most, expected):
    assert group_size(make, tiny_digits, RECIPE, Execution(), most=most) == expected


class Device:
    """A GPU of 4000 bytes, 1000 of them free, on which a network takes 100."""

    def __init__(self):
        self.peak, self.emptied = 7000, 0

    def reset_peak_memory_stats(self, device):
        self.peak = 50

    def memory_allocated(self, device):
        return 50

    def max_memory_allocated(self, device):
        return self.peak

    def mem_get_info(self, device):
        return 1000, 4000

    def empty_cache(self):
        self.emptied += 1


@pytest.fixture
def gpu(monkeypatch):
    device = Device()
    monkeypatch.setattr(module, "backend", lambda _: device)
    return device


def asked(tiny_digits, seconds, monkeypatch, gpu, share=1.0, most=32):
    """How many go together if a trial takes ``seconds(count)``, and the trials that were made."""
    tried = []

    def trial(make, count, *_):
        tried.append(count)
        gpu.peak = max(gpu.peak, 50 + 100 * count)
        return seconds(count)

    monkeypatch.setattr(module, "_seconds", trial)
    return module._on_gpu(linear(64, 10), tiny_digits, RECIPE, Execution(), share, most), tried


def test_as_many_as_fit_in_half_of_the_free_memory_are_tried(tiny_digits, monkeypatch, gpu):
    assert asked(tiny_digits, lambda count: 1.0, monkeypatch, gpu) == (5, [1, 5])
    assert asked(tiny_digits, lambda count: 1.0, monkeypatch, gpu, share=0.1) == (2, [1, 2])
    assert asked(tiny_digits, lambda count: 1.0, monkeypatch, gpu, most=3) == (3, [1, 3])


def test_where_it_takes_no_less_time_each_is_trained_alone(tiny_digits, monkeypatch, gpu):
    assert asked(tiny_digits, lambda count: 1.01 * count, monkeypatch, gpu)[0] == 1


def test_where_memory_runs_short_half_as_many_are_tried(tiny_digits, monkeypatch, gpu):
    def seconds(count):
        if count > 2:
            raise torch.OutOfMemoryError
        return 1.0

    assert asked(tiny_digits, seconds, monkeypatch, gpu) == (2, [1, 5, 2])
    assert gpu.emptied == 1


def test_a_device_that_does_not_tell_its_memory_trains_them_one_by_one(tiny_digits, monkeypatch):
    monkeypatch.setattr(module, "backend", lambda _: SimpleNamespace())
    assert module._on_gpu(linear(64, 10), tiny_digits, RECIPE, Execution(), 1.0, 32) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_trial_warms_up_and_then_times_ten_steps(tiny_digits, monkeypatch, count):
    ran, train_epoch = [], module.train_epoch

    def noted(model, batches, step, steps):
        ran.append((type(model) is Stack, len(steps)))
        return train_epoch(model, batches, step, steps)

    monkeypatch.setattr(module, "train_epoch", noted)
    monkeypatch.setattr(module, "backend", lambda _: SimpleNamespace(synchronize=lambda device: None))
    assert module._seconds(linear(64, 10), count, tiny_digits, RECIPE, Execution()) > 0
    assert ran == [(count > 1, 3), (count > 1, 10)]
