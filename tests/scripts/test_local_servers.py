"""The servers and clusters that scripts and tests start: one that does not come up leaves nothing."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    """Imports a script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in ("local_cluster", "local_mlflow"):
        sys.modules.pop(name, None)


def test_a_server_that_does_not_answer_in_time_is_ended(script, monkeypatch, tmp_path):
    local_mlflow = script("local_mlflow")
    monkeypatch.setattr(local_mlflow, "START", 0)
    server = local_mlflow.MlflowServer(tmp_path)
    with pytest.raises(RuntimeError, match="did not start"), server:
        pass
    assert server.process.poll() is not None


def test_a_cluster_that_does_not_start_leaves_no_folder(script, monkeypatch, tmp_path):
    local_cluster = script("local_cluster")
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setattr(local_cluster.tempfile, "mkdtemp", lambda **_: str(folder))
    monkeypatch.setattr(local_cluster.sys, "executable", "false")
    with pytest.raises(RuntimeError, match="did not start"):
        local_cluster.LocalCluster()
    assert not folder.exists()
