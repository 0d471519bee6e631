"""A store for each test, and made-up runs in it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.tracking.client import connect


@pytest.fixture
def client(tmp_path: Path, empty_store: Callable[[Path], str]) -> MlflowClient:
    return connect(empty_store(tmp_path))


@pytest.fixture
def runs(client: MlflowClient, tmp_path: Path) -> FakeRuns:
    (tmp_path / "scratch").mkdir()
    return FakeRuns(client, "exp", tmp_path / "scratch")
