"""One driver at a time in an object store: a lease, watched for signs of life."""

import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from builders import a_cell

from autosparse.errors import AutosparseError, Interrupted
from autosparse.runner.driver.stopping import interruptible
from autosparse.storage import lease, lock, place_at
from autosparse.storage.conditional import ConditionalWrites
from autosparse.storage.lease import LEASE, Lease
from autosparse.storage.lock import one_driver


def refuse(self, put):
    conditions = {"If-None-Match", "If-Match"} & set(self.headers.keys())
    return (501, {}, "<Error><Code>NotImplemented</Code></Error>") if conditions else put(self)


def ignore(self, put):
    self.headers = {name: value for name, value in self.headers.items() if name not in ("If-None-Match", "If-Match")}
    return put(self)


STORES = {"conditional": None, "refusing": refuse, "ignoring": ignore, "without boto3": None}


@pytest.fixture(params=STORES)
def kind(request):
    return request.param


@pytest.fixture
def bucket(s3, monkeypatch, request, kind):
    """A bucket in a store that honours conditions, refuses them, or ignores them; or boto3 is not installed."""
    from moto.s3.responses import S3Response

    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "SILENCE", 1.0)
    monkeypatch.setattr(lease, "SETTLED", 0.1)
    if answer := STORES[kind]:
        put = S3Response.put_object
        monkeypatch.setattr(S3Response, "put_object", lambda self: answer(self, put))
    if kind == "without boto3":
        monkeypatch.setitem(sys.modules, "boto3", None)
    return place_at(s3(f"driver-{abs(hash(request.node.name)) % 10**12}"))


@pytest.fixture
def patient(bucket, monkeypatch):
    """A driver whose beats come late on a busy machine is not taken for dead."""
    monkeypatch.setattr(lease, "SILENCE", 60.0)


def take_over(bucket, heard=lambda: False):
    """Beat like a successor until the first driver notices, whose own beat may overwrite one of these."""
    deadline = time.monotonic() + 60
    while not heard() and time.monotonic() < deadline:
        bucket.write(LEASE, b'{"token": "successor", "host": "there", "pid": 1}')
        time.sleep(0.05)


@pytest.mark.usefixtures("patient")
def test_a_second_driver_is_refused_while_the_first_lives_and_let_in_after_it(bucket):
    with one_driver(bucket), pytest.raises(AutosparseError, match=r"another autosparse \(process \d+ on "):
        one_driver(bucket).__enter__()
    assert bucket.names() == []
    with one_driver(bucket):
        assert bucket.names() == [LEASE]


@pytest.mark.usefixtures("patient")
def test_an_address_that_ends_with_a_slash_is_the_same_place(bucket):
    slashed = place_at(bucket.address.replace("?", "/?"))
    with one_driver(slashed), pytest.raises(AutosparseError, match="another autosparse"):
        one_driver(bucket).__enter__()
    assert bucket.names() == []


def test_a_lease_is_kept_by_conditional_writes_where_the_store_honours_them(bucket, kind):
    held = Lease(bucket)
    held.take()
    assert held.keep()
    assert (held.writes is not None) == (kind == "conditional")
    assert json.loads(bucket.read(LEASE))["token"] == held.token


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


@pytest.fixture
def at_once(monkeypatch):
    """Runs several drivers, all of which find the place free before any of them writes; returns how many work."""
    wait = Lease._wait_for_silence

    def run(bucket, drivers):
        gate, decided, worked = threading.Barrier(drivers), threading.Barrier(drivers), []

        def wait_for_all(self):
            wait(self)
            gate.wait(60)

        def drive():
            try:
                with one_driver(bucket):
                    worked.append(1)
                    decided.wait(60)
            except AutosparseError:
                decided.wait(60)

        monkeypatch.setattr(Lease, "_wait_for_silence", wait_for_all)
        threads = [threading.Thread(target=drive) for _ in range(drivers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(worked)

    return run


@pytest.mark.parametrize("kind", ["conditional"], indirect=True)
@pytest.mark.parametrize(
    "old",
    [
        pytest.param(None, marks=pytest.mark.slow),
        b'{"token": "dead", "host": "gone", "pid": 1}',
        pytest.param(b"\x80\x04pickle", marks=pytest.mark.slow),
    ],
)
def test_of_drivers_that_start_at_the_same_instant_one_works_each_time(bucket, monkeypatch, at_once, old):
    monkeypatch.setattr(lease, "SETTLED", 0)  # without a wait in which luck could decide
    monkeypatch.setattr(lease, "SILENCE", 0.2)
    for _ in range(5):
        if old:
            bucket.write(LEASE, old)
        assert at_once(bucket, 3) == 1


@pytest.mark.parametrize("kind", ["conditional"], indirect=True)
def test_a_lease_that_somebody_removed_is_written_again(bucket):
    held = Lease(bucket)
    held.take()
    bucket.remove(LEASE)
    assert held.keep()
    assert held.keep()
    assert json.loads(bucket.read(LEASE))["token"] == held.token


@pytest.mark.parametrize("kind", ["conditional"], indirect=True)
def test_a_driver_that_has_a_successor_does_not_write_over_its_lease(bucket):
    held = Lease(bucket)
    held.take()
    bucket.write(LEASE, successor := b'{"token": "successor", "host": "there", "pid": 1}')
    assert not held.keep()
    held.end()
    assert bucket.read(LEASE) == successor


@pytest.mark.parametrize("kind", ["conditional"], indirect=True)
def test_a_write_whose_answer_was_lost_is_known_again(bucket):
    writes = ConditionalWrites.to(bucket)
    first = writes.write("a", b"1", None)
    assert (writes.write("a", b"1", None), writes.write("a", b"2", None)) == (first, None)
    assert (bucket.read("a"), writes.read("a"), writes.read("b")) == (b"1", (b"1", first), (b"", None))


@pytest.mark.parametrize("kind", ["conditional"], indirect=True)
def test_a_store_that_is_away_is_asked_again(bucket, monkeypatch):
    from moto.s3.responses import S3Response

    put, answers = S3Response.put_object, [(409, {}, "<Error><Code>ConditionalRequestConflict</Code></Error>")]
    monkeypatch.setattr(S3Response, "put_object", lambda self: answers.pop() if answers else put(self))
    assert ConditionalWrites.to(bucket).write("a", b"1", None)
    assert (bucket.read("a"), answers) == (b"1", [])


def test_of_two_drivers_that_start_at_once_one_works(bucket, kind, monkeypatch, at_once):
    written, slept = threading.Barrier(2), []

    def settle(seconds):
        slept.append(seconds)
        written.wait(60)  # however slow the machine is: until the other has written, too

    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=time.monotonic, sleep=settle))
    assert at_once(bucket, 2) == 1
    assert slept == ([] if kind == "conditional" else [lease.SETTLED] * 2)


def test_a_lease_that_is_no_json_keeps_nobody_out(bucket):
    bucket.write(LEASE, b"\x80\x04pickle")
    with one_driver(bucket):
        pass


def test_while_the_store_is_away_nobody_is_taken_for_dead(tmp_path, monkeypatch):
    now, looks = [0.0], iter([(0, "first"), (60, "first"), (60, "first"), (1, "second")])

    def look(self):
        seconds, beat = next(looks)
        now[0] += seconds
        return {"beat": beat, "pid": 1, "host": "there"}

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(Lease, "_look", look)
    with pytest.raises(AutosparseError, match=r"another autosparse \(process 1 on there\) is running"):
        Lease(place_at(tmp_path)).take()


def test_a_command_that_lost_its_lease_says_so_though_it_was_only_to_be_interrupted(bucket, monkeypatch):
    stopped = []
    monkeypatch.setattr(lock.os, "kill", lambda *given: stopped.append(given))
    with (
        pytest.raises(AutosparseError, match="another autosparse assumed this run had crashed and took over"),
        interruptible("interrupted: run the same command again"),
        one_driver(bucket),
    ):
        take_over(bucket, lambda: stopped)
        raise KeyboardInterrupt  # as the handler of the signal does


def test_a_lock_whose_folder_was_moved_meanwhile_is_nobodys(tmp_path, monkeypatch):
    folder, flock = tmp_path / "work", lock.fcntl.flock
    folder.mkdir()

    def moved(*given):
        folder.rename(tmp_path / "out")
        flock(*given)

    monkeypatch.setattr(lock.fcntl, "flock", moved)
    with pytest.raises(AutosparseError, match="another autosparse is running"):
        one_driver(place_at(folder)).__enter__()
