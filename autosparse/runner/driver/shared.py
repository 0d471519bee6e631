"""Check, before anything starts, that all nodes of a cluster see the same storage.

Jobs check the nodes that join later: :meth:`autosparse.experiment.store.Store.require`.
"""

import secrets
from collections.abc import Mapping
from types import MappingProxyType

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosparse.errors import AutosparseError
from autosparse.runner.nodes import alive_nodes
from autosparse.storage import Folder, Place, place_at

ANSWER_WITHIN = 300.0
"""Seconds that a node has to answer: on a busy machine, a worker process may have to start first."""


def require_shared(storage: Place, option: str = "--storage", labels: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raise if a node with all of ``labels`` does not see what the driver writes to ``storage``."""
    if len(alive_nodes({})) < 2:
        return
    nodes = alive_nodes(labels)
    name, token = f".probe-{secrets.token_hex(4)}", secrets.token_bytes(16)
    storage.write(name, token)
    try:
        asked = {_look_on(node["NodeID"]).remote(storage.address, name, token): _label(node) for node in nodes}
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_WITHIN)
        blind = [(asked[reference], reason) for reference in ready if (reason := _answer(reference, asked[reference]))]
        for reference in late:
            ray.cancel(reference, force=True)
    finally:
        storage.remove(name)
    if blind:
        node, reason = blind[0]
        cure = f"put {option} on a folder that all {len(nodes)} nodes mount at this path, such as NFS"
        cure += ", or on s3://" if option == "--storage" else ""
        if not isinstance(storage, Folder):
            cure = "give every node the credentials for it, by its role or its environment"
        raise AutosparseError(f"{storage} is not shared: {node} {reason}; {cure}")
    if late:
        raise AutosparseError(
            f"{asked[late[0]]} did not answer within {ANSWER_WITHIN:.0f} s whether it sees {storage}; see `ray status`"
        )


def _answer(reference: ray.ObjectRef, node: str) -> str:
    try:
        return str(ray.get(reference))
    except RayTaskError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AutosparseError(f"{node} cannot run autosparse ({reason}): install the same version there") from error
    except RayError:
        return ""  # the node has left since it was listed: nothing will run there


def _label(node: dict[str, str]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _look_on(node_id: str) -> ray.remote_function.RemoteFunction:
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_blindness).options(num_cpus=0, scheduling_strategy=there)  # no CPU, so that a busy node answers


def _blindness(address: str, name: str, token: bytes) -> str:
    """Why this node does not see the token; empty if it does."""
    try:
        seen = place_at(address).read(name) == token
    except AutosparseError as error:
        return f"cannot read it ({error})"
    except OSError:
        seen = False
    return "" if seen else "does not see what is written there"
