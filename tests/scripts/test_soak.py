"""What the soak complains of, from made-up samples, and a real one of a minute."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
HOURS, CELLS = 2.0, 40_000


@pytest.fixture
def soak(monkeypatch):
    """The script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("soak")
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "faults", "soak")]:
        del sys.modules[name]


def samples(soak, driver=0.0, worker=0.0, files=0.0, count=120):
    """Two hours in which the driver, a worker and its files grow by so much an hour."""
    found = []
    for number in range(count):
        hours = HOURS * number / count
        cells = int(CELLS * number / count)
        found.append(soak.Sample("driver", 60 * hours, cells, 1, 500 + driver * hours, 20, 30))
        found.append(soak.Sample("workers", 60 * hours, cells, 2, 800 + worker * hours, int(40 + files * hours), 25))
        found.append(soak.Sample("Ray", 60 * hours, cells, 6, 300, 90, 60))
    return found


def test_flat_is_flat(soak):
    assert list(soak.complaints(samples(soak), CELLS, CELLS, 130)) == []
    assert "| workers | 800 to 800 | 40 to 40 | 25 to 25 | +0.0 MiB an hour" in soak.table(samples(soak))


def test_the_driver_may_keep_something_of_each_cell_and_no_more(soak):
    assert list(soak.complaints(samples(soak, driver=50), CELLS, CELLS, 130)) == []
    (told,) = soak.complaints(samples(soak, driver=500), CELLS, CELLS, 130)
    assert "driver keeps" in told


def test_a_worker_that_grows_is_found(soak):
    mib, hours, cells = soak.growth(samples(soak, worker=100), "workers")
    assert mib / hours == pytest.approx(100)
    assert 0 < cells < CELLS
    (told,) = soak.complaints(samples(soak, worker=100), CELLS, CELLS, 130)
    assert "a worker grew" in told


def test_files_that_stay_open_are_found(soak):
    (told,) = soak.complaints(samples(soak, files=20), CELLS, CELLS, 130)
    assert told.startswith("workers: files grew from")


def test_a_cell_that_mlflow_lacks_an_exit_code_and_a_kind_that_nobody_saw_are_told(soak):
    assert "2 finished cells, but 1 in MLflow" in list(soak.complaints(samples(soak), 2, 1, 130))
    assert "ended with 1" in next(soak.complaints(samples(soak), 2, 2, 1))
    alone = [sample for sample in samples(soak) if sample.kind == "driver"]
    assert len(list(soak.complaints(alone, 2, 2, 130))) == 2


def test_what_is_beneath_a_process_is_found(soak):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in soak.descendants(os.getpid())
        (seen,) = (sample for sample in soak.seen(child.pid, 0.0, 0))
        assert seen.kind == "driver"
        assert seen.mib > 1
        assert seen.threads >= 1
    finally:
        child.kill()
        child.wait()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_soak_of_a_minute_counts_and_judges(tmp_path):
    command = [sys.executable, str(SCRIPTS / "soak.py"), "--minutes", "1.5", "--every", "10"]
    ran = subprocess.run([*command, "--out", str(tmp_path / "soak.json")], capture_output=True, text=True, cwd=tmp_path)
    assert "| driver |" in ran.stdout, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["exit code"] == 130
    assert found["records"] == found["runs"]
