"""Packing: every task once, and only cells that can share a process share a job."""

from hypothesis import given
from hypothesis import strategies as st

from autosparse.experiment.tasks import Cell, IrpTask
from autosparse.runner.packing import pack
from autosparse.training import Recipe


def cell(seed, dataset="digits", epochs=2):
    return Cell(
        model="lenet-300-100", dataset=dataset, criterion="snip", sparsity=0.9, seed=seed, recipe=Recipe(epochs=epochs)
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["digits", "mnist"])), unique=True), st.integers(1, 9))
def test_every_task_is_in_exactly_one_job(specs, workers):
    tasks = [cell(seed, dataset) for seed, dataset in specs]
    jobs = pack(tasks, workers)
    assert sorted(task.id for job in jobs for task in job) == sorted(task.id for task in tasks)
    assert all(jobs)


def test_cells_of_different_data_or_recipes_do_not_share_a_job():
    jobs = pack([cell(0), cell(0, "mnist"), cell(0, epochs=3), cell(1)], workers=1)
    for job in jobs:
        assert len({(task.dataset, task.recipe) for task in job}) == 1


def test_there_are_jobs_enough_to_keep_every_worker_busy():
    assert len(pack([cell(seed) for seed in range(80)], workers=2)) == 8


def test_irp_runs_are_a_job_each():
    tasks = [IrpTask(model="lenet-300-100", dataset="digits", seed=seed) for seed in range(20)]
    assert [len(job) for job in pack(tasks, workers=1)] == [1] * 20
