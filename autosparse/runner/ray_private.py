"""The private parts of Ray that we cannot do without; no other file uses a private name of Ray's.

``tests/runner/test_ray_private.py`` fails on a version of Ray in which one of these names or texts has gone.
"""

from typing import Any

import ray
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial

PROCESS_DIED = "worker process has died."
"""Ray's text for an actor whose process died while its node lives on. A node's death raises ``ActorDiedError``, too;
only the text tells them apart."""
OUT_OF_MEMORY = "running low on memory"
"""Ray's text for an actor that it killed itself. Tune hands on only the text."""
KILLED = "killed by `ray.kill`"
"""Ray's text for an actor that we killed."""
MARKS = "autosparse-pulse-"
"""Prefix of the keys of marks."""

_actor_task_failed = RayActorManager._actor_task_failed


def print_no_deaths() -> None:
    """Keep Ray from printing deaths of workers on stdout, which is for results."""
    ray._private.worker._worker_logs_enabled = False


def dead_processes() -> list[str]:
    """Names of the processes of a local Ray that have died."""
    return [name for name, _ in ray._private.worker._global_node.dead_processes()]


def read_no_pickles() -> None:
    """Keep Tune from unpickling errors from the storage; the text beside them says the same."""
    Trial.get_pickled_error = lambda self: None


def send_no_credentials() -> None:
    """Keep ``AWS_`` variables out of what Tune sends to workers, which Ray logs on each node. Nodes have their own."""
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }


def outlive_lack_of_memory() -> None:
    """Let Tune replace a worker that Ray killed because memory ran low; otherwise Tune would end all of its trials."""
    RayActorManager._actor_task_failed = _task_failed


def _task_failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
    if isinstance(exception, OutOfMemoryError):
        exception = RayActorError(error_msg=str(exception))
    _actor_task_failed(manager, tracked_actor_task=tracked_actor_task, exception=exception)


def starting_actors() -> dict[str, int]:
    """Process ids of this driver's actors that are starting: they have a process but are not ready. By actor id."""
    job = ray.JobID(bytes.fromhex(ray.get_runtime_context().get_job_id()))
    found = ray._private.state.actors(job_id=job, actor_state_name="PENDING_CREATION")
    return {actor: about["Pid"] for actor, about in found.items() if about["Pid"]}


def kill_starting_actor(actor: str) -> None:
    """End an actor's process by the actor's id. ``ray.kill`` needs a handle, which only Tune has."""
    ray._private.worker.global_worker.core_worker.kill_actor(ray.ActorID(bytes.fromhex(actor)), True)


def put_mark(trial: str, mark: str) -> None:
    """Note a trial's ``mark`` in the key-value store of Ray's head."""
    _internal_kv_put(MARKS + trial, mark)


def mark_at(trial: str) -> bytes | None:
    """A trial's mark; None before its first."""
    return _internal_kv_get(MARKS + trial)


def remove_mark(trial: str) -> None:
    """Remove the mark of a trial."""
    _internal_kv_del(MARKS + trial)
