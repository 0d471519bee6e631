"""One trial of a sweep: a fit that keeps its state, so that it can go on later. No Ray here."""

import contextlib
import functools
import itertools
import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from autosparse.autos import Scorer, load_scorer
from autosparse.autos.backbones import BACKBONES
from autosparse.autos.learn import Epoch
from autosparse.autos.regression import State
from autosparse.data.split import Dataset
from autosparse.data.validation import with_validation
from autosparse.errors import AutosparseError, CannotWrite, CorruptFile, Unreachable, WorkFailed
from autosparse.experiment.space import SweepTask, candidate
from autosparse.experiment.store import FOLDERS, Json, Store, plain
from autosparse.experiment.superseded import code_has_changed, set_aside
from autosparse.experiment.tasks import Cell, FitSpec, ScorerTask
from autosparse.files import pack_record, unpack_record
from autosparse.irp import Survival
from autosparse.runner.work.cells import run_cells
from autosparse.runner.work.fit import run_fit
from autosparse.runner.work.trial_origin import origin_of
from autosparse.storage.checkpoints import Checkpoints
from autosparse.training import Execution

Numbers = dict[str, float]
"""``epoch, loss, held_out_r2`` and, if it was measured, ``validation_accuracy`` or ``test_accuracy``."""
KNOWN = "trial.json"
RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
WHERE = ("device", "device_name", "precision", "dataset_fingerprint")
"""Keys that say where a trial was done; a trial has the last two only if networks were trained to test its scorer."""


class Trial:
    """What a sweep knows of one candidate: ``sweeps/<sweep>/<fit>/trial.json``, and the checkpoints beside it."""

    def __init__(self, store: Store, sweep: SweepTask, values: dict[str, Any], origin: str | None = None):
        """
        :param origin: see :func:`origin_of`, which reads the record of each IRP run; None: ask it.
        """
        self.store, self.sweep, self.values = store, sweep, values
        self.task = ScorerTask.on(sweep.irp, candidate(sweep.fit, values), sweep.dataset)
        self.place = store.place.within(f"{FOLDERS['sweep']}/{sweep.id}/{self.task.id}")
        self.of = f"{sweep.id}/{self.task.id}{origin_of(sweep, store) if origin is None else origin}"
        self.checkpoints = Checkpoints(self.place, self.of)
        known = self._read()
        self.status: str = known.get("status", RUNNING)
        self.history: list[Numbers] = known.get("history", [])
        self.error: str = known.get("error", "")
        self.traceback: str = known.get("traceback", "")
        self.failures: int = known.get("failures", 0)
        """How often it has failed for a reason that may be temporary."""
        self.where: Json = known.get("where", {})
        """Where it was last done: the entries that WHERE names, as in the record of a cell."""
        self.seconds: float = known.get("seconds", 0.0)
        """Seconds of work, summed over the processes that did it."""
        self.seconds_judging: float = known.get("seconds_judging", 0.0)
        """How many of them went into networks that judge the scorer: no part of what the scorer itself costs."""

    def _read(self) -> Json:
        try:
            known = unpack_record(self.place.read(KNOWN), KNOWN)
        except (FileNotFoundError, CorruptFile):
            return {}
        except OSError as error:
            reason = error.strerror or error
            raise Unreachable(f"cannot read {self.place}/{KNOWN}: {reason}; make it readable, or remove it") from error
        return known if known.get("of") == self.of else {}

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status != RUNNING

    @property
    def reached(self) -> int:
        """The number of epochs, plus generations of a refinement, from which it can continue."""
        kept = self.checkpoints.newest(), self.store.states(self.task).newest()
        return sum(found.step for found in kept if found)

    @property
    def value(self) -> float | None:
        """The latest value of what the sweep maximises."""
        found = [numbers[self.sweep.metric] for numbers in self.history if self.sweep.metric in numbers]
        return found[-1] if found else None

    @property
    def row(self) -> Json:
        """The trial's row in the sweep's record."""
        fit = self.task.fit.model_dump(mode="json")
        last = self.history[-1] if self.history else {}
        return {
            "id": self.task.id,
            "values": {name: fit.get(name) for name in self.values},
            "fit": fit,
            "status": self.status,
            "value": self.value,
            "epochs": int(last.get("epoch", 0)) if BACKBONES[self.task.fit.backbone].by_gradient else 0,
            "seconds": self.seconds,
            "history": self.history,
            "error": self.error,
            "traceback": self.traceback,
            **self.where,
        }

    def write(self, status: str, error: str = "", traceback: str = "") -> None:
        """Write its state; once it has ended, remove its checkpoints."""
        if status != DONE and self._read().get("status") == DONE:
            return  # another trial of the same candidate has ended
        self.status, self.error, self.traceback = status, error, traceback
        content = {"of": self.of, "values": self.values, "history": self.history, "failures": self.failures}
        content |= {"where": self.where, "seconds": self.seconds, "seconds_judging": self.seconds_judging}
        self.place.write(KNOWN, pack_record({**content, "status": status, "error": error, "traceback": traceback}))
        if self.over:
            self.checkpoints.clear()

    def fail(self, error: Exception) -> None:
        """Write why it failed."""
        text = str(error) if isinstance(error, AutosparseError) else f"{type(error).__name__}: {error}"
        self.write(FAILED, plain(text), plain("".join(traceback.format_exception(error))))

    def forget(self) -> None:
        """Remove its state, so that it is done again."""
        self.place.remove(KNOWN)

    def resumed(self) -> State | None:
        """The newest whole state. Later entries of the history are dropped, because these epochs are done again."""
        found = self.checkpoints.newest()
        epoch = found.step if found else 0
        self.history = [numbers for numbers in self.history if numbers["epoch"] <= epoch]
        return State(found.step, found.tensors, found.content) if found else None


def tried(sweep: SweepTask, store: Store) -> list[Trial]:
    """The trials that have a state on the storage, in the order of their ids."""
    found, origin = [], origin_of(sweep, store)
    place = store.place.within(f"{FOLDERS['sweep']}/{sweep.id}")
    for name in place.names(deep=True):
        with contextlib.suppress(CorruptFile, FileNotFoundError):
            if name.endswith(f"/{KNOWN}"):
                found.append(Trial(store, sweep, unpack_record(place.read(name), name)["values"], origin))
    return found


def run_trial(
    trial: Trial,
    survivals: Callable[[], list[Survival]],
    dataset: Dataset | None,
    device: str,
    environment: Json,
    report: Callable[[Numbers], None],
    retries: int = 0,
    execution: Execution | None = None,
) -> None:
    """Fit, or go on with a fit; ``report`` gets the numbers of every epoch, including those of an earlier process.

    A fit that ends is a finished scorer of the store, the same as if an experiment had named it. ``report`` may end
    the process, so the last epoch is reported after everything is written.

    :param retries: how often a trial is retried after an error that may be temporary, before it has failed. The error
        is raised each time, even the last, because it may have spoilt this process for other work.
    :param execution: how to train the networks that show how good the scorer is; None: the defaults.
    """
    execution = execution or Execution()
    if trial.over:
        _again(trial.history, report)
        return
    with _failing(trial, retries):
        trial.where = _where(dataset, device, environment, execution)
        share = min(1.0, environment.get("gpus_per_job") or 1.0)
        measure = functools.partial(_downstream, trial, dataset, device, execution, share)
        earlier, started = trial.seconds, time.perf_counter()
        done = trial.store.record(trial.task)
        if done is not None and code_has_changed(trial.task, done):
            set_aside(trial.task, trial.store)
            done = None
        if done is not None:
            folder = trial.store.fetched("scorer", trial.task.id)
            trial.history = _history_of(done["result"], folder, trial, measure)
            trial.seconds = done["result"].get("seconds", 0.0) + time.perf_counter() - started
            trial.write(DONE)
            _again(trial.history, report)
            return
        state = trial.resumed()
        last = trial.task.fit.epochs
        _again([numbers for numbers in trial.history if numbers["epoch"] < last], report)

        def on_epoch(epoch: Epoch) -> None:
            numbers: Numbers = {"epoch": epoch.number, "loss": epoch.loss, "held_out_r2": epoch.held_out_r2()}
            if epoch.number in milestones(trial.sweep, trial.task.fit):
                numbers |= measure(epoch.scorer)
            _require_finite(numbers)
            trial.history.append(numbers)
            trial.seconds = earlier + time.perf_counter() - started
            trial.write(RUNNING)  # before the checkpoint: history beyond a checkpoint is dropped and done again
            now = epoch.state()
            trial.checkpoints.save(now.epoch, now.tensors, now.schedule)
            if epoch.number < last:
                report(numbers)

        def keep_seconds(_: object) -> None:
            """Count the generations of a refinement, too; an epoch's seconds are already kept."""
            if trial.task.fit.refine is not None:
                trial.seconds = earlier + time.perf_counter() - started
                trial.write(RUNNING)

        result = run_fit(
            trial.task, survivals(), trial.store, device, keep_seconds, dataset, on_epoch, state, execution, share
        )
        result.pop("seconds_earlier")  # the trial counts them itself
        if not trial.history:  # a backbone without epochs
            folder = trial.store.files_path("scorer", trial.task.id)  # as `finish` will send it
            trial.history = _history_of(result, folder, trial, measure)
        trial.seconds = earlier + time.perf_counter() - started
        own = trial.seconds - trial.seconds_judging
        trial.store.finish(trial.task, {**result, "seconds": own, "device": device}, environment)
        trial.write(DONE)
        report(trial.history[-1])


@contextlib.contextmanager
def _failing(trial: Trial, retries: int) -> Iterator[None]:
    """Record what the block raises as the trial's failure, unless the storage is to blame."""
    try:
        yield
    except (CannotWrite, CorruptFile, Unreachable):
        raise
    except AutosparseError as error:  # these settings do not work; others may
        trial.fail(error)
    except Exception as error:
        trial.failures += 1
        if trial.failures > retries:
            trial.fail(error)
        else:
            trial.write(RUNNING)
        raise


def _again(history: list[Numbers], report: Callable[[Numbers], None]) -> None:
    for numbers in history:
        report(numbers)


def _require_finite(numbers: Numbers) -> None:
    """Raise if a number is not finite: it could not rank the trial, and no record may hold it."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise WorkFailed(f"the scorer's {name} became {value} in epoch {numbers['epoch']}: try a lower lr")


def milestones(sweep: SweepTask, fit: FitSpec) -> set[int]:
    """Epochs after which networks are trained to test the scorer: those where ASHA may stop it, and the last."""
    found = {fit.epochs}
    if sweep.asha:
        rung = float(sweep.asha.grace)
        while rung < fit.epochs:
            found.add(math.ceil(rung))
            rung *= sweep.asha.reduction
    return found


def _where(dataset: Dataset | None, device: str, environment: Json, execution: Execution) -> Json:
    found = {"device": device, "device_name": environment.get("device_name")}
    if dataset is not None:
        found |= {"precision": execution.precision_on(device), "dataset_fingerprint": dataset.fingerprint}
    return {name: value for name, value in found.items() if value}


def _history_of(result: Json, folder: Path, trial: Trial, measure: Callable[[Scorer], Numbers]) -> list[Numbers]:
    """A history of one entry, for the scorer in ``folder``, whose epochs are not known one by one."""
    measured = measure(load_scorer(folder))
    return [{"epoch": trial.task.fit.epochs, "held_out_r2": result["report"]["held_out_r2"], **measured}]


def _downstream(
    trial: Trial, dataset: Dataset | None, device: str, execution: Execution, share: float, scorer: Scorer
) -> Numbers:
    """Mean accuracy of networks pruned by ``scorer``, in percent; nothing if the sweep does not ask for it."""
    asked = trial.sweep.downstream
    if asked is None:
        return {}
    assert dataset is not None
    started = time.perf_counter()
    if asked.validation:
        dataset = with_validation(dataset, asked.validation, trial.sweep.search_seed)
    shared = {name: getattr(asked, name) for name in ("model", "dataset", "sparsity", "score_examples", "recipe")}
    cells = [Cell(criterion="autos", scorer=trial.task.id, seed=seed, **shared) for seed in asked.seeds]
    accuracies = []
    packs = run_cells(cells, trial.store, dataset, device, execution=execution, scorer_of=lambda _: scorer, share=share)
    for _, result in itertools.chain.from_iterable(packs):
        if isinstance(result, Exception):
            raise result
        accuracies.append(result["test_accuracy"])
    trial.seconds_judging += time.perf_counter() - started
    return {asked.metric: statistics.fmean(accuracies)}


def finish_sweep(
    sweep: SweepTask, trials: list[Trial], store: Store, environment: Json, data: str | None = None
) -> None:
    """Write the sweep's record, and remove the state of its trials.

    Each trial says where it was done and how long it took; the sweep lists all these places, and sums the seconds.

    :param data: fingerprint of the data set on which networks were trained to compare the trials.
    """
    rows = sorted((trial.row for trial in trials), key=_rank)
    best = {name: rows[0][name] for name in ("id", "values", "fit", "value")}
    found = {name: {row[name] for row in rows if row.get(name)} for name in WHERE}
    where = {name: ", ".join(sorted(places)) for name, places in found.items() if places}
    named = {name: where.pop(name) for name in ("device_name",) if name in where}
    result = {"best": best, "metric": sweep.metric, "trials": rows, **where}
    result["seconds"] = sum(row["seconds"] for row in rows)
    store.finish(sweep, result | ({"dataset_fingerprint": data} if data else {}), environment | named)
    store.place.within(f"{FOLDERS['sweep']}/{sweep.id}").clear()


def _rank(row: Json) -> tuple[bool, float]:
    """A key that sorts trials by value, best first, and behind them those that did not end: they have no scorer."""
    return row["status"] != DONE, -row["value"] if row["value"] is not None else float("inf")
