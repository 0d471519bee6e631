"""The README is short, its Python and its experiment run as they stand, and the guide's commands exist."""

import os
import re
import subprocess
import sys

from pages import README, ROOT, blocks, unpack_readme
from typer.main import get_command

from autosparse.cli import app

GUIDE = ROOT / "experiments" / "GUIDE.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
METHODS = ROOT / "autosparse" / "METHODS.md"
MODULES = blocks(README, "python")
LINES = 12
"""Lines of a module, at most: "use your own" is a matter of ten."""
WITHOUT_RAY = """
import runpy
import autosparse as asp
from autosparse.data import load_dataset
from autosparse.experiment.load import load_experiment

runpy.run_path("my_script.py")
(grid,) = load_experiment("mine.yaml").experiment.grid
data = load_dataset(grid.datasets[0], ".")
for method in grid.methods:
    model = asp.build_model(grid.models[0], data.num_classes, data.input_shape, seed=0)
    masks = asp.prune(model, method.criterion, grid.sparsities[0], data.train.batches(32))
    assert masks.sparsity == 0.5
    asp.train(model, data, grid.recipe, masks, seed=0)
"""
ADDED = 'assert asp.build_model("one-layer", 3, (1, 4, 4), seed=0)[1].weight.shape == (3, 16)'


def run_python(code, folder):
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # beside other tests, more threads wait for each other
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=alone, capture_output=True, text=True, timeout=240, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_it_is_short():
    assert len(README.read_text().split()) <= 1200


def test_each_module_is_a_matter_of_ten_lines():
    assert set(MODULES) == {"my_script.py", "my_model.py", "my_data.py", "my_method.py"}
    assert all(len([line for line in text.splitlines() if line.strip()]) <= LINES for text in MODULES.values())


def test_its_script_and_its_experiment_and_the_python_of_other_pages_run(tmp_path):
    unpack_readme(tmp_path)
    methods, added = ("\n".join(blocks(page, "python").values()) for page in (METHODS, CONTRIBUTING))
    assert "fit_scorer" in methods
    run_python(f"{WITHOUT_RAY}\n{methods}\n{added}\n{ADDED}", tmp_path)
    assert (tmp_path / "masks.safetensors").is_file()


def test_every_command_of_the_guides_table_exists():
    table = GUIDE.read_text().split("| `autosparse` | does |")[1].split("Listings")[0]
    assert set(re.findall(r"^\| `(\w+)[^`]*` \|", table, flags=re.M)) == set(get_command(app).commands)
