"""Models with arguments in experiment files: one name for each network, and ids that stay."""

import re
import sys

import pytest
from builders import a_cell, plan_from

from autosparse.errors import AutosparseError
from autosparse.experiment.load import parse_loaded
from autosparse.experiment.plan import make_plan
from autosparse.experiment.sources import functions_of
from autosparse.experiment.tasks import Cell, task_from

GRID = {"datasets": ["digits"], "methods": ["magnitude"], "sparsities": [0.5], "seeds": [0]}
MLP = {"name": "lenet-300-100", "hidden": [8]}


def cells(*models):
    return [planned.task for planned in plan_from(grid={**GRID, "models": list(models)}).cells]


def refused(reason, *models, **content):
    with pytest.raises(AutosparseError, match=re.escape(reason)) as told:
        plan_from(grid={**GRID, "models": list(models)}, **content)
    assert "\n" not in str(told.value)


def test_a_mapping_and_a_name_with_the_arguments_are_the_same_cell():
    (mapping,), (text,), (cell,) = (
        cells({"name": "resnet20", "width": 8, "blocks": 1}),
        cells("resnet20(width=8,blocks=1)"),
        [a_cell(model="resnet20(blocks=1, width=8)", criterion="magnitude", sparsity=0.5)],
    )
    assert mapping.model == "resnet20(blocks=1, width=8)"
    assert mapping.id == text.id == cell.id


def test_two_widths_are_two_cells_and_the_default_is_the_cell_of_the_bare_name():
    narrow, usual, bare = cells({"name": "resnet20", "width": 8}, {"name": "resnet20", "width": 16}) + cells("resnet20")
    assert narrow.id != usual.id
    assert (usual.model, usual.id) == ("resnet20", bare.id)
    refused("grid[0].models: 'resnet20' is listed twice", "resnet20", {"name": "resnet20", "width": 16})


def test_a_task_is_rebuilt_from_its_record():
    (cell,) = cells({"name": "lenet-5", "fc": 7})
    again = task_from("cell", cell.spec)
    assert isinstance(again, Cell)
    assert (again.model, again.id) == ("lenet-5(fc=7)", cell.id)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"name": "resnet20", "widht": 8}, "model 'resnet20' has no argument 'widht'; it takes width, blocks"),
        ({"name": "resnet20", "width": "wide"}, "'width' must be a whole number at least 1, got 'wide'"),
        ({"name": "resnet20", "num_classes": 10}, "'num_classes' is not an argument to set"),
        ({"width": 8}, "a model with arguments is written {name: resnet20, width: 32}"),
        ("resnet20(width=8", "write its arguments as in resnet20(width=32)"),
        (3, "input should be a valid string, got 3"),
    ],
)
def test_a_wrong_argument_is_told_with_its_key(model, reason):
    with pytest.raises(AutosparseError, match=rf"^x\.yaml: grid\[0\]\.models\[1\]: .*{re.escape(reason)}") as told:
        cells("lenet-5", model)
    assert "\n" not in str(told.value)


def test_irp_runs_scorers_sweeps_and_branches_take_them():
    plan = plan_from(
        irp={"snip": {"model": MLP, "dataset": "digits"}},
        sweeps={
            "best": {
                "irp": "snip",
                "space": {"lr": {"uniform": [0.1, 0.2]}},
                "downstream": {"model": MLP, "dataset": "digits", "sparsity": 0.5},
            }
        },
        grid={**GRID, "models": [MLP], "methods": [{"criterion": "irp", "irp": "snip", "levels": 1}]},
    )
    name = "lenet-300-100(hidden=[8])"
    assert plan.irp[0].task.model == plan.cells[0].task.model == plan.sweeps[0].task.downstream.model == name


def test_a_preset_and_a_change_reach_an_argument():
    content = {
        "name": "x",
        "grid": {**GRID, "models": ["resnet20", {"name": "lenet-5", "fc": 9}]},
        "presets": {"small": {"set": {"grid.*.models.lenet-5.fc": 3}}},
    }
    loaded = parse_loaded(content, "x.yaml", "small", ['grid.*.models.0={"name": "resnet20", "width": 4}'])
    assert [p.task.model for p in make_plan(loaded.experiment).cells] == ["resnet20(width=4)", "lenet-5(fc=3)"]


def test_the_users_code_is_known_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "argued_nets.py").write_text("def net(num_classes, input_shape, width=8, colon=':'): ...\n")
    (cell,) = cells({"name": "argued_nets:net", "width": 3, "colon": "a:b"})
    (function,) = functions_of(cell)
    assert (function.role, function.name, function.module) == ("model", "argued_nets:net", "argued_nets")
    del sys.modules["argued_nets"]
