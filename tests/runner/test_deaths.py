"""What Tune tells of trials that failed: which of them ended their worker processes."""

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.usefixtures("ray_running")

WORKER = """Failure # 1 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
\tpid: 1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: It was killed.
"""
NODE = """Failure # 2 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
The actor is dead because its node has died. Node Id: ab
"""
MEMORY = """Failure # 1 (occurred at 2026-01-01_00-00-00)
1 worker(s) were killed due to the node running low on memory. Memory on the node was 9GB used / 10GB limit.
Consider provisioning more memory.
"""
OURS = """Failure # 1 (occurred at 2026-01-01_00-00-00)
ray::ImplicitFunc.train() (pid=1)
autosparse.errors.AutosparseError: plugin 'x' cannot be imported
"""
HUNG = """Failure # 1 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
The actor is dead because it was killed by `ray.kill`.
"""
LOST = """Failure # 1 (occurred at 2026-01-01_00-00-00)
ray::ImplicitFunc.train() (pid=1)
torch.AcceleratorError: CUDA error: device-side assert triggered
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.

The above exception was the direct cause of the following exception:

autosparse.runner.work.gpu_check.DeviceLost: CUDA error: device-side assert triggered, after which the GPU is gone
"""


@pytest.mark.parametrize(
    ("error", "deaths"),
    [
        (WORKER, {"job-00007": "It was killed."}),
        (WORKER + WORKER, {"job-00007": "It was killed."}),
        (MEMORY, {"job-00007": "1 worker(s) were killed due to the node running low on memory"}),
        (LOST + WORKER + LOST, {"job-00007": "CUDA error: device-side assert triggered, after which the GPU is gone"}),
        (WORKER + HUNG, {"job-00007": "it gave no sign of life, or made no progress, for too long"}),
        (WORKER + NODE, {}),
        (NODE + WORKER, {}),
        (OURS, {}),
        (None, {}),
    ],
    ids=["worker", "worker twice", "memory", "its GPU", "hung", "node last", "node first", "an error", "none"],
)
def test_only_what_ended_its_worker_each_time_is_taken_for_the_cause(error, deaths):
    from autosparse.runner.jobs.deaths import worker_deaths

    found = worker_deaths([SimpleNamespace(error=error, path="results/tune/ab/job-00007")])
    assert {name: death.told for name, death in found.items()} == deaths
    assert all(death.traceback in error for death in found.values())


def test_what_broke_the_gpu_is_told_with_its_traceback_and_memory_with_its_cure():
    from autosparse.runner.jobs.deaths import worker_deaths

    def death(error):
        return worker_deaths([SimpleNamespace(error=error, path="job")])["job"]

    assert "torch.AcceleratorError: CUDA error" in death(LOST).traceback
    assert "traceback" in death(LOST).cure
    assert "more memory" in death(MEMORY).cure


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (WORKER + MEMORY, "1 worker(s) were killed due to the node running low on memory"),
        (NODE + WORKER, "It was killed."),
        (OURS, "autosparse.errors.AutosparseError: plugin 'x' cannot be imported"),
    ],
)
def test_the_last_failure_is_told_in_a_line(error, told):
    from autosparse.runner.jobs.deaths import first_error

    assert first_error(SimpleNamespace(errors=[error])) == told
