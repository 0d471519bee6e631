"""The parts of ``scripts/chaos.py``: every damage is counted once, whenever it is done."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def part(monkeypatch):
    """Imports a module of the script, which is found beside it."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "chaos", "faults")]:
        del sys.modules[name]


class Standing:
    """An experiment that has whatever the test says."""

    folder, log = Path(), Path()

    def __init__(self):
        self.has, self.at, self.wrong = set(), {}, set()
        self.waiting = []
        """What becomes of it each time that progress is awaited."""

    def finished(self):
        return set(self.has)

    def steps(self):
        return dict(self.at)

    def differs(self, task):
        return task in self.wrong

    def keep_pace(self, share):
        pass

    def await_progress(self):
        if self.waiting:
            self.waiting.pop(0)()


@pytest.fixture
def standing():
    return Standing()


@pytest.fixture
def inspector(part, standing):
    found = part("faults.damage").Inspector(standing)
    found.ledger = SimpleNamespace(doubled_runs=dict)
    return found


def looked(part, inspector):
    damage = part("faults.damage").Damage()
    inspector.look(damage)
    return damage.lost, damage.doubled, damage.wrong


def test_records_that_have_gone_are_lost_unless_they_were_damaged_on_purpose(part, standing, inspector):
    standing.has = {"a", "b", "c"}
    assert looked(part, inspector) == (0, 0, 0)
    inspector.forgive_record("b")
    standing.has = {"a"}
    assert looked(part, inspector) == (1, 0, 0)
    assert looked(part, inspector) == (0, 0, 0)


def test_iterations_are_lost_even_if_no_checkpoint_is_left_but_not_if_the_run_has_finished(part, standing, inspector):
    standing.at = {"back": 3, "gone": 3, "finished": 3, "on": 3}
    assert looked(part, inspector) == (0, 0, 0)
    standing.at, standing.has = {"back": 2, "on": 4}, {"finished"}
    assert looked(part, inspector) == (2, 0, 0)


def test_a_checkpoint_that_was_damaged_on_purpose_is_not_lost_but_those_before_it_are(part, standing, inspector):
    standing.at = {"run": 3}
    looked(part, inspector)
    standing.at = {"run": 2}
    inspector.forgive_checkpoint("run")
    assert looked(part, inspector) == (0, 0, 0)
    standing.at = {}
    assert looked(part, inspector) == (1, 0, 0)


def test_a_second_run_is_counted_once(part, inspector):
    inspector.ledger.doubled_runs = lambda: {"a": 1}
    assert looked(part, inspector) == (0, 1, 0)
    assert looked(part, inspector) == (0, 0, 0)


def test_what_is_lost_after_a_fault_and_before_the_next_is_blamed_on_the_first(part, standing, inspector):
    standing.has = {"a", "b"}
    standing.waiting = [lambda: None, lambda: standing.has.discard("a"), lambda: standing.has.add("a")]
    injected = iter(["Ctrl-C", "truncated record", "kill -9 of a node"])
    faults = SimpleNamespace(experiment=standing, inspector=inspector, inject=lambda seen: (next(injected), 0))
    table, before = part("chaos").break_it(faults, 3, float("inf"))
    assert {name: damage.lost for name, damage in table.items() if damage.lost} == {"Ctrl-C": 1}
    assert before.clean
    assert sum(damage.injected for damage in table.values()) == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--only", "stpo"], "no fault has 'stpo' in its name: there are kill -9 of a worker"),
        (["--cells", "7"], "--cells must be a multiple of 5, got 7"),
        (["--out", "/dev/null"], "--out: /dev/null is not a regular file"),
        (["--cells", "0"], "--cells must be a multiple of 5, got 0"),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused(part, monkeypatch, capsys, options, reason):
    monkeypatch.setattr(sys, "argv", ["chaos.py", *options])
    with pytest.raises(SystemExit, match="2"):
        part("chaos").parsed()
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--quick",
        "--quick --s3 --faults 3",
        "--hosts --faults 40",
        "--faults 0 --cells 10",
        "--quick --seed 3 --only STOP,node --minutes 5.0",
    ],
)
def test_the_command_can_be_typed_again(part, monkeypatch, options):
    monkeypatch.setattr(sys, "argv", ["chaos.py", *options.split()])
    chaos = part("chaos")
    monkeypatch.setattr(chaos, "why_no_network", str)
    assert chaos.command(chaos.parsed()) == f"python scripts/chaos.py {options}".strip()


def test_hosts_are_refused_with_the_reason_if_they_cannot_be_made(part, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["chaos.py", "--hosts"])
    chaos = part("chaos")
    monkeypatch.setattr(chaos, "why_no_network", lambda: "network namespaces are for root alone")
    with pytest.raises(SystemExit, match="2"):
        chaos.parsed()
    assert "--hosts: network namespaces are for root alone" in capsys.readouterr().err


def test_a_small_disk_is_filled_to_the_last_byte_and_has_room_again(part, tmp_path):
    site = part("faults.site")
    with site.small_disk(tmp_path / "disk") as full:
        if full is None:
            pytest.skip("mounting a small file system needs a privilege that is not given here")
        full.begin()
        with pytest.raises(OSError, match="No space left"), (tmp_path / "disk" / "more").open("wb", 0) as file:
            file.write(b"x")
        full.end()
        (tmp_path / "disk" / "more").write_bytes(b"x")


def test_the_page_tells_of_local_changes(part):
    damage = {"injected": 1, "lost": 0, "doubled": 0, "wrong": 0}
    machine = dict.fromkeys(("processor", "cores", "system", "python", "torch"), "?") | {"load": 1.0}
    result = {
        "faults": {"Ctrl-C": damage}, "at the end": damage, "finished runs": {"cell": 5, "irp": 1}, "asked": 1,
        "finished records": 6, "storage": "an S3 bucket", "drivers started": 2, "of them after the last fault": 1,
        "passed": True, "cells": 5, "seconds": 60, "machine": machine, "command": "python scripts/chaos.py",
    }  # fmt: skip
    page = part("chaos").as_page
    assert "Results lie in an S3 bucket." in page({**result, "commit": "0123456789abcdef"})
    assert "Commit 0123456789ab. " in page({**result, "commit": "0123456789abcdef"})
    assert "Commit 0123456789ab with local changes. " in page({**result, "commit": "0123456789abcdef+dirty"})
