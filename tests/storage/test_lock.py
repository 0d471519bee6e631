"""One driver at a time in an object store: a lease, watched for signs of life."""

import os
import signal
import threading
import time

import pytest
from builders import a_cell

from autosparse.errors import AutosparseError, Interrupted
from autosparse.storage import lock, place_at
from autosparse.storage.lock import LEASE, one_driver


@pytest.fixture
def bucket(s3, monkeypatch, request):
    monkeypatch.setattr(lock, "BEAT", 0.2)
    monkeypatch.setattr(lock, "SILENCE", 1.0)
    monkeypatch.setattr(lock, "SETTLED", 0.1)
    return place_at(s3(f"driver-{abs(hash(request.node.name)) % 10**12}"))


def take_over(bucket, heard=lambda: False):
    """Beat like a successor until the first driver notices, whose own beat may overwrite one of these."""
    deadline = time.monotonic() + 60
    while not heard() and time.monotonic() < deadline:
        bucket.write(LEASE, b'{"token": "successor", "host": "there", "pid": 1}')
        time.sleep(0.05)


def test_a_second_driver_is_refused_while_the_first_lives_and_let_in_after_it(bucket):
    with one_driver(bucket), pytest.raises(AutosparseError, match=r"another autosparse \(process \d+ on "):
        one_driver(bucket).__enter__()
    assert bucket.names() == []
    with one_driver(bucket):
        assert bucket.names() == [LEASE]


def test_the_lease_of_a_driver_that_was_killed_is_taken_over_when_it_has_been_silent(bucket):
    bucket.write(LEASE, b'{"token": "dead", "host": "gone", "pid": 1}')
    started = time.monotonic()
    with one_driver(bucket):
        assert time.monotonic() - started > 1.0


def test_a_driver_that_was_taken_for_dead_stops(bucket, monkeypatch, request):
    def stop(pid, number):
        stopped.append((pid, number))

    stopped = []
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, before))
    monkeypatch.setattr(lock.os, "kill", stop)
    with pytest.raises(AutosparseError, match="another autosparse assumed this run had crashed and took over"):  # noqa: SIM117
        with one_driver(bucket):
            take_over(bucket, lambda: stopped)
            assert stopped == [(os.getpid(), signal.SIGTERM)]
            raise Interrupted("as what `stoppable` and `run_plan` make of it")
    assert bucket.names() == [LEASE]


def test_a_driver_that_was_taken_for_dead_leaves_mlflow_to_its_successor(bucket, monkeypatch, tmp_path, empty_store):
    from autosparse.experiment.plan import Plan
    from autosparse.experiment.planned import Planned
    from autosparse.experiment.store import Store
    from autosparse.runner.driver import run
    from autosparse.runner.screen.console import Screen
    from autosparse.runner.settings import Settings
    from autosparse.tracking.client import connect
    from autosparse.tracking.search import all_runs

    cell = a_cell()
    plan, settings = Plan("exp", cells=[Planned(cell, "snip")]), Settings(bucket.address, empty_store(tmp_path))

    def be_succeeded(*_):
        store = Store(bucket.address)
        store.fail(cell, "it diverged", "Traceback: ...", {"git_commit": "", "host": "", "versions": {}})
        take_over(bucket)  # until the signal comes

    monkeypatch.setattr(run, "_do", be_succeeded)
    with pytest.raises(AutosparseError, match="another autosparse assumed this run had crashed and took over"):
        run.run_plan(plan, settings, Screen())
    client = connect(settings.tracking_uri)
    (parent,) = all_runs(client, client.get_experiment_by_name("exp").experiment_id)
    assert parent.info.status == "RUNNING", "and nothing else was written"


def test_of_two_drivers_that_start_at_once_one_works(bucket):
    worked, refused, gate = [], [], threading.Barrier(2)

    def drive():
        gate.wait()
        try:
            with one_driver(bucket):
                worked.append(1)
                time.sleep(0.8)
        except AutosparseError:
            refused.append(1)

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(worked), len(refused)) == (1, 1)


def test_a_lease_that_is_no_json_keeps_nobody_out(bucket):
    bucket.write(LEASE, b"\x80\x04pickle")
    with one_driver(bucket):
        pass
