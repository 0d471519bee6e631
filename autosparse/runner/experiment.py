"""A whole experiment in one call, from Python or from the command line: read its file, plan it, do what is missing."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.load import Loaded, load_experiment, plan_of, scale_of
from autosparse.experiment.plan import Plan
from autosparse.experiment.stages import NAMED
from autosparse.experiment.store import Store
from autosparse.runner.driver.outcome import Left
from autosparse.runner.driver.run import run_plan
from autosparse.runner.driver.telling import tell
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.training import Execution

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunSummary:
    """What became of the tasks of one :func:`run`; it lists each task that is not done, with the reason."""

    name: str
    """The experiment, as MLflow calls it."""
    found: int
    """Number of tasks that were found finished."""
    done: int
    """Number of tasks that this run did."""
    failed: list[dict[str, str]] = field(repr=False)
    """Tasks that are marked as failed: ``id``, ``kind``, ``label``, ``reason``."""
    to_do: list[dict[str, str]] = field(repr=False)
    """The same for tasks that wait for others, were interrupted, or lost their workers. The next run does them."""
    cells: int = field(repr=False)
    """Number of cells of the whole experiment."""
    storage: str = field(repr=False)
    tracking_uri: str | None = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether everything that was asked for is done."""
        return not self.failed and not self.to_do

    def results(self) -> "pd.DataFrame":
        """The finished cells, see :func:`autosparse.results.frame.results`."""
        from autosparse.results.frame import results

        return results(self.name, self.tracking_uri)

    def __repr__(self) -> str:
        counts = {"done": self.done, "found finished": self.found, "failed": len(self.failed)}
        counts |= {"still to do": len(self.to_do)} if self.to_do else {}
        return f"RunSummary({self.name!r}: {', '.join(f'{count} {word}' for word, count in counts.items())})"


def run(
    experiment: str | Path | Loaded,
    preset: str | None = None,
    set: Sequence[str] | Mapping[str, Any] = (),
    *,
    only: str | None = None,
    storage: str | Path | None = None,
    tracking_uri: str | None = None,
    data_root: str | Path | None = None,
    download: bool = False,
    address: str | None = None,
    workers: int | None = None,
    gpus_per_job: float = 0.0,
    label_selector: Mapping[str, str] | None = None,
    retries: int = 1,
    retry_failed: bool = False,
    redo_changed: bool = False,
    precision: str = "auto",
    cuda_graphs: bool = False,
    compact: str = "auto",
    rehearsal: bool = True,
    quiet: bool = False,
) -> RunSummary:
    """Run what is missing of an experiment, as ``autosparse run`` does; the same call resumes.

    ::

        done = asp.run("lenet-mnist", set={"grid.*.seeds": [0, 1]}, data_root="data", workers=2)
        done.results().groupby(["method", "sparsity"]).test_accuracy.mean()

    A task that fails does not raise: the others go on, and the summary has the reason. Progress goes to stderr.

    :param experiment: path of a file, name of one that comes with autosparse, or what ``load_experiment`` returned.
        A file may name code, which is imported and so runs: trust it as you would a script.
    :param preset: the scale of a file that has several; None: ``small`` if there is one.
    :param set: values to change, ``{path: value}`` or ``["path=value", ...]``; a path is ``grid.*.recipe.epochs``.
    :param only: one stage, ``irp``, ``sweeps``, ``scorers`` or ``grid``; what it builds on must be finished.
    :param storage: where finished work goes, a folder or ``s3://``, ``gs://bucket/prefix``; None: the environment
        variable ``AUTOSPARSE_STORAGE``, else ``results``.
    :param tracking_uri: MLflow's server or store; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here.
    :param data_root: folder of the data sets; None: ``AUTOSPARSE_DATA``, else ``data``.
    :param download: whether to fetch data sets that are missing, if they can be fetched.
    :param address: of a running Ray cluster; None: ``RAY_ADDRESS``, else a Ray of its own, which ends with the call.
    :param workers: jobs at a time; None: one per CPU.
    :param gpus_per_job: GPUs that each job takes, or a share of one.
    :param label_selector: labels of the nodes that jobs may go to, ``{"team": "vision"}``; None: any node.
    :param retries: how often to retry a task whose failure may be temporary.
    :param retry_failed: whether to retry tasks that an earlier run marked as failed.
    :param redo_changed: whether to redo results whose data, or your own code behind them, have changed.
    :param precision: ``float32``, ``bfloat16`` or ``auto``, see :class:`autosparse.training.Execution`.
    :param cuda_graphs: whether to replay training steps as CUDA graphs on a GPU; experimental.
    :param compact: ``on``, ``off`` or ``auto``: whether to train a smaller, equivalent network in place of a masked
        one.
    :param rehearsal: whether to try models, data sets and your own criteria on one batch before Ray starts.
    :param quiet: whether to print nothing but warnings.
    :raises AutosparseError: if the file or a setting is wrong, data are missing, or MLflow or Ray does not answer.
    :raises Interrupted: after Ctrl-C; nothing that has finished is lost. A second Ctrl-C ends the process at once.
    """
    if only is not None and only not in NAMED:
        raise UnknownName("stage", str(only), NAMED)
    settings = Settings(
        storage=storage or os.environ.get("AUTOSPARSE_STORAGE") or Settings.storage,
        tracking_uri=tracking_uri,
        data_root=None if data_root is None else Path(data_root).expanduser(),
        download=download,
        address=address,
        workers=workers,
        gpus_per_job=gpus_per_job,
        label_selector=label_selector or {},
        retries=retries,
        retry_failed=retry_failed,
        execution=Execution(precision, cuda_graphs, compact),
        redo_changed=redo_changed,
        rehearsal=rehearsal,
    )
    loaded, screen = _loaded(experiment, preset, set), Screen(quiet=quiet)
    if scale := scale_of(loaded):
        screen.say(scale)
    return carry_out(plan_of(loaded), settings, [only] if only else None, screen)


def carry_out(
    plan: Plan, settings: Settings, only: Collection[str] | None = None, screen: Screen | None = None
) -> RunSummary:
    """Do what is missing of a plan, print the outcome, and return it as a summary.

    :param only: names of stages; None: all.
    """
    screen, store = screen or Screen(), Store(settings.storage)
    outcome = run_plan(plan, settings, screen, only or tuple(NAMED), store)
    tell(outcome, plan, store, settings, screen)
    return RunSummary(
        plan.name,
        outcome.found,
        outcome.done,
        _listed(outcome.failed),
        _listed(outcome.to_do),
        len(plan.cells),
        str(settings.storage),
        settings.tracking_uri,
    )


def _loaded(experiment: Any, preset: str | None, changes: Sequence[str] | Mapping[str, Any]) -> Loaded:
    """The experiment that a user means, with the preset and the changes."""
    if isinstance(experiment, Loaded):
        if preset is not None or changes:
            raise AutosparseError(
                f"{experiment.file} is loaded already: give preset and set to load_experiment, or run the file"
            )
        return experiment
    if not isinstance(experiment, str | Path):
        raise AutosparseError(
            f"an experiment is a path, a name, or what load_experiment returned, not a {type(experiment).__name__}"
        )
    return load_experiment(experiment, preset, changes)


def _listed(left: Left) -> list[dict[str, str]]:
    return [{"id": p.task.id, "kind": p.task.kind, "label": p.label, "reason": reason} for p, reason in left]
