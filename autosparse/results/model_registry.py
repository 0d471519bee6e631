"""Scorers in MLflow's model registry: versions of ``autos``, one of which is the champion.

A version holds a folder that :func:`autosparse.autos.load_scorer` reads: safetensors and JSON, never a pickle.
"""

import json
import re
import statistics
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from autosparse.autos import Scorer, load_scorer
from autosparse.errors import AutosparseError, UnknownName, safe_uri
from autosparse.results.cell_table import finished_cells
from autosparse.results.direction import direction
from autosparse.results.fitted_on import fitted_on
from autosparse.results.groups import Group, groups_of
from autosparse.results.runs import Run, finished_by_label, finished_runs
from autosparse.results.scorer_accuracies import accuracies
from autosparse.results.winners import Contest, contests
from autosparse.tracking.client import tracking_errors
from autosparse.tracking.entries import metric_name
from autosparse.tracking.scorer_models import models_of
from autosparse.tracking.texts import names_in, text_of

NAME, CHAMPION = "autos", "champion"
ACCURACY = "accuracy/"
"""What the names of the tags with a version's accuracies begin with."""
ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
FILES = ("scorer.json", "scorer.safetensors")
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for a model, a version, or an alias that is not there."""


def promote(
    client: MlflowClient, experiment: str, sparsity: float | None = None, metric: str = "test_accuracy", label: str = ""
) -> dict[str, Any]:
    """Register the best scorer of an experiment, unless it is registered, and make it the champion.

    The best one wins at the most places (model, dataset, sparsity) of the experiment, or at ``sparsity``. A place at
    which only one scorer was measured tells nothing. If its networks were trained in several ways, as before and after
    an edit of the file, each way has an equal part of the place's vote. Among equals, the one with the best mean over
    the places that all of them have is chosen. Of several scorers with one label, the one that the file names competes.

    :param label: promote this scorer instead.
    :raises AutosparseError: if nothing tells which scorer is the best.
    :return: ``name, version, alias, scorer, accuracy``; accuracies by place and, if its networks differ in more than
        their seed, by what sets them apart.
    """
    scorers = finished_by_label(client, experiment, "scorer")
    if not scorers:
        raise AutosparseError(f"experiment {experiment!r} has no finished scorer in MLflow; run one with `scorers:`")
    by_id = {run.tags["task_id"]: name for name, run in scorers.items()}
    if label and label not in scorers:
        raise UnknownName("scorer", label, scorers)
    groups = groups_of(finished_cells(client, experiment))
    chosen = label or _best(groups, experiment, sparsity, metric, by_id)
    run = scorers[chosen]
    ours = accuracies([group for group in groups if by_id.get(group.scorer) == chosen and not group.ablated])
    accuracy = {place: found.mean for place, found in ours.items()}
    with tracking_errors(client.tracking_uri):
        version = _registered(client, run)
        if version is None:
            sweeps = finished_runs(client, experiment, "sweep") if "sweep" in run.params else []
            version = _register(client, experiment, run, accuracy, fitted_on(run, sweeps))
        else:
            client.set_model_version_tag(NAME, version, "scorer", run.tags["label"])  # it may have been renamed
            _tell_accuracies(client, version, accuracy)
        client.set_registered_model_alias(NAME, CHAMPION, version)
        _link(client, run, version)
    return {"name": NAME, "version": int(version), "alias": CHAMPION, "scorer": chosen, "accuracy": accuracy}


def load_registered(client: MlflowClient, address: str) -> Scorer:
    """The scorer at ``models:/autos@champion`` or ``models:/autos/3``; nothing is unpickled.

    :raises AutosparseError: if there is none, or it holds other files than a scorer's.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise AutosparseError(
            f"{address!r} is not the address of a scorer; write models:/autos@champion or models:/autos/1"
        )
    with tracking_errors(client.tracking_uri):
        try:
            if found["alias"]:
                held = client.get_model_version_by_alias(found["name"], found["alias"])
            else:
                held = client.get_model_version(found["name"], found["version"])
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise AutosparseError(
                f"no {address} in MLflow at {safe_uri(client.tracking_uri)}; make one with `autosparse promote`"
            ) from error
    with tempfile.TemporaryDirectory() as folder:
        with tracking_errors(client.tracking_uri):
            for name in FILES:  # by name, so that nothing else that somebody put there is fetched
                path = client.download_artifacts(held.run_id, f"scorer/{name}", folder)
        return load_scorer(Path(path).parent)


def _best(groups: list[Group], experiment: str, sparsity: float | None, metric: str, by_id: dict[str, str]) -> str:
    ours = [group for group in groups if group.scorer in by_id]
    if not ours:
        raise AutosparseError(f"no cell of {experiment!r} was pruned by one of its scorers; choose one with --scorer")
    every = contests(ours, metric, experiment, sparsity, scorers_only=True)
    found = [(contest.place, _by_scorer(contest, metric, by_id)) for contest in every]
    names = sorted({name for _, means in found for name in means})
    if len(names) == 1:
        return names[0]
    ways = Counter(place for place, means in found if len(means) > 1)
    wins = dict.fromkeys(names, Fraction())
    for place, means in found:
        if len(means) > 1:
            best = max(means.values())
            for name in means:
                wins[name] += Fraction(means[name] == best, ways[place])
    contested = [means for _, means in found if len(means) > 1]
    equals = [name for name in names if wins[name] == max(wins.values())]
    if len(equals) == 1:
        return equals[0]
    shared = [means for means in contested if all(name in means for name in equals)]
    if not shared:
        raise AutosparseError(
            f"nothing tells which scorer of {experiment!r} is the best: {', '.join(equals)} were not measured "
            "at the same places; choose one with --scorer"
        )
    return max(equals, key=lambda name: statistics.fmean(means[name] for means in shared))


def _by_scorer(contest: Contest, metric: str, by_id: dict[str, str]) -> dict[str, float]:
    """The scorers of a contest and their means, where more is better; of several ways to use one, the best counts."""
    found: dict[str, float] = {}
    for group, mean in contest.means(metric):
        name, value = by_id[group.scorer], direction(metric) * mean
        found[name] = max(value, found.get(name, value))
    return found


def _registered(client: MlflowClient, run: Run) -> str | None:
    """The version that holds this run's scorer; None if there is none. The model itself is made if it is new."""
    try:
        client.get_registered_model(NAME)
    except MlflowException:
        client.create_registered_model(NAME, description="Scorers of autosparse: safetensors and JSON, no pickle")
        return None
    held = client.search_model_versions(f"name = '{NAME}'")
    return next((str(version.version) for version in held if version.run_id == run.run_id), None)


def _register(client: MlflowClient, experiment: str, run: Run, accuracy: dict[str, float], irp: list[str]) -> str:
    _describe(client, run)
    tags = {
        "experiment": experiment,
        "scorer": run.tags["label"],
        "git_commit": run.tags.get("git_commit", ""),
        **{name: f"{run.metrics[name]:.6g}" for name in ("train_r2", "held_out_r2") if name in run.metrics},
        **_accuracy_tags(accuracy),
        **({"fitted_on.irp": text_of(irp)} if irp else {}),
    }
    source = f"{client.get_run(run.run_id).info.artifact_uri}/scorer"
    return str(client.create_model_version(NAME, source, run.run_id, tags=tags).version)


def _accuracy_tags(accuracy: dict[str, float]) -> dict[str, str]:
    # a model's arguments may have characters that MLflow refuses in the name of a tag
    places = {"/".join(map(metric_name, place.split("/"))): value for place, value in accuracy.items()}
    return {f"{ACCURACY}{place}": f"{value:.4f}" for place, value in places.items()}


def _tell_accuracies(client: MlflowClient, version: str, accuracy: dict[str, float]) -> None:
    """Bring the accuracies of a version up to date: seeds may have come since it was registered."""
    before, now = client.get_model_version(NAME, version).tags, _accuracy_tags(accuracy)
    for name, value in now.items():
        if before.get(name) != value:
            client.set_model_version_tag(NAME, version, name, value)
    for name in before.keys() - now.keys():
        if name.startswith(ACCURACY):
            client.delete_model_version_tag(NAME, version, name)


def _link(client: MlflowClient, run: Run, version: str) -> None:
    """Name the version on the logged model of its scorer, so that MLflow's pages lead from one to the other."""
    held = {"name": NAME, "version": version}
    for model in models_of(client, client.get_run(run.run_id).info.experiment_id, run.tags["task_id"]) or []:
        versions = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
        if model.source_run_id == run.run_id and held not in versions:
            client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([*versions, held])})


def _describe(client: MlflowClient, run: Run) -> None:
    """Write an ``MLmodel`` file with the signature beside the scorer's files."""
    inputs = names_in(run.params.get("fit.inputs", "")) or ["param", "grad"]
    signature = ModelSignature(
        Schema([ColSpec(DataType.float, name) for name in inputs]), Schema([ColSpec(DataType.float, "survival")])
    )
    model = Model(artifact_path="scorer", run_id=run.run_id, signature=signature)
    model.add_flavor("autosparse", loader="autosparse.autos.load_scorer", files=list(FILES))
    client.log_text(run.run_id, model.to_yaml(), "scorer/MLmodel")
