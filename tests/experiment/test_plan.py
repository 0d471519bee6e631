"""Expansion: which cells there are, and that ids name content and never change."""

import pytest
from builders import a_cell, a_grid, plan_from

from autosparse.errors import AutosparseError
from autosparse.experiment import plan as plan_module
from autosparse.experiment.tasks import Cell, FitSpec, IrpTask, ScorerTask, task_from
from autosparse.training import Recipe


def grid(**changes):
    return {**a_grid(methods=["dense", "random", "snip"], sparsities=[0.8, 0.9], seeds=[0, 1, 2]), **changes}


def test_a_grid_expands_to_all_combinations_and_one_dense_cell_per_seed():
    cells = [p.task for p in plan_from(grid=grid()).cells]
    assert len(cells) == 3 + 2 * 2 * 3
    assert {cell.seed for cell in cells if cell.criterion == "dense"} == {0, 1, 2}
    assert all(cell.sparsity == 0 for cell in cells if cell.criterion == "dense")


def test_what_two_grids_share_is_planned_once():
    assert len(plan_from(grid=[grid(), grid(sparsities=[0.9, 0.95])]).cells) == 3 + 3 * 2 * 3


def test_a_scorer_takes_the_first_irp_seed_unless_told_otherwise():
    irp = {"a": {"model": "lenet-300-100", "dataset": "digits", "seeds": [5, 6]}}
    plan = plan_from(irp=irp, scorers={"one": {"irp": "a"}, "two": {"irp": "a", "irp_seeds": [5, 6]}}, grid=grid())
    ids = [p.task.id for p in plan.irp]
    assert [p.task.irp for p in plan.scorers] == [(ids[0],), (ids[0], ids[1])]


def test_a_cell_of_autos_depends_on_all_that_its_scorer_depends_on():
    def cell_id(iterations):
        irp = {"a": {"model": "lenet-300-100", "dataset": "digits", "iterations": iterations}}
        methods = [{"criterion": "autos", "scorer": "s"}]
        return plan_from(irp=irp, scorers={"s": {"irp": "a"}}, grid=grid(methods=methods)).cells[0].task.id

    assert cell_id(3) == cell_id(3) != cell_id(4)


def test_the_label_is_no_part_of_the_id():
    first = plan_from(grid=grid(methods=["snip"])).cells[0]
    second = plan_from(grid=grid(methods=[{"criterion": "snip", "name": "my-snip"}])).cells[0]
    assert (first.label, second.label) == ("snip", "my-snip")
    assert first.task.id == second.task.id


@pytest.mark.parametrize(
    ("task", "pinned"),
    [
        (Cell(model="lenet-300-100", dataset="digits", criterion="snip", sparsity=0.9, seed=0), "ccc08a274a4c7cb1"),
        (
            Cell(
                model="lenet-300-100",
                dataset="mnist",
                criterion="autos",
                scorer="0123456789abcdef",
                sparsity=0.95,
                seed=3,
                recipe=Recipe(optimizer="momentum", lr=0.1, milestones=(3, 5), epochs=7),
            ),
            "7cd8cba3b4f5103d",
        ),
        (IrpTask(model="lenet-300-100", dataset="mnist", iterations=5), "1587cb624e51aac0"),
        (ScorerTask(irp=("0123456789abcdef",), fit=FitSpec(epochs=3)), "e4ff64a97ca866a1"),
        (ScorerTask(irp=("0123456789abcdef",), fit=FitSpec(epochs=3, rows=None)), "e4ff64a97ca866a1"),
        (
            ScorerTask(irp=("0123456789abcdef",), fit=FitSpec(backbone="conditional-mean", inputs=("grad",))),
            "d3fed08ac93e35f9",
        ),
    ],
)
def test_ids_never_change_or_finished_work_would_be_orphaned(task, pinned):
    assert task.id == pinned


def test_rows_to_fit_on_are_part_of_a_scorer_s_id():
    irp = {"a": {"model": "lenet-300-100", "dataset": "digits"}}
    scorers = {"all": {"irp": "a"}, "some": {"irp": "a", "backbone": "conditional-mean", "rows": 2000}}
    whole, some = (p.task for p in plan_from(irp=irp, scorers=scorers, grid=grid()).scorers)
    assert "rows" not in whole.spec.get("fit", {})
    assert some.spec["fit"] == {"backbone": "conditional-mean", "rows": 2000}
    assert task_from("scorer", some.spec) == some


def test_a_task_is_rebuilt_from_its_spec():
    cell = Cell(
        model="lenet-300-100", dataset="digits", criterion="snip", sparsity=0.9, seed=0, recipe=Recipe(epochs=3)
    )
    again = task_from("cell", cell.spec)
    assert again == cell
    assert again.id == cell.id


def test_a_grid_too_large_to_be_meant_is_refused_before_it_is_expanded(monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_CELLS", 10)
    with pytest.raises(AutosparseError, match="15 cells"):
        plan_from(grid=grid())


def test_dense_counts_as_one_cell_a_seed_however_many_sparsities_the_grid_has(monkeypatch):
    monkeypatch.setattr("autosparse.experiment.plan.MAX_CELLS", 8)
    wide = {"sparsities": [0.5, 0.9, 0.95], "seeds": [0, 1]}
    assert len(plan_from(grid=a_grid(methods=["dense", "snip"], **wide)).cells) == 8
    with pytest.raises(AutosparseError, match="has 12 cells, more than 8"):
        plan_from(grid=a_grid(methods=["grasp", "snip"], **wide))


def test_ten_million_cells_by_mistake_are_refused_at_once():
    many = {**grid(), "seeds": list(range(10_000)), "sparsities": [place / 1001 for place in range(1, 1001)]}
    with pytest.raises(AutosparseError, match=r"more than 1,000,000: split it up"):
        plan_from(grid=many)


def test_cells_that_share_what_is_the_same_are_those_that_are_checked_one_by_one():
    """Ids, equality and JSON do not depend on how a cell came to be, or on whether its id was asked for."""
    for planned in plan_from(grid=grid(seeds=[0, 3, 7])).cells:
        shared = planned.task
        checked = Cell.model_validate(shared.model_dump(), strict=False)
        assert shared == checked
        assert shared.id == checked.id
        assert shared == checked
        assert shared.model_dump() == checked.model_dump()
        assert "id" not in shared.model_dump()


def test_a_copy_with_another_value_has_another_id():
    cell = a_cell()
    before = cell.id
    assert cell.model_copy(update={"seed": 1}).id == a_cell(seed=1).id != before
    assert cell.model_copy().id == before


def test_the_mode_of_gradients_and_criteria_can_be_set_and_is_part_of_the_id_where_it_is_not_the_default():
    plain, same, other = (
        IrpTask(model="lenet-300-100", dataset="digits", **given)
        for given in ({}, {"gradient_mode": "eval"}, {"gradient_mode": "train"})
    )
    assert plain.id == same.id != other.id
    assert "gradient_mode" not in plain.spec
    methods = ["snip", {"criterion": "snip", "name": "in-training-mode", "options": {"mode": "train"}}]
    cells = [planned.task for planned in plan_from(grid=grid(methods=methods, seeds=[0])).cells]
    assert [cell.options for cell in cells] == [{}, {}, {"mode": "train"}, {"mode": "train"}]
    assert len({cell.id for cell in cells}) == 4
    for wrong in (
        {"criterion": "snip", "options": {"mode": "evaluate"}},
        {"criterion": "magnitude", "options": {"mode": "eval"}},
    ):
        with pytest.raises(AutosparseError, match="mode"):
            plan_from(grid=grid(methods=[wrong]))
