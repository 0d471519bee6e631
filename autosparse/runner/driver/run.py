"""Run an experiment: do its plan stage by stage on Ray, and write to MLflow as tasks finish."""

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from autosparse.data.split import Dataset
from autosparse.data.stream import StreamedSplit
from autosparse.errors import AutosparseError, CannotWrite, Interrupted, Unreachable, WorkersDied
from autosparse.experiment.environment import describe_environment
from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Json
from autosparse.experiment.space import SweepTask
from autosparse.experiment.stages import NAMED, SWEEPS
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Task
from autosparse.results.cell_table import write_cell_table
from autosparse.results.leaderboard import write_leaderboard
from autosparse.runner.driver.outcome import Outcome, outcome_of, ready, unfinished
from autosparse.runner.driver.rehearsal import rehearse
from autosparse.runner.driver.session import idle_gpus, ray_session
from autosparse.runner.driver.settle import Context, Settled, settle, superseded
from autosparse.runner.driver.stopping import stoppable
from autosparse.runner.driver.summary import summarise
from autosparse.runner.jobs.arrays import to_arrays
from autosparse.runner.jobs.cost import Costs, extent_of
from autosparse.runner.jobs.given import Means
from autosparse.runner.jobs.loaders import most_loaders
from autosparse.runner.nodes import unmet
from autosparse.runner.screen.console import Screen
from autosparse.runner.screen.tally import Event, Tally
from autosparse.runner.settings import Settings
from autosparse.tracking.client import connect
from autosparse.tracking.known import FAILED
from autosparse.tracking.log import Tracker
from autosparse.tracking.parent import KILLED, RUNNING
from autosparse.tracking.spool import Spool, finish
from autosparse.tracking.steadily import steadily


def run_plan(
    plan: Plan, settings: Settings, screen: Screen, only: Collection[str] = tuple(NAMED), store: Store | None = None
) -> Outcome:
    """Do what is missing of ``plan`` and skip what is finished. MLflow then holds every finished task once.

    Bad settings (an unwritable folder, missing data, an absent server) raise before anything starts.
    A task that fails is recorded, and the rest goes on. Tasks that depend on it stay to do.

    :param only: names of stages; what they build on must be finished or among them.
    :param store: that of the settings, for a caller who asks it for more afterwards.
    """
    store = store or Store(settings.storage)
    stages = {stage.name: planned for stage, planned in plan.stages.items() if stage.name in only}
    asked = [p for planned in stages.values() for p in planned]
    with store.one_driver() as lost, stoppable():
        try:
            tracker = steadily(lambda: Tracker(connect(settings.tracking_uri), plan.name, store))
            return _run(Context(plan, store, tracker, settings, screen), stages, asked, lost)
        except KeyboardInterrupt as error:
            undone = len(unfinished(asked, store, known=False))
            raise Interrupted(
                f"interrupted with {undone} of {len(asked)} to do; run the same command to go on"
            ) from error


def _run(
    context: Context, stages: dict[str, Sequence[Planned[Task]]], asked: Sequence[Planned[Task]], lost: threading.Event
) -> Outcome:
    plan, tracker, screen = context.plan, context.tracker, context.screen

    def end(status: str) -> None:
        if not lost.is_set():  # once the lock is lost, the next driver writes to MLflow
            screen.guard(lambda: tracker.parent.describe(_summary(context), status))

    finished = context.store.finished(p.task for p in plan)  # the one scan of all records; the store remembers it
    steadily(lambda: tracker.parent.describe(_summary(context), RUNNING))
    try:
        settled = settle(context, asked, finished)
        ids = {p.task.id for p in settled.todo}
        for name, planned in stages.items():
            left_alone = [p.task.id for p in planned if p.task.id not in ids]
            found = sum(task_id in finished for task_id in left_alone)
            screen.expect(name, len(planned), found, len(left_alone) - found)
        if settled.todo:
            if context.settings.rehearsal:
                rehearse(settled.todo, settled.datasets, screen)
            _do(context, stages, settled)
        elif context.settings.rehearsal:
            screen.say("there is nothing to do, so nothing was tried or started")
    except KeyboardInterrupt:
        if not lost.is_set():
            screen.guard(lambda: tracker.sync(plan))
        end(KILLED)
        raise
    except BaseException:
        end(FAILED)
        raise
    try:
        outcome, status = outcome_of(asked, settled.todo, context.store, plan)
        finish(tracker, plan, _summary(context), status, screen.warn)
        screen.guard(lambda: write_cell_table(tracker))
        screen.guard(lambda: write_leaderboard(tracker))
        return outcome
    except KeyboardInterrupt:
        end(KILLED)
        raise


def _summary(context: Context) -> Json:
    others = context.tracker.others(context.plan)
    return {**summarise(context.plan, context.store), "others": others, "started_ms": context.started_ms}


def _cpus(datasets: Iterable[Dataset], settings: Settings) -> int:
    """CPUs that a job can use."""
    streamed = [split for data in datasets for split in (data.train, data.test) if isinstance(split, StreamedSplit)]
    return 1 + max((most_loaders(settings.gpus_per_job, split.workers) for split in streamed), default=0)


def _do(context: Context, stages: dict[str, Sequence[Planned[Task]]], settled: Settled) -> None:
    store, tracker, settings, screen = context.store, context.tracker, context.settings, context.screen
    datasets = settled.datasets
    environment = {**describe_environment(), "gpus_per_job": settings.gpus_per_job}
    screen.say("starting Ray")
    with ray_session(settings, _cpus(datasets.values(), settings)):
        from autosparse.runner.driver.shared import require_shared  # here: Ray takes seconds to import
        from autosparse.runner.jobs.stage import run_stage

        require_shared(store.place, labels=settings.label_selector)
        if why := unmet(settings.label_selector):
            screen.warn(why)
        if count := idle_gpus(settings):
            screen.warn(f"Ray has {count} GPU{'' if count == 1 else 's'}, and no job uses one: see --gpus-per-job")
        arrays = {name: to_arrays(dataset) for name, dataset in datasets.items()}
        costs = Costs({name: extent_of(dataset) for name, dataset in datasets.items()})
        for stage, planned in stages.items():
            wanted = [p for p in planned if p.task.id in settled.pending]
            settled.todo += superseded(context, wanted, settled.todo)
            missing = {p.task.id: p for p in ready(unfinished(wanted, store), store, context.plan)}
            if not missing:
                continue
            tasks = [p.task for p in missing.values()]
            tracker.expect(missing)
            with (
                _timed(stage, tracker, screen),
                screen.stage(NAMED[stage].title, tasks, costs) as tally,
                Spool(tracker, screen.warn) as spool,
            ):
                on_event = _listener(tally, missing, store, spool, screen.warn)
                means = Means(store, settings, on_event, arrays, environment, context.plan.plugins)
                if stage == SWEEPS.name:
                    _do_sweeps(tasks, means, screen)
                elif why := run_stage(tasks, costs, means):
                    screen.warn(f"workers died or gave up; the last reason: {why}")


def _do_sweeps(sweeps: Sequence[Task], means: Means, screen: Screen) -> None:
    """Do one sweep after the other; if one fails, the others go on."""
    from autosparse.runner.jobs.sweep import run_sweep  # here: as in _do

    for sweep in sweeps:
        assert isinstance(sweep, SweepTask)
        failed: list[str] = []
        try:
            run_sweep(sweep, means)
        except CannotWrite:
            raise
        except (WorkersDied, Unreachable) as error:  # not the sweep's fault: it stays to do
            screen.warn(str(error))
            failed = [sweep.id]
        except AutosparseError as error:
            means.store.fail(sweep, str(error), traceback.format_exc(), means.environment)
            failed = [sweep.id]
        means.on_event({"task_ids": [sweep.id], "failed": failed})


@contextlib.contextmanager
def _timed(stage: str, tracker: Tracker, screen: Screen) -> Iterator[None]:
    """Note the wall time of a stage, even if it is interrupted."""
    started = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - started
        screen.guard(lambda: tracker.parent.spent(stage, seconds))


def _listener(
    tally: Tally, planned: dict[str, Planned[Task]], store: Store, spool: Spool, warn: Callable[[str], None]
) -> Callable[[Event], None]:
    """A function that counts each report of a job, tells the store, and has finished tasks written to MLflow."""

    def on_event(event: Event) -> None:
        if warning := event.get("warning"):
            warn(warning)
            return
        tally.advance(event)
        store.hear(set(event.get("task_ids", ())).difference(event.get("failed", ())))
        for task_id in event.get("task_ids", ()):
            if task_id in planned:
                spool(planned[task_id])

    return on_event
