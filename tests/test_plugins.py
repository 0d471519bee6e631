"""A method, a model and a data set from outside the package: the README's modules, named in its experiment file."""

import json
import os
import subprocess
import sys

import pytest
from pages import unpack_readme

from autosparse import plugins
from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment

EXPERIMENT = """
name: mine
plugins: [my_module]
grid:
  models: [tiny]
  datasets: [even-digits]
  methods: [smallest, magnitude]
  sparsities: [0.5]
  seeds: [0]
  recipe: {epochs: 2}
"""


@pytest.mark.slow
def test_the_readmes_modules_are_run_by_workers(tmp_path):
    unpack_readme(tmp_path)
    command = [sys.executable, "-c", "from autosparse.cli import main; main()", "run", "mine.yaml"]
    ran = subprocess.run(
        [*command, "--workers", "1", "--data-root", ".", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["done"] == 12
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "cells").glob("*.json")]
    assert {record["spec"]["criterion"] for record in records} == {"smallest", "magnitude", "snip"}


def test_a_module_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT.replace("my_module", "no_such_module"))
    with pytest.raises(AutosparseError, match=r"mine.yaml: plugin 'no_such_module' cannot be imported: ModuleNotFound"):
        load_experiment(path)


def test_installed_packages_bring_theirs_by_entry_point(monkeypatch):
    class Entry:
        name, value = "theirs", "their.module"

        def load(self):
            raise ImportError("no CUDA")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()] if group == "autosparse" else [])
    with pytest.raises(AutosparseError, match=r"plugin .theirs = their.module. cannot be imported"):
        plugins.load_installed()
