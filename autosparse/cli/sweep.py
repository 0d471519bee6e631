"""``autosparse sweep FILE``: search for the settings of a fit."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from autosparse.cli import common
from autosparse.cli.dry_run import show_plan
from autosparse.cli.run import Changes, DryRun, File, Preset, Tflops, planned


def sweep(
    file: File,
    name: Annotated[list[str] | None, typer.Option(help="One of its sweeps; again for more [default: all]")] = None,
    preset: Preset = None,
    changes: Changes = None,
    dry_run: DryRun = False,
    tflops: Tflops = 10.0,
    storage: common.Storage = common.STORAGE,
    tracking_uri: common.TrackingUri = None,
    data_root: common.DataRoot = None,
    download: common.Download = False,
    address: common.Address = None,
    workers: common.Workers = None,
    gpus_per_job: common.GpusPerJob = 0.0,
    label_selector: common.LabelSelector = None,
    redo_changed: common.RedoChanged = False,
    rehearsal: common.Rehearsal = True,
    precision: common.Precision = "auto",
    cuda_graphs: common.CudaGraphs = False,
    compact: common.Compact = "auto",
    as_json: common.Json = False,
) -> None:
    """Do the sweeps of an experiment file, and the IRP runs that they need; the same command resumes."""
    from autosparse.errors import AutosparseError, UnknownName
    from autosparse.experiment.store import Store
    from autosparse.plugins import withholding
    from autosparse.runner.experiment import carry_out
    from autosparse.runner.nodes import labels_from
    from autosparse.runner.settings import Settings
    from autosparse.training import Execution

    execution = Execution(precision, cuda_graphs, compact)
    with withholding(dry_run):
        plan = planned(file, preset, changes or [], quiet=as_json)
        if not plan.sweeps:
            raise AutosparseError(f"{file} has no `sweeps:`; see `autosparse init NAME --from sweep` for one")
        there = {p.label for p in plan.sweeps}
        for asked in name or ():
            if asked not in there:
                raise UnknownName("sweep", asked, there)
        plan = plan.only_sweeps(name or there)
        if dry_run:
            raise typer.Exit(show_plan(plan, storage, data_root, as_json, tflops, download, gpus_per_job, True))
    settings = Settings(
        storage, tracking_uri, data_root, download, address, workers, gpus_per_job, labels_from(label_selector or ()),
        retry_failed=True, execution=execution, redo_changed=redo_changed, rehearsal=rehearsal,
    )  # fmt: skip
    whole = carry_out(plan, settings).whole
    store, found = Store(storage), {}
    for p in plan.sweeps:
        record = store.record(p.task)
        if record is not None:
            found[p.label] = record["result"]
    if as_json:
        common.emit(found)
    else:
        for label, result in found.items():
            names = dict.fromkeys(name for row in result["trials"] for name in row["values"])
            common.listing([_shown(row, names, result["metric"]) for row in result["trials"]], f"{plan.name}: {label}")
            typer.echo(f"best: {_settings(result['best']['values'])} -> scorer {result['best']['id']}", err=True)
    raise typer.Exit(0 if whole else 1)


def _shown(row: dict[str, Any], names: Iterable[str], metric: str) -> dict[str, Any]:
    """The row for the terminal. It has each setting in ``names``, also those that the trial did not choose."""
    value = None if row["value"] is None else f"{row['value']:.4f}"
    values = {name: common.plain(row["fit"].get(name)) for name in names}
    return {**values, metric: value, "epochs": row["epochs"], "status": row["status"], "scorer": row["id"]}


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {common.plain(value)}" for name, value in values.items())
