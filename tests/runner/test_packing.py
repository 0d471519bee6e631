"""Packing: every task once, and only cells that can share a process share a job."""

from builders import a_cell
from hypothesis import given
from hypothesis import strategies as st

from autosparse.experiment.tasks import IrpTask
from autosparse.runner.jobs.packing import pack
from autosparse.training import Recipe


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["digits", "mnist"])), unique=True), st.integers(1, 9))
def test_every_task_is_in_exactly_one_job(specs, workers):
    tasks = [a_cell(seed=seed, dataset=dataset) for seed, dataset in specs]
    jobs = pack(tasks, workers, lambda task: 1.0)
    assert sorted(task.id for job in jobs for task in job) == sorted(task.id for task in tasks)
    assert all(jobs)


def test_cells_of_different_data_or_recipes_do_not_share_a_job():
    jobs = pack(
        [a_cell(), a_cell(dataset="mnist"), a_cell(recipe=Recipe(epochs=3)), a_cell(seed=1)], 1, lambda task: 1.0
    )
    for job in jobs:
        assert len({(task.dataset, task.recipe) for task in job}) == 1


def test_irp_runs_are_a_job_each():
    tasks = [IrpTask(model="lenet-300-100", dataset="digits", seed=seed) for seed in range(20)]
    assert [len(job) for job in pack(tasks, 1, lambda task: 1.0)] == [1] * 20


def finish_times(jobs, workers, cost):
    """The time at which each worker ends, if a free worker takes the next job."""
    ends = [0.0] * workers
    for job in jobs:
        ends[ends.index(min(ends))] += sum(map(cost, job))
    return ends


@given(st.lists(st.integers(1, 20), min_size=40, max_size=120), st.integers(1, 6))
def test_workers_end_together_in_few_jobs(costs, workers):
    tasks = [a_cell(seed=seed) for seed in range(len(costs))]
    by_id = {task.id: cost for task, cost in zip(tasks, costs, strict=True)}

    def cost(task):
        return float(by_id[task.id])

    jobs = pack(tasks, workers, cost)
    ends, share = finish_times(jobs, workers, cost), sum(costs) / workers
    assert max(ends) - min(ends) <= share / 16 + 2 * max(costs)
    assert len(jobs) <= 16 * workers


def test_the_dearest_cells_come_first():
    tasks = [a_cell(seed=seed) for seed in range(10)] + [a_cell(seed=seed, dataset="mnist") for seed in range(10)]
    jobs = pack(tasks, 2, lambda task: 100.0 if task.dataset == "mnist" else 1.0)
    datasets = [job[0].dataset for job in jobs]
    assert datasets == sorted(datasets, reverse=True)


def test_cells_that_share_their_scores_are_neighbours():
    tasks = [
        a_cell(criterion=c, sparsity=s, seed=seed)
        for c in ("snip", "grasp")
        for s in (0.8, 0.9, 0.95)
        for seed in range(3)
    ]
    networks = [(task.criterion, task.seed) for job in pack(tasks, 2, lambda task: 1.0) for task in job]
    assert [networks[i] for i in range(0, 18, 3)] == list(dict.fromkeys(networks))
