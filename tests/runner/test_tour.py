"""The notebook of the tour runs from top to bottom, and is stored in a form that GitHub shows."""

import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[2] / "experiments" / "tour.ipynb"
MOST_BYTES = 100_000


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text())


def code(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_running")
def test_its_cells_run_one_after_the_other_in_an_empty_folder(notebook, tmp_path, monkeypatch, empty_store):
    monkeypatch.chdir(tmp_path)
    empty_store(tmp_path)
    matplotlib.use("agg")
    names = {}
    for number, source in enumerate(code(notebook), 1):
        exec(compile(source, f"cell {number}", "exec"), names)
    assert names["done"].whole
    assert len(names["cells"]) == 12
    assert names["masks"].kept == 2510
    assert len(names["found"]) == 9
    assert names["plt"].get_fignums()
    names["plt"].close("all")


def test_its_outputs_are_those_of_one_run_and_small(notebook):
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells if not cell["source"][-1].startswith("_"))
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"]) == 1
    assert not any(output["output_type"] in ("error", "stream") for cell in cells for output in cell["outputs"])
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
