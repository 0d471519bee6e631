"""A store for each test, and made-up runs in it."""

from pathlib import Path

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient


@pytest.fixture
def runs(client: MlflowClient, tmp_path: Path) -> FakeRuns:
    (tmp_path / "scratch").mkdir()
    return FakeRuns(client, "exp", tmp_path / "scratch")
