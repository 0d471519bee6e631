"""Secrets of the environment and of addresses are in nothing that is written: planted, and looked for everywhere."""

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from autosparse import cli
from autosparse.cli import app
from autosparse.errors import AutosparseError, safe_uri
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import make_plan
from autosparse.experiment.store import Store
from autosparse.report.page import write_report
from autosparse.runner.progress import Talk
from autosparse.runner.run import run_plan
from autosparse.runner.settings import Settings
from autosparse.tracking.client import connect

PASSWORDS = ("hunter2", "hun/ter2", "hun@ter2", "hun:ter2", "h%40nter2")
GRID = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": ["snip"], "sparsities": [0.9], "seeds": [0]}
PLAN = {"name": "secrets", "grid": [{**GRID, "recipe": {"epochs": 1}}]}


def found_in(folder: Path, *secrets: str) -> list[tuple[str, str]]:
    """Which secret is in which file or name under a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    held = [(path, str(path).encode() + path.read_bytes()) for path in files]
    return [(path.name, secret) for path, content in held for secret in secrets if secret.encode() in content]


def test_nothing_that_a_run_writes_holds_a_secret(ray_running, tmp_path, empty_store, monkeypatch, capfd):
    import ray

    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABASE_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    settings = Settings(tmp_path / "results", empty_store(tmp_path))
    outcome = run_plan(make_plan(parse_experiment(PLAN, "secrets.yaml")), settings, Talk())
    assert (outcome.done, outcome.failed) == (1, [])
    client = connect(settings.tracking_uri)
    monkeypatch.setattr(MlflowClient, "tracking_uri", "https://me:hunter2@server/mlflow")
    write_report(client, "secrets", tmp_path / "report")
    secrets = ["hunter2", os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["RAY_AUTH_TOKEN"]]
    assert all(len(secret) > 6 for secret in secrets)
    assert "https://***@server" in (tmp_path / "report" / "index.html").read_text()
    assert found_in(tmp_path, *secrets) == []
    assert found_in(Path(ray._private.worker._global_node.get_session_dir_path()), *secrets) == []
    told = "".join(capfd.readouterr())
    assert not [secret for secret in secrets if secret in told]


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
    from autosparse.cli.demo import demo_file

    return demo_file()


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
    store, [cell] = Store(tmp_path), make_plan(parse_experiment(PLAN, "secrets.yaml")).cells
    store.fail(cell.task, str(error), f"Traceback ... {error}", {})
    assert "postgresql://***@db/mlflow" in store.failure(cell.task)["traceback"]
    assert found_in(tmp_path, password) == []


def test_a_secret_has_no_place_in_an_experiment_file():
    for key in ("tracking_uri", "password", "storage", "env"):
        with pytest.raises(AutosparseError, match="unknown key"):
            parse_experiment({**PLAN, key: "hunter2"}, "secrets.yaml")
