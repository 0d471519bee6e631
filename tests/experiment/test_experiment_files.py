"""The experiment files of this repository: each loads at every scale, and is what it says."""

from pathlib import Path

import pytest

from autosparse.experiment.load import load_experiment
from autosparse.experiment.plan import make_plan

ROOT = Path(__file__).parents[2] / "experiments"
SCALED = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT)
AUTOSPARSE = {"figure-1", "figure-3", "figure-4", "figure-5", "figure-6", "table-1", "table-2", "table-3", "table-4"}
AUTOSPARSE |= {"table-5", "table-6", "table-8", "table-9"}
BY_FOLDER = {
    "autosparse": AUTOSPARSE,
    "prospr": {"figure-2", "table-1", "table-2"},
    "ours": {"transfer", "iterations", "consistency", "controls", "sweep", "teachers"}
    | {"leading-scorer", "leading-transfer", "field", "pai-cifar"},
}


@pytest.mark.parametrize("folder", BY_FOLDER)
def test_every_table_and_figure_has_its_file(folder):
    assert {path.stem for path in SCALED if path.parent.name == folder} == BY_FOLDER[folder]


@pytest.mark.parametrize("path", SCALED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_loads_at_every_scale(path):
    presets = load_experiment(path).presets
    assert {"paper", "gpu", "small", "smoke"} <= set(presets)
    for preset in presets:
        loaded = load_experiment(path, preset)
        plan = make_plan(loaded.experiment, loaded.paper)
        assert plan.irp or plan.cells
        assert plan.name.endswith(f"{path.stem}-{preset}")
        differing = [comparison for comparison in plan.comparisons if comparison.differences]
        assert not differing if preset == "paper" else len(differing) == len(plan.comparisons)
        if preset == "paper":
            assert all(comparison.cells for comparison in plan.comparisons)
        if preset == "smoke":
            assert plan.datasets == ["digits"]
        if preset == "small":
            assert set(plan.datasets) <= {"digits", "mnist"}


def test_tables_of_one_paper_share_their_irp_run():
    plans = []
    for name in ("figure-3", "table-2", "table-4", "figure-4", "table-8"):
        plans.append(make_plan(load_experiment(ROOT / "autosparse" / f"{name}.yaml", "paper").experiment))
    shared = set.intersection(*({planned.task.id for planned in plan.irp} for plan in plans))
    assert len(shared) == 1
    scorers = [{planned.task.id for planned in plan.scorers} for plan in plans]
    assert len(set.intersection(*scorers)) == 1, "and the default scorer"
