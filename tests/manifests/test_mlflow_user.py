"""The user as whom runs are written: a real MLflow server with its login, on SQLite, and the script beside it."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode

import pytest
from cluster_files import CLUSTER, REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))
from local_mlflow import free_port

SCRIPT = CLUSTER / "docker" / "mlflow_user.py"
ADMIN, USER = {"admin": "the-admins-password"}, {"autosparse": "the-users-password"}
PASSWORDS = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["admin"], "MLFLOW_USER_PASSWORD": USER["autosparse"]}


def script(server="http://127.0.0.1:9", **passwords):
    return subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "MLFLOW_SERVER": server, **passwords},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "passwords", [{}, {**PASSWORDS, "MLFLOW_USER_PASSWORD": ""}, {**PASSWORDS, "MLFLOW_USER_PASSWORD": ADMIN["admin"]}]
)
def test_without_a_password_of_its_own_there_is_no_user(passwords):
    ran = script(**passwords)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "set MLFLOW_USER_PASSWORD" in ran.stderr
    assert ADMIN["admin"] not in ran.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("login")
    login = (CLUSTER / "docker" / "mlflow-auth.ini").read_text()
    (folder / "auth.ini").write_text(
        login.replace("postgresql+psycopg://mlflow@postgres/mlflow", f"sqlite:///{folder / 'auth.db'}")
    )
    port = free_port()
    options = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'runs.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "planted",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--app-name",
        "basic-auth",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 600
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((folder / "log").read_text()[-2000:])
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def answers(port):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60):
        return True


def asked(server, who, path, body=None, method=None):
    """The status of what the server answers to ``who`` (name: password)."""
    ((name, password),) = who.items()
    login = {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}
    data = None if body is None else body.encode()
    request = urllib.request.Request(
        f"{server}/api/2.0/mlflow/{path}", data, {**login, "Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_user_writes_runs_and_is_no_administrator(server):
    first = script(server, **PASSWORDS)
    assert first.returncode == 0, first.stderr
    assert asked(server, ADMIN, "experiments/create", '{"name": "of the admin"}') == 200
    second = script(server, **{**PASSWORDS, "MLFLOW_USER_PASSWORD": "another-password"})
    assert second.returncode == 0, second.stderr
    user = {"autosparse": "another-password"}
    assert asked(server, USER, "experiments/create", '{"name": "x"}') == 401, "the password is the newest"
    assert asked(server, user, "experiments/create", '{"name": "of the user"}') == 200
    for experiment in ("1", "2"):
        run = f'{{"experiment_id": "{experiment}", "start_time": 1}}'
        assert asked(server, user, "runs/create", run) == 200
    assert asked(server, user, "registered-models/create", '{"name": "autos"}') == 200
    new = '{"username": "evil", "password": "a-long-password"}'
    assert asked(server, user, "users/create", new) == 403
    assert asked(server, user, "users/update-admin", '{"username": "autosparse", "is_admin": true}', "PATCH") == 403
    stolen = '{"username": "admin", "password": "a-long-password"}'
    assert asked(server, user, "users/update-password", stolen, "PATCH") == 403
    assert asked(server, ADMIN, "users/create", new) == 200
    assert "password" not in first.stdout + first.stderr + second.stdout + second.stderr
