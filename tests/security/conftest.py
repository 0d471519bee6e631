"""Little memory, and a survival set, for the tests that give loaders anything."""

import resource
from pathlib import Path

import pytest
import torch

from autosparse.irp import Survival


@pytest.fixture
def little_memory():
    """Fails what asks for 4 GiB more than is in use."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 4 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def survival():
    draws = torch.Generator().manual_seed(0)
    param, grad = torch.randn(2, 40, 10, generator=draws)
    return Survival({"w": param}, {"w": grad}, {"w": (param.abs() * 9).int()}, {"iterations": 20})
