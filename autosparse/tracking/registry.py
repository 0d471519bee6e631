"""Scorers in MLflow's model registry: versions of ``autos``, and the one that is the champion.

What is registered is the folder of :func:`autosparse.autos.load_scorer`: safetensors and JSON, never a pickle.
"""

import re
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from autosparse.autos import Scorer, load_scorer
from autosparse.errors import AutosparseError, UnknownName, safe_uri
from autosparse.tracking.cell_table import finished_cells
from autosparse.tracking.client import tracking_errors
from autosparse.tracking.runs import Run, finished_runs
from autosparse.tracking.winners import method_names, winners

NAME, CHAMPION = "autos", "champion"
ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
FILES = ("scorer.json", "scorer.safetensors")


def promote(
    client: MlflowClient, experiment: str, sparsity: float | None = None, metric: str = "test_accuracy", label: str = ""
) -> dict[str, Any]:
    """Register the best scorer of an experiment, unless it is, and make it the champion.

    The best is the one that wins at most of the experiment's places (model, dataset, sparsity), or at ``sparsity``;
    of equals, the one with the higher mean.

    :param label: this scorer instead.
    :return: ``name, version, alias, scorer, accuracy``.
    """
    scorers = {run.tags["label"]: run for run in finished_runs(client, experiment, "scorer")}
    if not scorers:
        raise AutosparseError(f"experiment {experiment!r} has no finished scorer in MLflow; run one with `scorers:`")
    by_id = {run.tags["task_id"]: name for name, run in scorers.items()}
    learned = [run for run in finished_cells(client, experiment) if "scorer" in run.params]
    cells = [run for run in learned if run.params["scorer"] in by_id]
    if label and label not in scorers:
        raise UnknownName("scorer", label, scorers)
    name = method_names(learned)
    scorer_of = {name(cell): by_id[cell.params["scorer"]] for cell in cells}
    chosen = label or _best(client, experiment, sparsity, metric, scorer_of)
    run = scorers[chosen]
    accuracy = _accuracies([c for c in cells if by_id[c.params["scorer"]] == chosen])
    with tracking_errors(client.tracking_uri):
        version = _registered(client, run) or _register(client, experiment, run, accuracy)
        client.set_registered_model_alias(NAME, CHAMPION, version)
    return {"name": NAME, "version": int(version), "alias": CHAMPION, "scorer": chosen, "accuracy": accuracy}


def load_registered(client: MlflowClient, address: str) -> Scorer:
    """The scorer at ``models:/autos@champion`` or ``models:/autos/3``; nothing is unpickled.

    :raises AutosparseError: where there is none, or it holds other files than a scorer's.
    """
    with fetched(client, address) as folder:
        return load_scorer(folder)


@contextmanager
def fetched(client: MlflowClient, address: str) -> Iterator[Path]:
    """A temporary folder with a registered scorer's two files."""
    found = ADDRESS.fullmatch(address)
    if not found:
        raise AutosparseError(f"{address!r} is no address of a scorer; write models:/autos@champion or models:/autos/1")
    try:
        if found["alias"]:
            held = client.get_model_version_by_alias(found["name"], found["alias"])
        else:
            held = client.get_model_version(found["name"], found["version"])
    except MlflowException as error:
        raise AutosparseError(
            f"no {address} in MLflow at {safe_uri(client.tracking_uri)}; make one with `autosparse promote`"
        ) from error
    with tempfile.TemporaryDirectory() as folder, tracking_errors(client.tracking_uri):
        for name in FILES:  # by name: whatever else somebody put there is never fetched
            path = client.download_artifacts(held.run_id, f"scorer/{name}", folder)
        yield Path(path).parent


def _best(client: MlflowClient, experiment: str, sparsity: float | None, metric: str, scorer_of: dict[str, str]) -> str:
    won: dict[str, list[float]] = {}
    for row in winners(client, experiment, metric, sparsity, scorers_only=True):
        if row["best"] in scorer_of:
            won.setdefault(scorer_of[row["best"]], []).append(row["mean"])
    if not won:
        raise AutosparseError(f"no cell of {experiment!r} was pruned by one of its scorers; choose one with --scorer")
    return max(won, key=lambda name: (len(won[name]), statistics.fmean(won[name])))


def _accuracies(cells: list[Run]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in cells:
        if "test_accuracy" in run.metrics:
            place = f"{run.tags['model']}/{run.tags['dataset']}/{float(run.tags['sparsity']):g}"
            found.setdefault(place, []).append(run.metrics["test_accuracy"])
    return {place: statistics.fmean(values) for place, values in sorted(found.items())}


def _registered(client: MlflowClient, run: Run) -> str | None:
    """The version that holds this run's scorer."""
    try:
        client.get_registered_model(NAME)
    except MlflowException:
        client.create_registered_model(NAME, description="Scorers of autosparse: safetensors and JSON, no pickle")
        return None
    held = client.search_model_versions(f"name = '{NAME}'")
    return next((str(version.version) for version in held if version.run_id == run.run_id), None)


def _register(client: MlflowClient, experiment: str, run: Run, accuracy: dict[str, float]) -> str:
    _describe(client, run)
    lineage = {name: run.params[name] for name in ("irp",) if name in run.params}
    tags = {
        "experiment": experiment,
        "scorer": run.tags["label"],
        "git_commit": run.tags.get("git_commit", ""),
        **{name: f"{run.metrics[name]:.6g}" for name in ("train_r2", "held_out_r2") if name in run.metrics},
        **{f"accuracy/{place}": f"{value:.4f}" for place, value in accuracy.items()},
        **{f"fitted_on.{name}": value for name, value in lineage.items()},
    }
    source = f"{client.get_run(run.run_id).info.artifact_uri}/scorer"
    return str(client.create_model_version(NAME, source, run.run_id, tags=tags).version)


def _describe(client: MlflowClient, run: Run) -> None:
    """An ``MLmodel`` with the signature beside the scorer's files."""
    inputs = re.findall(r"'([^']*)'", run.params.get("fit.inputs", "")) or ["param", "grad"]
    signature = ModelSignature(
        Schema([ColSpec(DataType.float, name) for name in inputs]), Schema([ColSpec(DataType.float, "survival")])
    )
    model = Model(artifact_path="scorer", run_id=run.run_id, signature=signature)
    model.add_flavor("autosparse", loader="autosparse.autos.load_scorer", files=list(FILES))
    client.log_text(run.run_id, model.to_yaml(), "scorer/MLmodel")
