"""`ray job submit` and `ray job stop`, as `cluster/README.md` gives them, against a head with a token."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from commands import GRID, LONGER, Work, wait_for
from local_mlflow import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RAY = Path(sys.executable).with_name("ray")


@pytest.fixture
def head():
    """The address of a head's Jobs API, and the variables that a submitter needs."""
    pytest.importorskip("aiohttp_cors", reason="the Jobs API needs ray[default]: pip install '.[cluster]'")
    folder = tempfile.mkdtemp(prefix="asp-", dir="/tmp")  # short: the paths of sockets are bounded
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "120"}
    environment = {**os.environ, **quiet, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    ports = {name: free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")}
    ports["ray-client-server-port"] = free_port()
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += ["--num-cpus=2", f"--temp-dir={folder}", "--object-store-memory=100000000"]
    with (Path(folder) / "head.log").open("w") as log:
        process = subprocess.Popen(
            [RAY, "start", "--head", "--block", *options],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        wait_for(lambda: called(address, environment, "list").returncode == 0, process)
        yield address, environment
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def called(address, environment, *arguments):
    """Run ``ray job ...`` to its end."""
    verb, *rest = map(str, arguments)
    command = [RAY, "job", verb, "--address", address, *rest]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def submit(work, *options):
    """The arguments that submit ``autosparse run``."""
    run = ["run", work.file, "--address", "auto", "--storage", work.storage, "--tracking-uri", work.tracking_uri]
    python = [sys.executable, "-m", "autosparse"]
    return ["submit", *options, "--", *python, *run]


def test_a_job_is_stopped_like_a_ctrl_c_and_the_same_one_goes_on(head, tmp_path):
    address, environment = head
    work = Work(tmp_path, {"name": "job", "grid": {**GRID, "recipe": LONGER, "seeds": list(range(200))}})
    told = called(address, environment, *submit(work, "--no-wait", "--submission-id", "first"))
    assert told.returncode == 0, told.stderr
    wait_for(lambda: work.finished() >= 3)
    told = called(address, environment, "stop", "first")
    assert told.returncode == 0, told.stdout + told.stderr
    logs = called(address, environment, "logs", "first").stdout
    assert "to do; run the same command to go on" in logs
    done = work.finished()
    assert 3 <= done < 200
    told = called(address, environment, *submit(work))
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{done} found finished" in told.stdout
    work.assert_each_once()


def test_without_the_token_nothing_is_submitted(head, tmp_path):
    address, environment = head
    work = Work(tmp_path, {"name": "stranger", "grid": GRID})
    told = called(address, {**environment, "RAY_AUTH_TOKEN": "f" * 64}, *submit(work, "--no-wait"))
    assert told.returncode != 0
    assert work.finished() == 0
