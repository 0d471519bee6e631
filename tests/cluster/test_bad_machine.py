"""A disk that is full, a clock that jumps, and a cell that kills its workers, under a real run."""

import json
import os
import signal
import sys

import pytest
from commands import GRID, LONGER, Work, command_of, descendants, ended, wait_for
from faults.site import small_disk as mounted
from processes import waiting_method

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    with mounted(tmp_path / "disk", 4 << 20) as full:
        if full is None:
            pytest.skip("mounting a small file system needs a privilege that is not given here")
        yield tmp_path / "disk"


@pytest.mark.parametrize("kind", ["cells", "irp"])
def test_a_full_disk_is_named_and_the_same_command_finishes_when_there_is_room(tmp_path, small_disk, kind):
    irp = {"snip": {"model": "lenet-300-100", "dataset": "digits", "iterations": 30, "recipe": {"epochs": 1}}}
    content = {"name": "full", "grid": {**GRID, "recipe": LONGER, "seeds": list(range(60))}}
    content = content if kind == "cells" else {"name": "full", "irp": irp}
    work = Work(tmp_path, content, storage=small_disk / "results")
    process = work.start()
    begun = (lambda: work.finished() >= 3) if kind == "cells" else (lambda: (work.storage / "states").exists())
    wait_for(begun, process)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert_told_of(process, work)
    assert_told_of(work.start(), work)  # also if the disk is full from the start
    done = work.finished()
    filler.unlink()
    assert work.run()["found"] == done
    work.assert_each_once()


def assert_told_of(process, work):
    """Check that the process ends with one line that says what cannot be written, why, and what to do."""
    code, _, err = ended(process)
    assert code != 0
    errors = [line for line in err.splitlines() if "error: " in line]
    assert len(errors) == 1, err
    assert f"cannot write {work.storage}" in errors[0]
    assert "No space left on device; make room there" in errors[0]


def test_a_killed_raylet_of_a_local_ray_ends_the_command_and_the_next_goes_on(tmp_path):
    work = Work(tmp_path, {"name": "local", "grid": {**GRID, "recipe": LONGER, "seeds": list(range(40))}})
    process = work.start()
    wait_for(lambda: work.finished() >= 3, process)
    [raylet] = [pid for pid in descendants(process.pid) if "raylet/raylet " in command_of(pid)]
    os.kill(raylet, signal.SIGKILL)
    code, _, err = ended(process, within=180)
    assert code == 1
    assert "error: Ray's own process 'raylet' has died" in err
    assert "run the same command to go on" in err
    done = work.finished()
    assert work.run()["found"] >= done
    work.assert_each_once()


def beside(folder):
    """A PYTHONPATH that has ``folder``, too."""
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


JUMPING = """
import itertools, time
real, jumps = time.time, itertools.cycle((0, 0, 3600, -86400, 5 * 86400))
time.time = lambda: real() + next(jumps)
"""


def test_a_clock_that_jumps_in_every_worker_changes_no_result(tmp_path):
    (tmp_path / "jumping_clock.py").write_text(JUMPING)
    content = {"name": "clock", "plugins": ["jumping_clock"], "grid": {**GRID, "seeds": list(range(20))}}
    work = Work(tmp_path, content, PYTHONPATH=beside(tmp_path))
    code, _, err = ended(work.start())
    assert code == 0, err
    plain = Work(tmp_path, {**content, "plugins": []})
    plain.assert_each_once()
    plain.assert_cells_as_alone(range(0, 20, 4))
    ended_ms = [plain.store.record(planned.task)["ended_ms"] for planned in plain.plan.cells]
    assert max(ended_ms) - min(ended_ms) > 86_400_000, "the clock did jump"


DEADLY = """
import os, signal
from autosparse.criteria import CRITERIA, criterion

@criterion("deadly", paper="none")
def deadly(model, batches, loss, seed=0):
    if seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return CRITERIA["random"].function(model, batches, loss, seed)
"""


def test_a_cell_that_kills_its_workers_keeps_no_other_from_being_done(tmp_path):
    (tmp_path / "deadly_module.py").write_text(DEADLY)
    grid = {**GRID, "methods": ["deadly"], "seeds": list(range(24))}
    content = {"name": "deadly", "plugins": ["deadly_module"], "grid": grid}
    sys.path.insert(0, str(tmp_path))
    work = Work(tmp_path, content, PYTHONPATH=beside(tmp_path))
    code, out, err = ended(work.start("--json"))
    assert code == 1, err
    [failed] = json.loads(out)["failed"]
    assert failed["id"] == work.plan.cells[3].task.id
    assert "worker process died each time" in failed["reason"]
    assert work.finished() == 23
    assert sorted(run.info.status for run in work.runs()) == ["FAILED", *["FINISHED"] * 23]


def test_a_cell_for_which_memory_is_too_small_is_marked_and_done_where_there_is_enough(tmp_path):
    enough = waiting_method(tmp_path)  # it ends only where there is enough, however late a lack is noticed
    grid = {**GRID, "methods": ["waiting"], "seeds": [0]}
    work = Work(tmp_path, {"name": "hungry", "plugins": ["waiting_module"], "grid": grid})
    work.environment |= {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    code, out, err = ended(work.start("--json", "--workers", "1", "--no-rehearsal"))
    assert code == 1, err
    [failed] = json.loads(out)["failed"]
    assert "the node running low on memory; give it more memory" in failed["reason"]
    assert [run.info.status for run in work.runs()] == ["FAILED"]
    for name in ("RAY_memory_usage_threshold", "RAY_memory_monitor_refresh_ms"):
        del work.environment[name]
    enough.touch()
    assert work.run("--retry-failed")["failed"] == []
    work.assert_each_once()
