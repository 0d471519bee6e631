"""MLflow's login, as MLflow itself reads the file that the image carries."""

import re
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from cluster_files import CLUSTER

FILE = CLUSTER / "docker" / "mlflow-auth.ini"


def read_auth_config():
    """The login as MLflow's own code reads it, without the server around that code, which takes seconds to import."""
    spec = spec_from_file_location("config", Path(find_spec("mlflow").origin).parent / "server" / "auth" / "config.py")
    config = module_from_spec(spec)
    spec.loader.exec_module(config)
    return config.read_auth_config()


def test_mlflow_reads_a_login_without_a_password_in_it(monkeypatch):
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(FILE))
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    assert read_auth_config().admin_password is None
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "planted")
    read = read_auth_config()
    assert (read.admin_username, read.admin_password) == ("admin", "planted")
    assert "@" in read.database_uri
    assert ":" not in read.database_uri.partition("://")[2].partition("@")[0], "no password in the address"


@pytest.mark.parametrize("path", ["docker/compose.yaml", "kubernetes/base/mlflow.yaml"])
def test_the_server_and_its_login_use_one_database_and_the_file_is_in_the_image(path, monkeypatch):
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(FILE))
    text = (CLUSTER / path).read_text()
    words = re.split(r"[\s=,\"\[\]]+", text)
    assert read_auth_config().database_uri in words
    assert words[words.index("--app-name") + 1] == "basic-auth"
    (named,) = re.findall(r"MLFLOW_AUTH_CONFIG_PATH(?:, value)?: ([^\s}]+)", text)
    dockerfile = (CLUSTER / "docker" / "Dockerfile").read_text()
    (workdir,) = re.findall(r"(?m)^WORKDIR (/opt\S+)$", dockerfile)
    assert named == f"{workdir}/{FILE.name}"
    assert f"COPY cluster/docker/{FILE.name} ./" in dockerfile
