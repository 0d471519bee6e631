"""Scorers in the registry: the best becomes the champion and prunes; nothing that is fetched is unpickled."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from builders import a_grid
from finished import finished
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from autosparse.autos import load_scorer
from autosparse.cli import app
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError, CorruptFile, Unreachable
from autosparse.masks import Masks
from autosparse.results import model_registry
from autosparse.results.model_registry import load_registered, promote
from autosparse.runner.work.score import masks_of
from autosparse.tracking.scorer_models import models_of

CONTENT = {
    "name": "exp",
    "irp": {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 2, "recipe": {"epochs": 1}}},
    "scorers": {
        "trained": {"irp": "snip", "epochs": 1},
        "table": {"irp": "snip", "backbone": "conditional-mean"},
    },
    "grid": a_grid(
        methods=[
            {"criterion": "autos", "name": "by-trained", "scorer": "trained"},
            {"criterion": "autos", "name": "by-table", "scorer": "table"},
            "snip",
        ],
        seeds=[0, 1],
        recipe={"epochs": 1},
    ),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store):
    """A small experiment, done in this process, in MLflow."""
    folder = tmp_path_factory.mktemp("registry")
    return finished(CONTENT, folder, empty_store(folder))


def test_the_best_scorer_becomes_the_champion_and_prunes(done):
    client, store, plan = done
    means = {}
    for planned in plan.cells:
        accuracy = store.record(planned.task)["result"]["test_accuracy"]
        means.setdefault(planned.label, []).append(accuracy)
    best = max(("trained", "table"), key=lambda name: sum(means[f"by-{name}"]))
    told = promote(client, "exp")
    assert (told["scorer"], told["version"]) == (best, 1)
    assert promote(client, "exp")["version"] == 1, "the same scorer is not registered twice"
    place = "lenet-300-100/digits/0.9"
    client.set_model_version_tag("autos", "1", f"accuracy/{place}", "12.0000")
    client.set_model_version_tag("autos", "1", "accuracy/gone/digits/0.9", "12.0000")
    client.set_model_version_tag("autos", "1", "scorer", "before it was renamed")
    promote(client, "exp")
    tags = client.get_model_version("autos", "1").tags
    told_there = {name: value for name, value in tags.items() if name.startswith("accuracy/")}
    assert told_there == {f"accuracy/{place}": f"{told['accuracy'][place]:.4f}"}, "as they are now"
    assert tags["scorer"] == best

    task = next(planned.task for planned in plan.scorers if planned.label == best)
    mine = load_scorer(store.files_path("scorer", task.id) / "scorer")
    theirs = load_registered(client, "models:/autos@champion")
    for name, value in mine.network.state_dict().items():
        assert torch.equal(value, theirs.network.state_dict()[name])
    assert theirs.provenance == mine.provenance

    cell = next(p.task for p in plan.cells if p.label == f"by-{best}" and p.task.seed == 1)
    masks = masks_of("lenet-300-100", load_dataset("digits"), "autos", 0.9, 1, theirs)
    assert masks.density_by_layer() == store.record(cell)["result"]["density_by_layer"], "as in the grid's cell"


def test_another_scorer_can_be_promoted_and_both_stay(done):
    client, *_ = done
    first = promote(client, "exp", label="trained")
    second = promote(client, "exp", label="table")
    assert first["version"] != second["version"]
    assert int(client.get_model_version_by_alias("autos", "champion").version) == second["version"]
    version = client.get_model_version("autos", str(first["version"]))
    assert version.tags["scorer"] == "trained"
    assert "accuracy/lenet-300-100/digits/0.9" in version.tags
    assert version.tags["fitted_on.irp"]
    assert load_registered(client, f"models:/autos/{first['version']}").backbone == "mlp"


def test_the_logged_model_of_a_promoted_scorer_names_its_version_once(done):
    client, _, plan = done
    versions = {label: promote(client, "exp", label=label)["version"] for label in ("trained", "table", "trained")}
    tasks = {planned.label: planned.task.id for planned in plan.scorers}
    experiment = client.get_experiment_by_name("exp").experiment_id
    for label, version in versions.items():
        (model,) = models_of(client, experiment, tasks[label])
        assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "autos", "version": str(version)}]
        assert model.source_run_id == client.get_model_version("autos", str(version)).run_id


def test_a_pickle_in_the_place_of_a_scorer_is_refused(done, tmp_path: Path):
    client, *_ = done
    version = promote(client, "exp", label="trained")["version"]
    run_id = client.get_model_version("autos", str(version)).run_id
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    good = Path(client.download_artifacts(run_id, "scorer/scorer.safetensors", str(tmp_path))).read_bytes()
    try:
        (tmp_path / "scorer.safetensors").write_bytes(pickle.dumps(Evil()))
        client.log_artifact(run_id, str(tmp_path / "scorer.safetensors"), "scorer")
        with pytest.raises(CorruptFile, match="checksum"):
            load_registered(client, f"models:/autos/{version}")
    finally:
        (tmp_path / "scorer.safetensors").write_bytes(good)
        client.log_artifact(run_id, str(tmp_path / "scorer.safetensors"), "scorer")
    assert not ran.exists()


def test_a_folder_that_cannot_be_read_is_not_taken_for_a_server_that_is_away(done, monkeypatch):
    client, *_ = done
    version = promote(client, "exp", label="table")["version"]

    def full(folder):
        raise OSError("too many open files")

    monkeypatch.setattr(model_registry, "load_scorer", full)
    with pytest.raises(OSError, match=r"^too many open files$"):
        load_registered(client, f"models:/autos/{version}")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda client: promote(client, "nowhere"), "no experiment 'nowhere'"),
        (lambda client: promote(client, "exp", label="tabel"), "unknown scorer 'tabel': did you mean 'table'"),
        (lambda client: load_registered(client, "models:/autos@nobody"), "no models:/autos@nobody in MLflow"),
        (lambda client: load_registered(client, "models:/autos"), "is not the address of a scorer"),
        (lambda client: masks_of("lenet-300-100", None, "lth", 0.9, 0), "trains the network while it scores"),
        (lambda client: masks_of("lenet-300-100", None, "autos", 0.9, 0), "needs --scorer"),
    ],
)
def test_what_cannot_be_is_said(done, call, reason):
    with pytest.raises(AutosparseError, match=reason):
        call(done[0])


def test_the_commands_promote_prune_compare_and_name_winners(done, tmp_path: Path):
    client, *_ = done
    store = ["--tracking-uri", client.tracking_uri]

    def run(*arguments: str) -> str:
        answer = CliRunner().invoke(app, [*arguments, *store])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    assert json.loads(run("promote", "--experiment", "exp", "--scorer", "table", "--json"))["scorer"] == "table"
    masks = tmp_path / "masks.safetensors"
    told = json.loads(
        run("prune", "--scorer", "models:/autos@champion", "--sparsity", "0.9", "--out", str(masks), "--json")
    )
    assert told["kept"] == told["total"] - round(0.9 * told["total"])
    assert Masks.load(masks).kept == told["kept"]
    (row,) = json.loads(run("compare", "by-table", "snip", "--experiment", "exp", "--json"))
    assert row["pairs"] == 2
    header, line = run("best", "--experiment", "exp", "--winners", "--csv").splitlines()
    assert header.startswith("model,dataset,sparsity,settings,best,n,mean,half_width,next")
    assert line.startswith("lenet-300-100,digits,0.9,")
    assert "by-" in run("best", "--experiment", "exp", "--scorers")


def test_a_server_that_is_away_is_not_a_scorer_that_is_absent(done, monkeypatch):
    def away(*given):
        raise MlflowException("API request failed with error code 503")

    client, *_ = done
    monkeypatch.setattr(client, "get_model_version_by_alias", away)
    with pytest.raises(Unreachable, match="does not answer: API request failed with error code 503"):
        load_registered(client, "models:/autos@champion")
    with pytest.raises(AutosparseError, match="no models:/autos/99999 in MLflow"):
        load_registered(client, "models:/autos/99999")
