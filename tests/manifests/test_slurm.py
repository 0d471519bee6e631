"""The sbatch, run for real on one node: Slurm's commands are stand-ins, Ray and the experiment are not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_files import CLUSTER
from processes import waiting_method

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

SBATCH = CLUSTER / "slurm" / "autosparse.sbatch"

EXPERIMENT = """
name: slurm
plugins: [waiting_module]
grid:
  - &quick
    models: [lenet-300-100]
    datasets: [digits]
    methods: [magnitude, random]
    sparsities: [0.9]
    seeds: [0, 1]
    recipe: {epochs: 1}
  - {<<: *quick, methods: [waiting], seeds: [0], recipe: {epochs: 2}}
"""
"""Four cells that are soon done, and one that waits until a file says that it may go on."""

STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": 'echo "$@" >>scontrol.log',
}


@pytest.fixture
def slurm(tmp_path):
    """Start the sbatch in a process and network namespace of its own: ``ray stop`` would stop every Ray in sight."""
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
    if subprocess.run([*alone, "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces")
    (tmp_path / "bin").mkdir()
    for name, body in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "slurm.yaml").write_text(EXPERIMENT)
    waiting_method(tmp_path)
    ray = Path("/tmp") / f"ray-{os.getpid()}"  # short, because a socket's path may not be long

    def start(*arguments, restarts=0):
        path = os.pathsep.join(map(str, (tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"])))
        environment = {
            **os.environ,
            "PATH": path,
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_RESTART_COUNT": str(restarts),
            "RAY_HEAD_IP": "127.0.0.1",
            "RAY_TMPDIR": str(ray),
        }
        inner = ["bash", "-c", 'ip link set lo up; exec bash "$@"', "sbatch", SBATCH, *arguments]
        return subprocess.Popen(
            [*alone, *inner], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    yield start
    shutil.rmtree(ray, ignore_errors=True)


def records(folder):
    return {path.name: path.read_text() for path in (folder / "results" / "cells").glob("*.json")}


def batch_shell(process):
    """Process id, seen from here, of the shell that runs the sbatch."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_a_job_out_of_time_stops_cleanly_requeues_itself_and_is_finished_by_the_next(slurm, tmp_path):
    first = slurm("slurm.yaml", "--no-rehearsal")
    while not records(tmp_path):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    os.kill(batch_shell(first), signal.SIGUSR1)
    said, _ = first.communicate(timeout=400)
    assert first.returncode == 0, said
    assert (tmp_path / "scontrol.log").read_text() == "requeue 7\n"
    assert "run the same command to go on" in said
    assert not list(tmp_path.glob(".slurm-7/*"))
    finished = records(tmp_path)
    assert 0 < len(finished) < 5

    (tmp_path / "go-on").touch()
    second = slurm("slurm.yaml", "--no-rehearsal", restarts=1)
    said, _ = second.communicate(timeout=400)
    assert second.returncode == 0, said
    assert f"{len(finished)} found finished, 0 failed" in said
    assert (tmp_path / "scontrol.log").read_text() == "requeue 7\n"
    now = records(tmp_path)
    assert len(now) == 5
    assert finished.items() <= now.items()
    assert not any("token" in json.loads(text) for text in now.values())


def test_a_job_that_cannot_start_says_so_and_is_not_requeued(slurm, tmp_path):
    job = slurm("none.yaml")
    said, _ = job.communicate(timeout=400)
    assert job.returncode == 2
    assert "no experiment file none.yaml" in said
    assert not (tmp_path / "scontrol.log").exists()
