"""Data sets on their way to workers: what is taken apart comes together again, and a worker trains a streamed cell."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import a_grid, plan_from
from PIL import Image

from autosparse.data import load_dataset
from autosparse.devices import DeviceLost
from autosparse.errors import CannotWrite, CorruptFile, Unreachable
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask
from autosparse.runner.driver.run import run_plan
from autosparse.runner.jobs.arrays import from_arrays, to_arrays
from autosparse.runner.jobs.given import GivenJobs
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.runner.work import cells
from autosparse.runner.work.cells import run_cell
from autosparse.seeds import generator
from autosparse.training import Recipe

pytestmark = pytest.mark.usefixtures("ray_running")


@pytest.fixture(scope="module")
def jobs(ray_running):
    """The module under test: it imports Ray, which the session must have prepared."""
    from autosparse.runner.jobs import job

    return job


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """The name of a folder of two classes, dark and bright, of eight small images, and one test image each."""
    folder = tmp_path_factory.mktemp("images")
    for split, count in (("train", 8), ("val", 1)):
        for c, name in enumerate(("dark", "bright")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng((c, i)).integers(0, 128, (40, 30, 3)) + 128 * c
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{i}.png")
    return f"imagefolder:{folder}"


def leaves(value):
    """The values in what :func:`to_arrays` gives."""
    return [leaf for part in value.fields.values() for leaf in leaves(part)] if hasattr(value, "fields") else [value]


@pytest.mark.parametrize("kind", ["in memory", "streamed"])
def test_a_data_set_comes_back_as_it_was_and_travels_without_tensors(jobs, tiny_digits, streamed, kind):
    dataset = tiny_digits if kind == "in memory" else load_dataset(streamed)
    arrays = to_arrays(dataset)
    assert not any(isinstance(leaf, torch.Tensor) for leaf in leaves(arrays))
    back = from_arrays(arrays)
    assert (back.name, back.fingerprint, back.num_classes) == (dataset.name, dataset.fingerprint, dataset.num_classes)
    for split in ("train", "test"):
        ours, theirs = (list(getattr(d, split).batches(7, generator(0))) for d in (dataset, back))
        assert all(torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))


def test_arrays_share_the_memory_of_the_tensors(jobs, tiny_digits):
    arrays = to_arrays(tiny_digits)
    assert arrays.fields["train"].fields["images"].ctypes.data == tiny_digits.train.images.data_ptr()


def test_a_streamed_data_set_travels_as_its_paths_and_labels(jobs, streamed):
    size = sum(leaf.nbytes for leaf in leaves(to_arrays(load_dataset(streamed))) if isinstance(leaf, np.ndarray))
    assert size < 1000


@pytest.fixture
def plan(streamed):
    recipe = {"epochs": 1, "batch_size": 8, "augmentation": "random-resized-crop"}
    grid = a_grid(models=["torchvision:shufflenet_v2_x0_5"], datasets=[streamed], sparsities=[0.5], recipe=recipe)
    return plan_from(name="streamed", grid=grid)


@pytest.mark.slow
def test_a_streamed_cell_on_ray_equals_the_same_cell_here(plan, streamed, tmp_path, empty_store, monkeypatch):
    from autosparse.runner.jobs import stage

    asked, ask = [], stage.tune.with_resources
    monkeypatch.setattr(stage.tune, "with_resources", lambda job, of: asked.append(of) or ask(job, of))
    monkeypatch.setenv("AUTOSPARSE_LOADER_WORKERS", "2")
    settings = Settings(tmp_path / "results", empty_store(tmp_path))
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.done, outcome.failed) == (1, [])
    assert asked == [{"cpu": 2, "gpu": 0}], "one for the job, and for one loader: the session has two"
    store = Store(settings.storage)
    there = store.record(plan.cells[0].task)["result"]
    dataset = load_dataset(streamed)
    in_process = replace(dataset, train=replace(dataset.train, workers=0), test=replace(dataset.test, workers=0))
    here = run_cell(plan.cells[0].task, store, in_process, "cpu")
    assert there["history"] == here["history"]
    assert there["kept"] == here["kept"] == there["total"] - round(there["total"] * 0.5)


class Silent:
    """Reports that nobody reads."""

    def progress(self, tasks, numbers):
        pass


@pytest.mark.parametrize(("retries", "done"), [(0, [1, 3]), (1, [1, 3, 2]), (2, [1, 3, 2])])
def test_what_fails_once_is_tried_again_alone_as_often_as_asked(
    jobs, tiny_digits, tmp_path, monkeypatch, retries, done
):
    grid = a_grid(methods=["random"], sparsities=[0.5], seeds=[1, 2, 3], recipe={"epochs": 1})
    tasks = [planned.task for planned in plan_from(name="again", grid=grid).cells]
    build_model, tried = cells.build_model, []

    def fail_once(name, classes, shape, seed):
        tried.append(seed)
        if seed == tasks[1].init_seed and tried.count(seed) == 1:
            raise OSError("a cable was pulled")
        return build_model(name, classes, shape, seed)

    monkeypatch.setattr(cells, "build_model", fail_once)
    monkeypatch.setattr(cells, "group_size", lambda make, *given: 3)
    given = GivenJobs(storage="", identity="", retries=retries)
    outcomes = list(jobs._outcomes(tasks, Store(tmp_path), {"digits": tiny_digits}, "cpu", given, Silent()))
    assert len(outcomes) == 3
    assert [task.seed for task, outcome in outcomes if isinstance(outcome, dict)] == done
    assert [str(outcome) for _, outcome in outcomes if isinstance(outcome, Exception)] == ["a cable was pulled"] * (
        retries == 0
    )


def test_an_irp_run_that_breaks_its_process_is_not_recorded_as_failed(jobs, tiny_digits, tmp_path, monkeypatch):
    def assert_in_a_kernel(*given):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(jobs, "do", assert_in_a_kernel)
    task, store = IrpTask(model="lenet-300-100", dataset="digits"), Store(tmp_path)
    given = [task], store, {"digits": tiny_digits}, "cpu", GivenJobs(storage="", identity=""), Silent()
    assert [str(error) for _, error in jobs._outcomes(*given)] == ["CUDA error: device-side assert triggered"]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", assert_in_a_kernel)
    with pytest.raises(DeviceLost):
        list(jobs._outcomes(*given))


def test_nor_is_one_that_says_itself_that_its_process_is_lost(jobs, tiny_digits, tmp_path, monkeypatch):
    def lost(*given):
        raise DeviceLost("planted")

    monkeypatch.setattr(jobs, "do", lost)
    task, store = IrpTask(model="lenet-300-100", dataset="digits"), Store(tmp_path)
    with pytest.raises(DeviceLost, match="planted"):
        given = GivenJobs(storage="", identity="")
        list(jobs._outcomes([task], store, {"digits": tiny_digits}, "cpu", given, Silent()))


def test_a_job_on_a_node_with_another_storage_stops_the_stage_and_does_nothing(jobs, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(jobs.tune, "report", told.append)
    store = Store(tmp_path / "results")
    store.prepare()
    jobs.run_job({"job": 0}, GivenJobs(storage=store.place.address, identity="the driver's"))
    assert "is not shared: this node cannot see the driver's files; put --storage on a folder" in told[0]["stop"]
    assert [path.name for path in store.root.iterdir()] == [".identity"]


@pytest.fixture
def two(jobs, tiny_digits, tmp_path, monkeypatch):
    """A finished scorer, a cell that it prunes, a cell without a scorer, the storage, and what does both as a job."""
    monkeypatch.setattr(jobs.tune, "report", lambda told: None)
    store, scorer = Store(tmp_path / "results"), ScorerTask(irp=("0",))
    store.prepare()
    (store.files_path("scorer", scorer.id) / "scorer").mkdir(parents=True)
    (store.files_path("scorer", scorer.id) / "scorer" / "scorer.json").write_text("not one that can be read")
    store.finish(scorer, {}, {})
    some = {"model": "lenet-300-100", "dataset": "digits", "seed": 0, "recipe": Recipe(epochs=1)}
    both = [
        Cell(criterion="autos", scorer=scorer.id, sparsity=0.5, **some),
        Cell(criterion="dense", sparsity=0.0, **some),
    ]
    given = GivenJobs(
        storage=store.place.address,
        identity=store.identity,
        retries=1,
        jobs=[[(task.kind, task.spec) for task in both]],
        datasets={"digits": to_arrays(tiny_digits)},
    )
    return scorer, *both, store, lambda: jobs.run_job({"job": 0}, given)


@pytest.mark.parametrize("damaged", [True, False], ids=["damaged since", "as it was recorded"])
def test_a_cell_has_not_failed_where_its_scorer_has_been_damaged_since(two, damaged):
    scorer, cell, other, store, run = two
    if damaged:
        (store.files_path("scorer", scorer.id) / "scorer" / "scorer.json").write_text("not one")
    with pytest.raises(CorruptFile, match="scorer") if damaged else nullcontext():
        run()
    assert store.finished([cell, other]) == {other.id}
    assert store.failed([cell, other]) == (set() if damaged else {cell.id}), "no run makes a whole scorer again"


def test_a_cell_has_not_failed_where_the_storage_was_away_and_the_others_are_done(two, monkeypatch):
    _, cell, other, store, run = two

    def away(*given):
        raise Unreachable("s3://bucket does not answer")

    monkeypatch.setattr(cells, "_scorer", away)
    with pytest.raises(Unreachable, match="does not answer"):
        run()
    assert store.finished([cell, other]) == {other.id}
    assert store.failed([cell, other]) == set()


def test_where_nothing_can_be_written_as_a_scorer_is_brought_the_stage_ends(two, jobs, monkeypatch):
    told = []
    monkeypatch.setattr(jobs.tune, "report", told.append)

    def full(*given):
        raise CannotWrite("cannot write to the local cache of s3://bucket: No space left on device")

    monkeypatch.setattr(Store, "fetched", full)
    two[-1]()
    assert "No space left on device" in told[-1]["stop"]


def test_a_job_that_is_begun_again_leaves_alone_what_has_failed_in_it(two, jobs, monkeypatch):
    _, cell, other, store, run = two
    tried, told = [], []
    monkeypatch.setattr(jobs.tune, "report", told.append)
    monkeypatch.setattr(cells, "_pruned", lambda cell, *given: tried.append(cell.id) or 1 / 0)
    run()
    assert set(tried) == store.failed([cell, other]) == {cell.id, other.id}
    tried.clear()
    run()
    assert tried == []
    assert set(told[-1]["failed"]) == {cell.id, other.id}
