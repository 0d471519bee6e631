"""On a cluster, the storage must be one folder for all nodes: asked of each before anything starts."""

import secrets
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosparse.errors import AutosparseError
from autosparse.files import write_atomic

ANSWER_WITHIN = 60.0
"""Seconds that a node has to look: a worker process may have to start first."""


def require_shared(storage: Path) -> None:
    """Raise where a node of the connected cluster does not see what the driver writes under ``storage``."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    name, token = f".probe-{secrets.token_hex(4)}", secrets.token_hex(16)
    probe = storage / name
    write_atomic(probe, token.encode())
    try:
        asked = {_look_on(node["NodeID"]).remote(str(probe), token): _called(node) for node in nodes}
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_WITHIN)
        blind = [asked[reference] for reference in ready if not ray.get(reference)]
        for reference in late:
            ray.cancel(reference, force=True)
    finally:
        probe.unlink(missing_ok=True)
    if blind:
        raise AutosparseError(
            f"{storage} is not shared: {blind[0]} does not see what is written there; "
            f"put --storage on a folder that all {len(nodes)} nodes mount at this path, such as NFS"
        )
    if late:
        raise AutosparseError(
            f"{asked[late[0]]} did not answer within {ANSWER_WITHIN:.0f} s whether it sees {storage}; see `ray status`"
        )


def _called(node: dict[str, str]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _look_on(node_id: str) -> ray.remote_function.RemoteFunction:
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_sees).options(num_cpus=0, scheduling_strategy=there)  # takes no CPU: a busy node answers, too


def _sees(probe: str, token: str) -> bool:
    path = Path(probe)
    return path.is_file() and path.read_text() == token
