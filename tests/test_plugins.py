"""A method, a model and a data set from outside the package: the README's module, named in an experiment file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autosparse import plugins
from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment

README = (Path(__file__).parents[1] / "README.md").read_text()
(MODULE,) = re.findall(r"```python plugin\n(.*?)```", README, flags=re.S)
MAIN = "from autosparse.cli import main; main()"
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


def test_the_module_is_short():
    assert len([line for line in MODULE.splitlines() if line.strip()]) < 30


@pytest.mark.slow
def test_its_members_are_run_by_workers(tmp_path):
    (tmp_path / "my_module.py").write_text(MODULE)
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from autosparse.cli import main; main()",
            "run",
            "mine.yaml",
            "--workers",
            "1",
            "--json",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["done"] == 2
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "cells").glob("*.json")]
    assert {record["spec"]["criterion"] for record in records} == {"smallest", "magnitude"}


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
