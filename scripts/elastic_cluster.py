"""A Ray cluster on this machine whose nodes Ray's own autoscaler starts and ends, each a raylet with one CPU.

    with ElasticCluster(most=4) as cluster:
        subprocess.run(["autosparse", "run", "grid.yaml", "--address", cluster.address], env=cluster.environment)

The head has no CPU. Ray's provider of fake nodes starts the others as processes of this machine, where a cloud's would
rent hosts; the autoscaler that asks for them is the one that clouds and Kubernetes have.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from local_cluster import MEMORY, START, quiet
from local_mlflow import free_port

RAY = Path(sys.executable).with_name("ray")
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
"""Named as a provider of another package would be, since Ray's wheels lack the file with its defaults."""
HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""What the provider calls the head, which must have this id."""

WITHOUT = ("setup_commands", "head_setup_commands", "worker_setup_commands", "cluster_synced_files")
"""Keys that Ray requires: the files that a new host would get, and the commands that it would run first."""
ID = "RAY_OVERRIDE_NODE_ID_FOR_TESTING"


class ElasticCluster:
    """Starts a head with an autoscaler; a context manager.

    :param least: nodes to keep even if there is no work.
    :param most: nodes to have at most.
    :param idle: seconds without work after which a node is ended.
    """

    def __init__(self, least: int = 0, most: int = 4, idle: float = 10.0, **environment: str):
        self.folder = Path(tempfile.mkdtemp(prefix="asp-", dir="/tmp"))  # short: the paths of sockets are bounded
        self.environment = {**quiet(self.folder), **environment}
        self.address = f"127.0.0.1:{free_port()}"
        (self.folder / "autoscaling.json").write_text(json.dumps(self._configuration(least, most, idle)))
        self.head = self._start()
        try:
            self._await()
        except BaseException:
            self.close()
            raise

    def _configuration(self, least: int, most: int, idle: float) -> dict[str, Any]:
        provider = {"use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True}
        provider |= {"type": "external", "module": PROVIDER, "launch_multiple": True, "head_node_id": HEAD_ID}
        one = {"CPU": 1, "object_store_memory": MEMORY}
        return {
            "cluster_name": "elastic",
            "provider": {**provider, "gcs_address": self.address},
            "head_node_type": "ray.head.default",
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "node": {"resources": one, "node_config": {}, "min_workers": least, "max_workers": most},
            },
            "max_workers": most,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": idle / 60,
            **{key: [] for key in WITHOUT},
        }

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(RAY), "start", "--head", "--block", "--num-cpus=0", f"--port={self.address.rpartition(':')[2]}"]
        command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--object-store-memory={MEMORY}"]
        command += [f"--temp-dir={self.folder}", f"--autoscaling-config={self.folder / 'autoscaling.json'}"]
        fakes = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
        named = {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, ID: HEAD_ID}
        with (self.folder / "head.log").open("wb") as log:
            return subprocess.Popen(
                command, env={**self.environment, **fakes, **named}, stdout=log, stderr=log, start_new_session=True
            )

    def nodes(self) -> dict[str, int]:
        """The nodes beside the head that run: the process id of each raylet, by the node's id."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if "raylet/raylet" in (process / "cmdline").read_text():
                    variables = dict(pair.partition("=")[::2] for pair in (process / "environ").read_text().split("\0"))
                    if variables.get("RAY_TMPDIR") == str(self.folder) and variables.get(ID) != HEAD_ID:
                        found[variables[ID]] = int(process.name)
        return found

    def take(self, node: str, notice: float = 0.0) -> None:
        """Take a node away as a cloud takes a spot host: say so ``notice`` seconds before, and end it."""
        if notice:
            told = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken away"]
            told += [f"--node-id={node}", f"--address={self.address}", f"--deadline-remaining-seconds={notice:.0f}"]
            subprocess.run([RAY, "drain-node", *told], env=self.environment, check=True, capture_output=True)
            time.sleep(notice)
        with contextlib.suppress(KeyError, ProcessLookupError):  # it had no work, and has been ended
            os.kill(self.nodes()[node], signal.SIGKILL)

    def _await(self) -> None:
        deadline = time.monotonic() + START
        while "Ray runtime started" not in (self.folder / "head.log").read_text():
            if self.head.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no head started:\n{(self.folder / 'head.log').read_text()[-2000:]}")
            time.sleep(0.2)

    def close(self) -> None:
        """End every node."""
        self.head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.head.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.head.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "ElasticCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
