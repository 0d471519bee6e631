"""A sweep on Ray Tune: its search spaces, searchers and schedulers choose; our records say what has been done."""

import functools
import secrets
import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from ray import get_gpu_ids, tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from autosparse.errors import AutosparseError, WorkersDied, WorkFailed
from autosparse.experiment.space import SweepTask, candidate, extremes
from autosparse.experiment.store import Record, Store
from autosparse.irp import Survival
from autosparse.plugins import load_plugins
from autosparse.runner import trial as one
from autosparse.runner.jobs import Arrays, from_arrays, here
from autosparse.runner.session import job_count
from autosparse.runner.settings import Settings
from autosparse.runner.silence import first_error, fit
from autosparse.runner.trial import Trial, finish_sweep, tried
from autosparse.runner.work import survivals_of

POINT = "point"
"""Key of a trial's configuration under which a whole point stands."""


def run_sweep(
    sweep: SweepTask,
    store: Store,
    datasets: dict[str, Arrays],
    environment: Record,
    settings: Settings,
    on_event: Callable[[Record], None],
    plugins: tuple[str, ...] = (),
) -> None:
    """Try all candidates and write the sweep's record; what an earlier process did of a trial is not done again.

    Tune's own restore is not used: it unpickles. The searcher draws the same candidates again (or, if it learns,
    is told of those known), and each goes on from its own checkpoint.

    :raises WorkersDied: where trials are left.
    :raises WorkFailed: where none ended well.
    """
    started = time.perf_counter()
    shared = {
        "sweep": sweep.spec,
        "dataset": datasets[sweep.downstream.dataset] if sweep.downstream else None,
        "storage": store.place.address,
        "identity": store.identity,
        "environment": environment,
        "plugins": plugins,
    }
    seen = _Seen(sweep, store, on_event)
    scratch = store.root / "tune" / secrets.token_hex(4)
    resources = {"cpu": 1, "gpu": settings.gpus_per_job}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trainable, shared=shared), resources),
        param_space=_space(sweep),
        tune_config=_choosing(sweep, store, job_count(settings)),
        run_config=tune.RunConfig(
            name=scratch.name,
            storage_path=str(scratch.parent),
            verbose=0,
            callbacks=[seen],
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    )
    try:
        grid = fit(tuner)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if grid is None:
        raise WorkersDied("Ray Tune gave up waiting for a node that had died; run again to go on")
    trials = [Trial(store, sweep, values) for values in seen.values.values()]
    if unfinished := [trial for trial in trials if not trial.over]:
        why = f" ({told})" if (told := first_error(grid)) else ""
        raise WorkersDied(f"{len(unfinished)} of {len(trials)} trials did not come to an end{why}; run again to go on")
    if not any(trial.status == one.DONE for trial in trials):
        for trial in trials:
            trial.forget()  # what asks for another try means all of them
        raise WorkFailed(f"no trial of the sweep ended well; the first: {trials[0].error or 'stopped early'}")
    finish_sweep(sweep, trials, store, time.perf_counter() - started, environment)


class _Seen(tune.Callback):
    """Remembers the candidates that Tune tried, and writes down which of them it stopped."""

    def __init__(self, sweep: SweepTask, store: Store, on_event: Callable[[Record], None]):
        self.sweep, self.store, self.on_event = sweep, store, on_event
        self.values: dict[str, dict[str, Any]] = {}
        self.over: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves its callbacks for a restore, which we never do

    def _known(self, config: dict[str, Any]) -> Trial:
        known = Trial(self.store, self.sweep, values_of(config))
        self.values[known.task.id] = known.values
        return known

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune before the first epoch."""
        self._known(trial.config)
        self.on_event({"running": [self.sweep.id]})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a trial has ended or was stopped."""
        known = self._known(trial.config)
        if not known.over:
            known.write(one.STOPPED)
        self.over.add(known.task.id)
        latest = {"accuracy": known.value} if self.sweep.downstream and known.value is not None else {}
        share = min(1.0, len(self.over) / self.sweep.size)
        self.on_event({"running": [self.sweep.id], "share": share, **latest})


def _trainable(config: dict[str, Any], shared: dict[str, Any]) -> None:
    """One trial, in its worker."""
    torch.set_num_threads(1)
    device = "cuda" if get_gpu_ids() else "cpu"
    load_plugins(shared["plugins"])
    sweep, store = SweepTask.model_validate(shared["sweep"], strict=False), Store(shared["storage"])
    store.require(shared["identity"])
    dataset = from_arrays(shared["dataset"]).to(device) if sweep.downstream else None
    load = functools.partial(_survivals, sweep.irp, store.place.address)
    trial = Trial(store, sweep, values_of(config))
    environment = shared["environment"] | here()
    one.run_trial(trial, load, dataset, device, environment, lambda numbers: tune.report(dict(numbers)))


@functools.lru_cache(maxsize=1)
def _survivals(irp: tuple[str, ...], storage: str) -> list[Survival]:
    """Read once per worker."""
    return survivals_of(irp, Store(storage))


def values_of(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that a trial's configuration stands for, as plain Python numbers."""
    chosen = config.get(POINT, config)
    return {name: value.item() if hasattr(value, "item") else value for name, value in chosen.items()}


def _space(sweep: SweepTask) -> dict[str, Any]:
    if not sweep.space:
        return {POINT: tune.grid_search(list(sweep.points))}
    return {name: _distribution(given) for name, given in sweep.space.items()}


def _distribution(given: dict[str, tuple[Any, ...]]) -> Any:
    [(name, values)] = given.items()
    return tune.choice(list(values)) if name == "choice" else getattr(tune, name)(*values)


def _choosing(sweep: SweepTask, store: Store, workers: int) -> tune.TuneConfig:
    """Who chooses the candidates, and who stops them."""
    shared: dict[str, Any] = {"metric": sweep.metric, "mode": "max", "reuse_actors": True}
    if sweep.asha:
        longest = max(candidate(sweep.fit, point).epochs for point in [{}, *extremes(sweep)])
        grace = min(sweep.asha.grace, longest)
        asha = ASHAScheduler("epoch", max_t=longest, grace_period=grace, reduction_factor=sweep.asha.reduction)
        shared["scheduler"] = asha
    if not sweep.space:
        return tune.TuneConfig(max_concurrent_trials=workers, **shared)
    if sweep.search == "optuna":
        searcher = _optuna(sweep, store)
        return tune.TuneConfig(search_alg=searcher, num_samples=sweep.size, max_concurrent_trials=workers, **shared)
    points = [dict(point) for point in sweep.points]
    drawing = BasicVariantGenerator(points_to_evaluate=points, max_concurrent=workers, random_state=sweep.search_seed)
    return tune.TuneConfig(search_alg=drawing, num_samples=sweep.size, **shared)


def _optuna(sweep: SweepTask, store: Store) -> Any:
    """Tree-structured Parzen estimators; what an earlier process tried is tried first, and found done."""
    try:
        import optuna  # noqa: F401  Ray imports it late, and says less
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise AutosparseError("`search: optuna` needs Optuna: pip install '.[optuna]'") from error
    known = [trial.values for trial in tried(sweep, store)]
    points = [dict(point) for point in sweep.points]
    points += [values for values in known if values not in points]
    return OptunaSearch(points_to_evaluate=points, seed=sweep.search_seed + len(known))
