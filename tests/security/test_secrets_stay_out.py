"""Secrets of the environment and of addresses are in nothing that is written: planted, and looked for everywhere."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from builders import a_grid, plan_from
from mlflow import MlflowClient
from typer.testing import CliRunner

from autosparse import cli
from autosparse.cli import app
from autosparse.errors import AutosparseError, safe_uri
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.store import Store
from autosparse.report.page import write_report
from autosparse.tracking.client import connect
from autosparse.tracking.search import all_runs

PASSWORDS = ("hunter2", "hun/ter2", "hun@ter2", "hun:ter2", "h%40nter2")
GRID = a_grid()
PLAN = {"name": "secrets", "grid": [{**GRID, "recipe": {"epochs": 1}}]}


def found_in(folder: Path, *secrets: str) -> list[tuple[str, str]]:
    """Which secret is in which file or name under a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    held = [(path, str(path).encode() + path.read_bytes()) for path in files]
    return [(path.name, secret) for path, content in held for secret in secrets if secret.encode() in content]


@pytest.mark.slow
@pytest.mark.xdist_group("ray-cli")  # it starts a Ray of its own, so it must not run beside others that do
def test_nothing_that_a_run_writes_holds_a_secret(tmp_path, monkeypatch, empty_store):
    """One cell ends well and one fails; workers have the driver's environment, and Ray has logs."""
    names = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    secrets = {name: f"planted-{name}" for name in (*names, "RAY_AUTH_TOKEN")}
    uri, cell = empty_store(tmp_path), {**GRID, "score_examples": 20}
    grid = [{**cell, "recipe": {"epochs": 1}}, {**cell, "recipe": {"epochs": 1, "lr": 1e30}}]
    (tmp_path / "secrets.yaml").write_text(json.dumps({"name": "secrets", "grid": grid}))
    command = [sys.executable, "-m", "autosparse", "--debug", "run", "secrets.yaml", "--tracking-uri", uri]
    with tempfile.TemporaryDirectory(prefix="asp-", dir="/tmp") as logs:  # a socket's path may not be long
        environment = {**os.environ, **secrets, "RAY_TMPDIR": logs}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 1, ran.stderr
        assert any(Path(logs).rglob("worker-*"))
        assert found_in(Path(logs), *secrets.values()) == []
    client = connect(uri)
    failed = list(all_runs(client, client.get_experiment_by_name("secrets").experiment_id, "status = 'FAILED'"))
    assert any("task_id" in run.data.tags for run in failed)
    monkeypatch.setattr(MlflowClient, "tracking_uri", "https://me:hunter2@server/mlflow")
    write_report(client, "secrets", tmp_path / "report")
    assert "https://***@server" in (tmp_path / "report" / "index.html").read_text()
    assert found_in(tmp_path, "hunter2", *secrets.values()) == []
    assert not [secret for secret in secrets.values() if secret in ran.stdout + ran.stderr]


def test_a_secret_is_found_where_it_is_written(tmp_path):
    (tmp_path / "file").write_text("x hunter2 y")
    assert found_in(tmp_path, "hunter2") == [("file", "hunter2")]


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_in_an_address_is_in_no_message(tmp_path, password, monkeypatch):
    monkeypatch.chdir(tmp_path)
    addresses = [f"http://me:{password}@127.0.0.1:9", f"postgresql://me:{password}@127.0.0.1:9/mlflow"]
    for arguments in (
        ["best", "--experiment", "x", "--tracking-uri", addresses[0]],
        ["doctor", "--skip-ray", "--data-root", str(tmp_path), "--tracking-uri", addresses[1]],
        ["fit", ".", "--out", "out", "--storage", f"s3://key:{password}@bucket/x"],
        ["run", str(demo()), "--dry-run", "--storage", f"gs://key:{password}@bucket/x"],
    ):
        answer = CliRunner().invoke(app, arguments)
        assert answer.exit_code != 0
        assert password not in f"{answer.output} {answer.exception}", arguments
    assert found_in(tmp_path, password) == []


def demo() -> Path:
    from autosparse.experiment.files import DEMO

    return DEMO


def test_a_password_in_the_query_of_an_address_is_hidden_and_the_rest_is_not():
    told = safe_uri(
        "lost 'postgresql://db/mlflow?user=me&password=hunter2&sslmode=require' and s3://b/x?secret_key=h;2"
    )
    assert told == "lost 'postgresql://db/mlflow?user=me&password=***&sslmode=require' and s3://b/x?secret_key=***"


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_in_an_unexpected_error_is_neither_told_nor_recorded(tmp_path, password, capsys):
    error = RuntimeError(f"connection to postgresql://me:{password}@db/mlflow lost")
    cli._tell(error)
    assert password not in capsys.readouterr().err
    store, [cell] = Store(tmp_path), plan_from(**PLAN).cells
    store.fail(cell.task, str(error), f"Traceback ... {error}", {})
    assert "postgresql://***@db/mlflow" in store.failure(cell.task)["traceback"]
    assert found_in(tmp_path, password) == []


def test_a_secret_has_no_place_in_an_experiment_file():
    for key in ("tracking_uri", "password", "storage", "env"):
        with pytest.raises(AutosparseError, match="unknown key"):
            parse_experiment({**PLAN, key: "hunter2"}, "secrets.yaml")
