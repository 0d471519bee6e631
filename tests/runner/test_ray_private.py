"""Each private name and text of Ray that the runner stands on, tried on the installed version."""

import ast
import inspect
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError

import autosparse

pytestmark = pytest.mark.usefixtures("ray_running")


def private_of_ray(path):
    """Names of Ray in the file at ``path`` of which a part begins with an underscore."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ray":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "ray"]
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("ray."):
            names = [ast.unparse(node)]
        else:
            continue
        yield from (name for name in names if any(part.startswith("_") for part in name.split(".")))


def test_no_other_file_uses_a_private_name_of_ray():
    found = {path.name: list(private_of_ray(path)) for path in Path(autosparse.__file__).parent.rglob("*.py")}
    assert {name for name, names in found.items() if names} == {"ray_private.py"}


def actor():
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self):
            return os.getpid()

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def wait(self):
            signal.pause()

    return Actor.remote()


def test_ray_says_that_the_process_of_an_actor_has_died():
    import ray

    from autosparse.runner.ray_private import KILLED, PROCESS_DIED

    with pytest.raises(ActorDiedError) as died:
        ray.get(actor().die.remote())
    assert PROCESS_DIED in str(died.value)
    assert KILLED not in str(died.value)


def test_ray_says_that_we_killed_an_actor():
    import ray

    from autosparse.runner.ray_private import KILLED, PROCESS_DIED

    killed = actor()
    ray.get(killed.pid.remote())
    waiting = killed.wait.remote()  # before the kill, which takes a moment: a later call may still be answered
    ray.kill(killed)
    with pytest.raises(ActorDiedError) as died:
        ray.get(waiting)
    assert KILLED in str(died.value)
    assert PROCESS_DIED not in str(died.value)


def test_an_actor_is_starting_until_it_is_ready_and_can_be_killed_by_its_id(tmp_path):
    import ray

    from autosparse.runner.ray_private import kill_starting_actor, starting_actors

    begun = tmp_path / "begun"

    @ray.remote(num_cpus=0)
    class Slow:
        def __init__(self):
            begun.write_text(str(os.getpid()))
            signal.pause()

    slow = Slow.remote()
    while not begun.exists() or not begun.read_text():
        signal.sigtimedwait([], 0.1)
    found = starting_actors()
    assert int(begun.read_text()) in found.values()
    [own] = [name for name, pid in found.items() if pid == int(begun.read_text())]
    kill_starting_actor(own)
    with pytest.raises(ActorDiedError):
        ray.get(slow.__ray_ready__.remote())
    assert own not in starting_actors()


def test_a_mark_is_seen_and_removed():
    from autosparse.runner.ray_private import mark_at, put_mark, remove_mark

    put_mark("a-test-of-marks", "1.5")
    assert mark_at("a-test-of-marks") == b"1.5"
    remove_mark("a-test-of-marks")
    assert mark_at("a-test-of-marks") is None


def test_a_local_ray_tells_which_of_its_processes_died(monkeypatch):
    """The process is dead only to this thread: the session's own watcher would tell of it, and watch no longer."""
    import ray

    from autosparse.runner.ray_private import dead_processes

    node, asks = ray._private.worker._global_node, threading.get_ident()
    assert dead_processes() == []
    died = SimpleNamespace(process=SimpleNamespace(poll=lambda: 1 if threading.get_ident() == asks else None))
    monkeypatch.setattr(node, "all_processes", {**node.all_processes, "a part": [died]})
    assert dead_processes() == ["a part"]


def test_tune_reads_no_pickle_and_sends_no_credential(monkeypatch):
    from ray.tune.execution import class_cache
    from ray.tune.experiment import Trial

    from autosparse.runner.ray_private import read_no_pickles, send_no_credentials

    monkeypatch.setattr(Trial, "get_pickled_error", Trial.get_pickled_error)
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", {"AWS_SECRET_ACCESS_KEY", "OTHER"})
    read_no_pickles()
    send_no_credentials()
    assert Trial.get_pickled_error(None) is None
    assert {"OTHER"} == class_cache.ENV_VARS_TO_PROPAGATE


def test_a_worker_that_ray_kills_for_want_of_memory_is_to_tune_one_that_died(monkeypatch):
    from ray.air.execution._internal import RayActorManager

    from autosparse.runner import ray_private

    seen = []
    monkeypatch.setattr(
        ray_private, "_actor_task_failed", lambda manager, tracked_actor_task, exception: seen.append(exception)
    )
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", RayActorManager._actor_task_failed)
    ray_private.outlive_lack_of_memory()
    RayActorManager._actor_task_failed(
        None, tracked_actor_task=None, exception=OutOfMemoryError(ray_private.OUT_OF_MEMORY)
    )
    RayActorManager._actor_task_failed(None, tracked_actor_task=None, exception=ValueError("another"))
    assert isinstance(seen[0], RayActorError)
    assert ray_private.OUT_OF_MEMORY in str(seen[0])
    assert isinstance(seen[1], ValueError)


def test_what_is_replaced_in_tune_is_what_tune_calls():
    from ray.air.execution._internal import RayActorManager
    from ray.tune.execution import class_cache
    from ray.tune.experiment import Trial
    from ray.tune.result_grid import ResultGrid

    # Asks the sources, because an earlier run in this process may have replaced these functions with ours.
    tasks = inspect.getsource(RayActorManager)
    assert "def _actor_task_failed(" in tasks
    assert "self._actor_task_failed(" in tasks
    assert "def get_pickled_error(self)" in inspect.getsource(Trial)
    assert "get_pickled_error()" in inspect.getsource(ResultGrid)
    assert inspect.getsource(class_cache).count("ENV_VARS_TO_PROPAGATE") > 1
