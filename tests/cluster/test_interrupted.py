"""Drivers that are stopped, killed, or not alone: the same command goes on, and nothing is left behind."""

import signal
import time
from pathlib import Path

import pytest
import torch
from commands import GRID, IRP, LONGER, RECIPE, Work, descendants, ended, wait_for
from faults.processes import busy_workers
from processes import alive

from autosparse.irp import load_survival

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def grid(name, count=60):
    return {"name": name, "grid": {**GRID, "recipe": LONGER, "seeds": list(range(count))}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_one_signal_stops_cleanly_with_one_line_and_the_same_command_goes_on(tmp_path, number):
    work = Work(tmp_path, grid("stopped"))
    process = work.start()
    wait_for(lambda: work.finished() >= 3, process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 130
    assert out == ""
    errors = [line for line in err.splitlines() if "error:" in line]
    assert len(errors) == 1, err
    assert "to do; run the same command to go on" in errors[0]
    assert "Traceback" not in err
    done = work.finished()
    assert 3 <= done < 60
    assert len(work.runs()) == done, "what had finished is in MLflow"
    assert work.run()["found"] == done
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, 60, 6))


def test_a_second_signal_ends_it_at_once_and_nothing_is_left_running(tmp_path):
    work = Work(tmp_path, grid("ended"))
    process = work.start()
    wait_for(lambda: work.finished() >= 3, process)
    started = descendants(process.pid)
    raylets = [pid for pid in started if "raylet" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert raylets
    deadline = time.monotonic() + 30  # it waits for nothing, however busy the machine is
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)  # again and again: two that arrive together count as one
        time.sleep(0.05)
    assert process.poll() == 130
    wait_for(lambda: not any(map(alive, raylets)), within=20)
    wait_for(lambda: not any(map(alive, started)), within=180)  # Ray lets an actor look for its cluster for a minute
    assert "run the same command to go on" not in process.stderr.read(), "that is what one signal does"
    work.run()
    work.assert_each_once()


def test_a_driver_killed_in_mid_grid_is_followed_by_the_same_command(tmp_path):
    work = Work(tmp_path, grid("killed"))
    process = work.start()
    wait_for(lambda: work.finished() >= 3, process)
    process.kill()
    ended(process)
    assert work.run()["found"] >= 3
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, 60, 6))


def test_a_driver_on_a_cluster_killed_in_mid_irp_is_followed_from_the_last_iteration(two_nodes, tmp_path):
    irp = {"snip": {**IRP["snip"], "iterations": 12, "recipe": {**RECIPE, "epochs": 6}}}
    work, undisturbed = (Work(tmp_path / name, {"name": "irp", "irp": irp}) for name in ("here", "there"))
    task = work.plan.irp[0].task
    states = work.store.states(task)
    process = work.start(cluster=two_nodes)
    wait_for(lambda: states.newest() and states.newest().step >= 3 * task.recipe.epochs, process)
    process.kill()
    ended(process)
    wait_for(lambda: not busy_workers([node.raylet for node in two_nodes.nodes]))
    reached = states.newest().step
    process, seen = work.start(cluster=two_nodes), set()
    while process.poll() is None:
        seen |= {int(path.stem) for path in states.place.local.glob("*.json")}
        time.sleep(0.05)
    code, _, err = ended(process)
    assert code == 0, err
    assert min(seen) >= reached - task.recipe.epochs, "it began anew"
    work.assert_each_once()
    undisturbed.run()
    here, there = (load_survival(w.store.files_path("irp", task.id) / "survival") for w in (work, undisturbed))
    assert all(torch.equal(here.survived[name], there.survived[name]) for name in there.survived)


def test_a_second_driver_on_the_same_storage_is_refused_and_the_first_goes_on(tmp_path):
    work = Work(tmp_path, grid("two", 40))
    first = work.start()
    wait_for(lambda: work.finished() >= 1, first)
    code, _, err = ended(work.start())
    assert code == 2
    assert f"another autosparse is running on {work.storage}: wait for it" in err
    code, _, err = ended(first)
    assert code == 0, err
    work.assert_each_once()
