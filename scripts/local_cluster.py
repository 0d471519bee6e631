"""A real Ray cluster on this machine: a head without CPUs, and nodes with one CPU, each with its own raylet.

    with LocalCluster(nodes=2) as cluster:
        subprocess.run(["autosparse", "run", "grid.yaml", "--address", cluster.address], env=cluster.environment)

The nodes belong to a process of their own (this file), so that the caller may have another Ray; they end with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 100 << 20
"""Bytes of each object store."""
START = 180.0
"""Seconds for a node to come up."""


@dataclass(frozen=True)
class Node:
    """One node."""

    id: str
    raylet: int
    """Process id; its workers end with it."""

    @property
    def runs(self) -> bool:
        """Whether its raylet still runs."""
        try:
            return bool(Path(f"/proc/{self.raylet}/cmdline").read_text())  # that of a zombie is empty
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """End the node as a power failure would."""
        os.kill(self.raylet, signal.SIGKILL)


def quiet(folder: Path) -> dict[str, str]:
    """The variables of this process, for a Ray with its files in ``folder``, without a token and without reports."""
    without = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    return without | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}


class LocalCluster:
    """Starts a cluster, adds nodes and kills them; a context manager."""

    def __init__(self, nodes: int = 2, cpus: int = 1, **environment: str):
        self.folder = Path(tempfile.mkdtemp(prefix="asp-", dir="/tmp"))  # short: the paths of sockets are bounded
        self.environment = {**quiet(self.folder), **environment}
        self.log = (self.folder / "cluster.log").open("w")
        self.holder = subprocess.Popen(
            [sys.executable, __file__, str(cpus)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        try:
            self.address = str(self._answer()["address"])
            self.nodes = [self.add() for _ in range(nodes)]
        except BaseException:
            self.close()
            raise

    def inside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` where the driver is, which is this machine."""
        return list(command)

    def add(self, **labels: str) -> Node:
        """Start one more node with these labels, and return it when it has joined."""
        answer = self._ask(f"add {json.dumps(labels)}")
        return Node(str(answer["id"]), int(answer["raylet"]))

    @property
    def alive(self) -> int:
        """Number of nodes of the cluster, including the head."""
        return int(self._ask("alive")["alive"])

    def replace(self, place: int) -> Node:
        """Kill a node and start another in its place; return the dead one."""
        dead = self.nodes[place]
        dead.kill()
        self.nodes[place] = self.add()
        return dead

    def heal(self) -> None:
        """Start a node for each that has gone."""
        for place, node in enumerate(self.nodes):
            if not node.runs:
                self.nodes[place] = self.add()

    def _ask(self, what: str) -> dict[str, str | int]:
        assert self.holder.stdin
        self.holder.stdin.write(f"{what}\n")
        self.holder.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, str | int]:
        assert self.holder.stdout
        for line in self.holder.stdout:
            if line.startswith("{"):
                found: dict[str, str | int] = json.loads(line)
                return found
        raise RuntimeError(f"the cluster did not start:\n{(self.folder / 'cluster.log').read_text()[-2000:]}")

    def close(self) -> None:
        """End every node."""
        assert self.holder.stdin
        self.holder.stdin.close()
        try:
            self.holder.wait(60)
        except subprocess.TimeoutExpired:
            self.holder.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold(cpus: int) -> None:
    """Start a head, and obey the lines of stdin until it ends."""
    from ray.cluster_utils import Cluster

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints goes to the log
    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    print(json.dumps({"address": cluster.address}), file=out, flush=True)
    for asked in sys.stdin:
        if asked.strip() == "alive":
            alive = sum(node["Alive"] for node in cluster.global_state.node_table())
            print(json.dumps({"alive": alive}), file=out, flush=True)
            continue
        labels = json.loads(asked.removeprefix("add "))
        node = cluster.add_node(num_cpus=cpus, object_store_memory=MEMORY, labels=labels, wait=False)
        found = {"id": node.node_id, "raylet": node.all_processes["raylet"][0].process.pid}
        _await(cluster, found["id"])
        print(json.dumps(found), file=out, flush=True)
    cluster.shutdown()


def _await(cluster: Any, node: str) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if any(n["NodeID"] == node and n["Alive"] for n in cluster.global_state.node_table()):
            return
        time.sleep(0.1)
    raise TimeoutError(f"node {node} did not join within {START:.0f} s")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the caller
    hold(int(sys.argv[1]))
