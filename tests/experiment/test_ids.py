"""Ids: the same for what means the same, and the same in every version."""

import pytest
from builders import a_grid, plan_from
from pydantic import ValidationError

from autosparse.experiment.space import Downstream, SweepTask
from autosparse.experiment.tasks import Cell, FitSpec, IrpTask, ScorerTask
from autosparse.training import Recipe

NETWORK = {"model": "lenet-300-100", "dataset": "digits"}
CELL = {**NETWORK, "criterion": "snip", "seed": 0}


def lr_from(lower):
    return {"lr": {"uniform": (lower, 1.0)}}


@pytest.mark.parametrize(
    ("negative", "zero"),
    [
        (Cell(**CELL, sparsity=-0.0), Cell(**CELL, sparsity=0.0)),
        (
            Cell(**CELL, sparsity=0.5, recipe=Recipe(weight_decay=-0.0)),
            Cell(**CELL, sparsity=0.5, recipe=Recipe(weight_decay=0.0)),
        ),
        (
            Cell(**{**CELL, "criterion": "npb"}, sparsity=0.5, options={"alpha": -0.0}),
            Cell(**{**CELL, "criterion": "npb"}, sparsity=0.5, options={"alpha": 0.0}),
        ),
        (
            SweepTask(irp=("ab",), space=lr_from(-0.0), downstream=Downstream(**NETWORK, sparsity=-0.0)),
            SweepTask(irp=("ab",), space=lr_from(0.0), downstream=Downstream(**NETWORK, sparsity=0.0)),
        ),
    ],
    ids=["sparsity", "weight decay", "option", "sweep"],
)
def test_a_negative_zero_has_the_id_of_zero(negative, zero):
    assert negative == zero
    assert negative.id == zero.id


def test_a_negative_zero_in_a_file_is_no_cell_of_its_own():
    plans = [plan_from(grid=a_grid(sparsities=[value])) for value in (0.0, -0.0)]
    assert plans[0].cells[0].task.id == plans[1].cells[0].task.id


@pytest.mark.parametrize(
    ("task", "known"),
    [
        (Cell(**CELL, sparsity=0.0), "c01a765f6e180d74"),
        (Cell(**CELL, sparsity=0.9, recipe=Recipe(weight_decay=0.0)), "5637cbaf335732e3"),
        (Cell(**{**CELL, "criterion": "npb"}, sparsity=0.9, options={"alpha": 0.0, "chunk": 4}), "42a1c1d28fdb5f09"),
        (IrpTask(**NETWORK, iterations=3), "f932738ac3c408e7"),
        (ScorerTask(irp=("ab",), fit=FitSpec(epochs=3)), "1606dc66949f30b7"),
        (SweepTask(irp=("ab",), points=({"lr": 0.1},)), "62cab5f2286b402e"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_ids_are_those_of_version_0_1_0(task, known):
    assert task.id == known


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ({"iterations": 1}, True), ({"iterations": 0}, False),
        ({"final_density": 1.0}, True), ({"final_density": 1e-9}, True),
        ({"final_density": 0.0}, False), ({"final_density": -0.5}, False), ({"final_density": 1.1}, False),
    ],
    ids=str,
)  # fmt: skip
def test_an_irp_run_has_an_iteration_at_least_and_leaves_something(given, accepted):
    if accepted:
        IrpTask(**NETWORK, **given)
    else:
        with pytest.raises(ValidationError):
            IrpTask(**NETWORK, **given)


def test_what_a_task_means_cannot_be_changed():
    cell = Cell(**CELL, sparsity=0.5)
    with pytest.raises(ValidationError, match="frozen"):
        cell.sparsity = 0.9


def test_the_sparsity_of_a_level_has_twelve_digits():
    irp = IrpTask(**NETWORK, iterations=3, final_density=0.1)
    assert [irp.sparsity_at(level) for level in range(4)] == [0.0, 0.535841116639, 0.784556530997, 0.9]
