"""An experiment from its plan to finished records: stages on Ray, MLflow written as they finish."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from autosparse.data import load_dataset
from autosparse.errors import Interrupted
from autosparse.experiment.environment import describe_environment
from autosparse.experiment.plan import Plan, Planned
from autosparse.experiment.store import Record, Store
from autosparse.experiment.tasks import Cell, IrpTask, Task
from autosparse.runner.cost import Costs, extent_of
from autosparse.runner.progress import Bar, Talk
from autosparse.runner.session import ray_session
from autosparse.runner.settings import Settings
from autosparse.runner.summary import summarise
from autosparse.tracking.client import connect
from autosparse.tracking.log import FAILED, FINISHED, KILLED, RUNNING, Tracker


@dataclass(frozen=True)
class Outcome:
    """What a run left: which tasks were found finished, done now, or are not done, and why."""

    found: int
    done: int
    failed: list[tuple[Planned[Task], str]]


def unfinished(planned: Sequence[Planned[Task]], store: Store) -> list[Planned[Task]]:
    """Those without a whole record."""
    return [p for p in planned if store.record(p.task) is None]


STAGES = ("irp", "scorers", "grid")
"""In the order in which they feed each other."""


def run_plan(plan: Plan, settings: Settings, talk: Talk, only: str | None = None) -> Outcome:
    """Do what is missing of ``plan``; what is finished is skipped. MLflow then holds every finished task once.

    :param only: one of STAGES; what it builds on must be finished.

    Bad settings (an unwritable folder, missing data, an absent server) are told of before anything starts.
    A task that fails is recorded and the rest goes on, but for what depends on it.
    """
    store = Store(settings.storage)
    store.prepare()
    with store.one_driver():
        return _run(plan, store, settings, talk, only)


def _run(plan: Plan, store: Store, settings: Settings, talk: Talk, only: str | None) -> Outcome:
    tracker = Tracker(connect(settings.tracking_uri), plan.name, store)
    stages: dict[str, Sequence[Planned[Task]]] = dict(zip(STAGES, (plan.irp, plan.scorers, plan.cells), strict=True))
    asked = list(plan) if only is None else list(stages[only])
    todo = unfinished(asked, store)
    tracker.describe(summarise(plan, store), RUNNING)
    if todo:
        try:
            _do(plan, todo, store, tracker, settings, talk)
        except KeyboardInterrupt as error:
            talk.guard(lambda: tracker.sync(plan))
            talk.guard(lambda: tracker.describe(summarise(plan, store), KILLED))
            left = len(unfinished(todo, store))
            raise Interrupted(f"interrupted with {left} of {len(todo)} to do; run the same command to go on") from error
        except BaseException:
            talk.guard(lambda: tracker.describe(summarise(plan, store), FAILED))
            raise
    tracker.sync(plan)
    failed = [(p, _reason(p.task, store)) for p in unfinished(todo, store)]
    tracker.describe(summarise(plan, store), FAILED if failed else FINISHED)
    return Outcome(len(asked) - len(todo), len(todo) - len(failed), failed)


def _do(plan: Plan, todo: list[Planned[Task]], store: Store, tracker: Tracker, settings: Settings, talk: Talk) -> None:
    needed = {p.task.dataset for p in todo if isinstance(p.task, IrpTask | Cell)}
    datasets = {}
    for name in sorted(needed):
        talk.say(f"loading {name}")
        datasets[name] = load_dataset(name, settings.data_root, download=settings.download)
    environment = describe_environment()
    talk.say("starting Ray")
    with ray_session(settings):
        from autosparse.runner.jobs import to_arrays  # here: Ray takes seconds to import
        from autosparse.runner.stage import run_stage

        arrays = {name: to_arrays(dataset) for name, dataset in datasets.items()}
        asked = {p.task.id for p in todo}
        costs = Costs({name: extent_of(dataset) for name, dataset in datasets.items()})
        stages: tuple[tuple[str, Sequence[Planned[Task]]], ...] = (
            ("iterative rewind pruning", plan.irp),
            ("fitting scorers", plan.scorers),
            ("training the grid", plan.cells),
        )
        for title, planned in stages:
            wanted = [p for p in planned if p.task.id in asked]
            missing = {p.task.id: p for p in _ready(unfinished(wanted, store), store, plan)}
            if missing:
                tasks = [p.task for p in missing.values()]
                with talk.stage(title, tasks) as bar, _Logging(tracker, talk) as logging:
                    on_event = _listener(bar, missing, logging)
                    run_stage(tasks, store, arrays, environment, settings, costs, on_event, plan.plugins)


def _listener(bar: Bar, planned: dict[str, Planned[Task]], logging: "_Logging") -> Callable[[Record], None]:
    """Moves the bar at each report of a worker, and has what has finished written to MLflow."""

    def on_event(event: Record) -> None:
        bar.advance(event)
        for task_id in event.get("task_ids", ()):
            if task_id in planned:
                logging(planned[task_id])

    return on_event


class _Logging:
    """Writes to MLflow in a thread of its own, so that workers do not wait for it; ends when all is written."""

    def __init__(self, tracker: Tracker, talk: Talk):
        self.tracker, self.talk, self.pool = tracker, talk, ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> "_Logging":
        return self

    def __call__(self, planned: Planned[Task]) -> None:
        self.pool.submit(self.talk.guard, lambda: self.tracker.log(planned))

    def __exit__(self, kind: object, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=kind is not None)  # what is dropped is written by the last sync


def _ready(planned: list[Planned[Task]], store: Store, plan: Plan) -> list[Planned[Task]]:
    """Those whose inputs are finished; the others would fail for a reason told elsewhere."""
    done = {p.task.id for p in (*plan.irp, *plan.scorers) if store.record(p.task) is not None}
    return [p for p in planned if set(_inputs(p.task)) <= done]


def _inputs(task: Task) -> tuple[str, ...]:
    scorer = getattr(task, "scorer", None)
    return getattr(task, "irp", ()) + ((scorer,) if scorer else ())


def _reason(task: Task, store: Store) -> str:
    failure = store.failure(task)
    if failure is not None:
        return str(failure["error"])
    if _inputs(task):
        return "what it builds on is not finished"
    return "interrupted, or its worker died; run again to go on"
