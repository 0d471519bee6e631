"""Fit a scorer, and refine it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from autosparse.autos import fit_scorer
from autosparse.autos.learn import Epoch
from autosparse.autos.regression import State
from autosparse.autos.streamed.rows import Mapped, one_by_one
from autosparse.data.split import Dataset
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import ScorerTask
from autosparse.files import atomic_folder
from autosparse.irp import Survival, load_survival
from autosparse.runner.work.progress import ANYTHING, Progress
from autosparse.runner.work.refinement import run_refinement, start_of
from autosparse.runner.work.samples import prediction_sample, states_sample
from autosparse.training import Execution


def survivals_of(irp: Sequence[str], store: Store) -> list[Survival]:
    """The survival datasets of IRP runs."""
    return [load_survival(store.fetched("irp", task_id) / "survival") for task_id in irp]


def run_fit(
    task: ScorerTask,
    survivals: list[Survival],
    store: Store,
    device: str,
    progress: Progress,
    dataset: Dataset | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: State | None = None,
    execution: Execution | None = None,
    share: float = 1.0,
    rows_in: Path | None = None,
    mapped: Mapped = one_by_one,
) -> Json:
    """Fit a scorer, and refine it if the task says so; write its folder, with a sample of predictions for reports.

    Each generation of a refinement is kept, so that an interrupted one goes on after its last generation. The result's
    ``seconds_earlier`` are those that the interrupted processes spent.

    :param dataset: the data set of the IRP runs, for a scorer that prunes in rounds.
    :param on_epoch, resume: see :func:`autosparse.autos.fit_scorer`.
    :param share: the share of the device that this process may use.
    :param rows_in, mapped: see :func:`autosparse.autos.fit_scorer`; for a task that is ``streamed``.
    """

    def after_epoch(epoch: Epoch) -> None:
        if on_epoch:
            on_epoch(epoch)
        progress({"share": epoch.number / task.fit.epochs, "loss": epoch.loss})

    started, earlier = time.perf_counter(), 0.0
    datasets = {dataset.name: dataset} if dataset else {}
    scorer = fit_scorer(
        survivals, **task.fit.arguments, device=device, on_epoch=after_epoch, resume=resume, datasets=datasets,
        execution=execution, rows_in=rows_in, mapped=mapped,
    )  # fmt: skip
    if task.fit.refine is not None:
        assert dataset is not None
        scorer = start_of(task, scorer, survivals, datasets, device)
        scorer, earlier = run_refinement(
            task, scorer, survivals[0], store, dataset, device, progress, execution, share, started
        )
    with atomic_folder(store.files_path("scorer", task.id), ours=ANYTHING) as temporary:
        scorer.save(temporary / "scorer")
        if scorer.in_rounds is None:
            sample = prediction_sample(scorer, survivals[0], task.fit.seed, device)
        else:
            sample = states_sample(scorer, survivals[0], datasets, device)
        pq.write_table(sample, temporary / "sample.parquet")
    seen = [scorer.report[name]["images"] for name in ("dagger", "refined") if name in scorer.report]
    images = {"images": sum(seen)} if seen else {}
    data = {"dataset_fingerprint": dataset.fingerprint} if dataset and task.fit.in_rounds else {}
    found = {"report": scorer.report, "rows": scorer.provenance["rows"], **images, **data}
    return {**found, "seconds_earlier": earlier}
