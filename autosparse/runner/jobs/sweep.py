"""A sweep on Ray Tune: Tune's searchers and schedulers choose, our records say what has been done."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

from autosparse.errors import AutosparseError, WorkersDied, WorkFailed
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.space import SweepTask, candidate, extremes
from autosparse.experiment.store import Store, plain
from autosparse.irp import Survival
from autosparse.runner.driver.session import job_count
from autosparse.runner.jobs.arrays import from_arrays
from autosparse.runner.jobs.cost import ALIKE
from autosparse.runner.jobs.deaths import first_error, worker_deaths
from autosparse.runner.jobs.given import GivenSweep, Means
from autosparse.runner.jobs.hang import Hangs
from autosparse.runner.jobs.job import set_up
from autosparse.runner.jobs.loaders import with_loaders
from autosparse.runner.jobs.pulse import pulse
from autosparse.runner.jobs.signs import Signs
from autosparse.runner.jobs.tune_quiet import Halt, Unsaved, fit, resources_of
from autosparse.runner.screen.tally import Event
from autosparse.runner.work import sweep_trial as one
from autosparse.runner.work.fit import survivals_of
from autosparse.runner.work.sweep_trial import Trial, finish_sweep, tried
from autosparse.runner.work.trial_origin import keep_for, origin_of

POINT = "point"
"""Key of a trial's configuration that holds a whole point."""
DEATHS = 2
"""Deaths of workers that a trial survives."""


def run_sweep(sweep: SweepTask, means: Means) -> None:
    """Try all candidates and write the sweep's record; a trial goes on where an earlier process left it.

    Tune's own restore is not used, because it unpickles. The searcher draws the same candidates again (one that learns
    is told of the known ones), and each goes on from its own checkpoint. A trial that raises is retried as often as the
    settings say, and then has failed. One that kills its workers is tried once more with none beside it, and has failed
    if it does so again.

    :raises WorkersDied: if trials are left.
    :raises WorkFailed: if every trial failed or was stopped.
    """
    store, settings, name = means.store, means.settings, dataset_of(sweep)
    used, cpus = with_loaders({name: means.datasets[name]} if name else {}, settings)
    given = GivenSweep(**means.given, sweep=sweep.spec, dataset=used[name] if name else None)
    data = means.datasets[name].fields["fingerprint"] if name else None
    if data:
        keep_for(data, sweep, store)
    seen = _Seen(sweep, store, means.on_event)
    hangs = Hangs(Signs((), ALIKE, settings.patience), means.on_event)
    search = functools.partial(_search, given, resources_of(cpus, settings), seen, hangs, max(DEATHS, settings.retries))
    grid = search(job_count(settings, cpus))
    if worker_deaths(grid):
        before = {trial.task.id: trial.reached for trial in seen.unfinished}
        grid = search(1)
        deaths = {seen.task_ids[name]: death for name, death in worker_deaths(grid).items() if name in seen.task_ids}
        for trial in seen.unfinished:
            death = deaths.get(trial.task.id)
            if death and trial.reached == before.get(trial.task.id, 0):
                error = f"its worker process died each time, also alone: {death.told}"
                trial.write(one.FAILED, error, plain(death.traceback))
    if left := len(seen.unfinished) + len(grid) - len(seen.task_ids):  # trials that have not ended, or not begun
        why = f" ({reason})" if (reason := first_error(grid)) else ""
        raise WorkersDied(f"{left} of {len(grid)} trials did not finish{why}; run again to go on")
    trials = seen.trials
    if not any(trial.status == one.DONE for trial in trials):
        for trial in trials:
            trial.forget()  # --retry-failed then tries all of them
        reason = trials[0].error or "stopped early"
        failed = WorkFailed(f"every trial of the sweep failed or was stopped; the first: {reason}")
        failed.add_note(trials[0].traceback)
        raise failed
    finish_sweep(sweep, trials, store, means.environment, data)


def _search(
    given: GivenSweep, resources: tune.PlacementGroupFactory, seen: "_Seen", hangs: Hangs, failures: int, workers: int
) -> tune.ResultGrid:
    """Have Tune try the candidates, each from where it is; trials that are over report their history again.

    :param failures: how often Tune restarts a trial.
    :raises Unreachable: if the storage was away as a trial began or ended.
    """
    seen.task_ids.clear()
    space, choosing = _space(seen.sweep), _choosing(seen, workers)
    grid = fit(_trainable, given, resources, space, choosing, [seen, hangs], seen.halt, failures, seen.store.root)
    if seen.halt.reason:
        raise seen.halt.reason
    if grid is None:
        raise WorkersDied("Ray Tune gave up waiting for a node that had died; run again to go on")
    return grid


class _Seen(Unsaved, tune.Callback):
    """Remembers the candidates that Tune tried, and writes down which of them it stopped."""

    def __init__(self, sweep: SweepTask, store: Store, on_event: Callable[[Event], None]):
        self.sweep, self.store, self.on_event = sweep, store, on_event
        self.values: dict[str, dict[str, Any]] = {}
        self.task_ids: dict[str, str] = {}
        """Task ids by Tune's names of the trials; several trials may have the same candidate."""
        self.over: set[str] = set()
        self.halt = Halt()
        """Its reason is the storage's error, which is not raised here: Tune would blame the trial for it."""

    @functools.cached_property
    def _origin(self) -> str:
        """That of all trials: no IRP run is done again while a sweep on it runs."""
        return origin_of(self.sweep, self.store)

    @property
    def trials(self) -> list[Trial]:
        """All trials that were seen, in their present state."""
        return [Trial(self.store, self.sweep, values, self._origin) for values in self.values.values()]

    @property
    def unfinished(self) -> list[Trial]:
        """The trials that have not ended."""
        return [trial for trial in self.trials if not trial.over]

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except AutosparseError as error:
            self.halt.reason = self.halt.reason or error

    def _known(self, trial: Any) -> Trial:
        known = Trial(self.store, self.sweep, values_of(trial.config), self._origin)
        self.values[known.task.id] = known.values
        self.task_ids[trial.trial_id] = known.task.id
        return known

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune before the first epoch."""
        with self._keeping_error():
            self._known(trial)
            self.on_event({"running": [self.sweep.id]})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a trial has ended or was stopped."""
        if self.halt.reason:
            return  # the error stopped the trial
        with self._keeping_error():
            known = self._known(trial)
            if not known.over:
                known.write(one.STOPPED)
            self.over.add(known.task.id)
            event: Event = {"running": [self.sweep.id], "share": min(1.0, len(self.over) / self.sweep.size)}
            if self.sweep.downstream and known.value is not None:
                event["accuracy"] = known.value
            self.on_event(event)


def _trainable(config: dict[str, Any], given: GivenSweep) -> None:
    """Run one trial in its worker."""
    store, device, environment = set_up(given)
    sweep = SweepTask.model_validate(given.sweep, strict=False)
    dataset = from_arrays(given.dataset).to(device) if given.dataset else None
    load = functools.partial(_survivals, sweep.irp, store.place.address)
    trial = Trial(store, sweep, values_of(config))

    def report(numbers: one.Numbers) -> None:
        tune.report(dict(numbers))

    with pulse():
        one.run_trial(trial, load, dataset, device, environment, report, given.retries, given.execution)


@functools.lru_cache(maxsize=1)
def _survivals(irp: tuple[str, ...], storage: str) -> list[Survival]:
    """The survival datasets of IRP runs, read once per worker: they do not change while it lives."""
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


def _choosing(seen: _Seen, workers: int) -> tune.TuneConfig:
    """The configuration that says who chooses the candidates, and who stops them."""
    sweep = seen.sweep
    shared: dict[str, Any] = {"metric": sweep.metric, "mode": "max", "reuse_actors": True}
    shared["trial_dirname_creator"] = lambda trial: trial.trial_id
    if sweep.asha:
        longest = max(candidate(sweep.fit, point).epochs for point in [{}, *extremes(sweep)])
        grace = min(sweep.asha.grace, longest)
        asha = ASHAScheduler("epoch", max_t=longest, grace_period=grace, reduction_factor=sweep.asha.reduction)
        shared["scheduler"] = asha
    if not sweep.space:
        return tune.TuneConfig(max_concurrent_trials=workers, **shared)
    if sweep.search == "optuna":
        searcher = _optuna(seen)
        return tune.TuneConfig(search_alg=searcher, num_samples=sweep.size, max_concurrent_trials=workers, **shared)
    points = [dict(point) for point in sweep.points]
    drawing = BasicVariantGenerator(points_to_evaluate=points, max_concurrent=workers, random_state=sweep.search_seed)
    return tune.TuneConfig(search_alg=drawing, num_samples=sweep.size, **shared)


def _optuna(seen: _Seen) -> Any:
    """A searcher with tree-structured Parzen estimators; it first tries what an earlier process has done."""
    try:
        import optuna  # noqa: F401  Ray imports it late, and says less
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise AutosparseError("`search: optuna` needs Optuna: pip install '.[optuna]'") from error
    sweep = seen.sweep
    known = list(({trial.task.id: trial.values for trial in tried(sweep, seen.store)} | seen.values).values())
    points = [dict(point) for point in sweep.points]
    points += [values for values in known if values not in points]
    return OptunaSearch(points_to_evaluate=points, seed=sweep.search_seed + len(known))
