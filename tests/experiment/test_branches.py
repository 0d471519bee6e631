"""Branches of IRP runs in an experiment: which cells they are, what they build on, and what is refused."""

import pytest
from builders import a_grid, plan_from

from autosparse.errors import AutosparseError
from autosparse.experiment.load import parse_loaded
from autosparse.experiment.plan import make_plan
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpFields, task_from
from autosparse.runner.driver.outcome import ready
from autosparse.runner.jobs.cost import EXTENTS, Costs
from autosparse.training import Recipe

RUN = {"model": "lenet-300-100", "dataset": "mnist", "iterations": 20, "seeds": [7]}


def content(run=(), grid=(), **changes):
    branch = {"criterion": "irp", "irp": "snip", "levels": 10, **changes}
    return {
        "name": "x",
        "irp": {"snip": {**RUN, **dict(run)}},
        "grid": {
            **a_grid(datasets=["mnist"], sparsities=[0.5, 0.6], seeds=[0, 1]),
            "methods": ["dense", {key: value for key, value in branch.items() if value is not None}],
            **dict(grid),
        },
    }


def plan_with_branch(*given, **method):
    return plan_from(**content(*given, **method))


def cells_of(plan):
    return [planned.task for planned in plan.cells if planned.task.criterion == "irp"]


def test_levels_take_the_place_of_the_grid_s_sparsities():
    cells = cells_of(plan_with_branch(levels=[0, 10, 13, 20]))
    assert [(cell.level, cell.seed) for cell in cells] == [(level, s) for level in (0, 10, 13, 20) for s in (0, 1)]
    sparsities = {cell.level: cell.sparsity for cell in cells}
    assert (sparsities[0], sparsities[10], sparsities[20]) == (0.0, 0.9, 0.99)
    assert sparsities[13] == pytest.approx(1 - 0.01 ** (13 / 20))


def test_a_branch_refers_to_its_run_by_content():
    plan = plan_with_branch()
    [run] = [planned.task.id for planned in plan.irp]
    assert all(cell.inputs == {run: "irp"} for cell in cells_of(plan))
    assert {planned.label for planned in plan.cells} == {"dense", "irp-snip"}
    [shuffled] = {planned.label for planned in plan_with_branch(ablation="shuffle").cells} - {"dense"}
    assert shuffled == "irp-snip-shuffle"


@pytest.mark.parametrize(
    ("run", "method", "seeds"),
    [
        ({}, {}, [7, 7]),
        ({"seeds": [0, 1, 2]}, {}, [0, 1]),
        ({"seeds": [0, 1, 2]}, {"irp_seed": 2}, [2, 2]),
        ({"seeds": [8, 9]}, {"irp_seed": 9}, [9, 9]),
    ],
)
def test_cells_start_from_the_run_s_only_seed_or_each_from_its_own_or_from_the_one_that_is_named(run, method, seeds):
    cells = cells_of(plan_with_branch(run, **method))
    assert [cell.trunk.seed for cell in cells] == seeds
    assert [cell.init_seed for cell in cells] == seeds


def test_the_initial_weights_are_the_run_s():
    assert {cell.init_seed for cell in cells_of(plan_with_branch({"init": 100, "seeds": [0, 1]}))} == {100}


def test_a_branch_is_rebuilt_from_its_spec_and_its_id_never_changes():
    run = IrpFields(model="lenet-300-100", dataset="digits", iterations=4, recipe=Recipe(milestones=(2, 3)))
    place = {"model": "lenet-300-100", "dataset": "digits", "criterion": "irp", "sparsity": 0.9, "seed": 0}
    cell = Cell(**place, irp=run, irp_seed=5, level=2)
    again = task_from("cell", cell.spec)
    assert again == cell
    assert again.inputs == cell.inputs
    assert cell.id == "792b05a0057ff14d"
    assert len({Cell(**place, irp=run, irp_seed=s, level=level).id for s in (5, 6) for level in (2, 3)}) == 4


def test_a_branch_is_not_started_before_its_run_has_finished(tmp_path):
    plan = plan_with_branch()
    store = Store(tmp_path)
    first = ready(plan.cells, store, plan)
    assert {planned.task.criterion for planned in first} == {"dense"}
    store.finish(plan.irp[0].task, {}, {})
    assert ready(plan.cells, store, plan) == plan.cells


def test_a_branch_costs_its_training_alone():
    cells = {planned.task.criterion: planned.task for planned in plan_with_branch().cells}
    costs = Costs(EXTENTS)
    assert costs(cells["irp"]) == costs(cells["dense"])


def test_what_is_not_as_published_is_told_of_the_run_too():
    published = {"source": "T", "sparsities": [0.9], "accuracy": {"irp-snip": [97]}}
    presets = {"smoke": {"set": {"irp.*.criterion": "magnitude"}}}
    loaded = parse_loaded({**content(grid={"published": published}), "presets": presets}, "x.yaml", "smoke")
    plan = make_plan(loaded.experiment, loaded.paper)
    [comparison] = plan.comparisons
    assert comparison.cells == tuple(cell.id for cell in cells_of(plan))
    assert comparison.differences == ("irp.criterion: magnitude (published: snip)",)


@pytest.mark.parametrize(
    ("run", "grid", "method", "reason"),
    [
        ({}, {}, {"irp": "snap"}, r"unknown irp \(of method 'irp-snap'\) 'snap': did you mean 'snip'"),
        ({}, {}, {"irp": None}, "'irp' needs an `irp:`"),
        ({}, {}, {"levels": None}, "needs `levels:`"),
        ({}, {}, {"levels": [10, 10]}, "listed twice"),
        ({}, {}, {"levels": 21}, r"levels 0 \(dense\) to 20, not 21"),
        ({}, {}, {"levels": 1.5}, "valid integer"),
        ({}, {}, {"options": {"seed": 1}}, "irp takes no options"),
        ({}, {}, {"scorer": "s"}, "takes no `scorer:`"),
        ({}, {}, {"ablation": "invert"}, "survival scores tie"),
        ({}, {}, {"criterion": "snip"}, "'snip' takes no `irp:`"),
        ({}, {}, {"criterion": "dense"}, "'dense' takes no `irp:`"),
        ({}, {}, {"irp_seed": 3}, "has no seed 3"),
        ({"seeds": [0, 7]}, {}, {}, "not the grid's 1: add it, or say with `irp_seed:`"),
        ({"model": "lenet-5"}, {}, {}, "is of lenet-5 on mnist, the grid of lenet-300-100 on mnist"),
        ({}, {"datasets": ["mnist", "digits"]}, {}, "the grid of lenet-300-100 on mnist, digits"),
    ],
)
def test_a_branch_that_cannot_be_is_refused(run, grid, method, reason):
    with pytest.raises(AutosparseError, match=reason):
        plan_with_branch(run, grid, **method)
