"""The benchmarks' modules, which are found beside their script."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark_module(monkeypatch):
    """Import a benchmark by its name; afterwards all of them are forgotten."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]
