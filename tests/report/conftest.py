"""A store for each test, copied from an empty one."""

import shutil
from pathlib import Path

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.tracking.client import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its schema, which takes MLflow seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def client(tmp_path: Path, empty_store: Path) -> MlflowClient:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return connect(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def runs(client: MlflowClient, tmp_path: Path) -> FakeRuns:
    (tmp_path / "scratch").mkdir()
    return FakeRuns(client, "exp", tmp_path / "scratch")
