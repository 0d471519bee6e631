"""The mutants that `make mutants` makes, and the table of what came of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import alive

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from mutation.make import Statements, made, places
from mutation.table import page, reasons, stands
from mutation.targets import NAMES, target

SCRIPTS = Path(__file__).parents[2] / "scripts"
SOURCE = '''"""A text with 1 + 1."""


def put(name: str | None, size: int = 3) -> bool | None:
    """And 2 + 2."""
    if size > 3:
        write(name)
        return True
'''


@pytest.fixture
def mutants(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(SOURCE)
    found = [made(place) for place in places([path])]
    return {(mutant.line, mutant.was, mutant.now) for mutant in found if mutant is not None}


@pytest.mark.parametrize(
    "mutant",
    [
        (6, "if size > 3:", "if size >= 3:"),
        (6, "if size > 3:", "if not size > 3:"),
        (6, "if size > 3:", "if size > 4:"),
        (7, "write(name)", "pass"),
        (8, "return True", "return False"),
    ],
)
def test_it_is_made(mutants, mutant):
    assert mutant in mutants


def test_neither_annotations_nor_texts_are_changed(mutants):
    assert {line for line, _, _ in mutants} == {4, 6, 7, 8}
    assert {now.count("|") for line, _, now in mutants if line == 4} == {2}


def test_statements_are_found_with_what_runs_them():
    statements = Statements(SOURCE)
    assert statements.around(4) == (range(4, 5), True)
    assert statements.around(6) == (range(6, 7), False)
    assert statements.around(7) == (range(7, 8), False)


def test_every_target_is_there_with_its_tests():
    for name in NAMES:
        assert target(name).sources


def counts_of(killed, *survivors):
    made_ = killed + len(survivors)
    counts = {"places": made_, "made": made_, "killed": killed, "timed out": 0, "survived": len(survivors)}
    return {"masks": {**counts, "seconds": 1.0, "survivors": list(survivors)}}


STORE, WAS, NOW = "autosparse/experiment/store.py", "whole = told | trusted", "whole = told & trusted"
SURVIVOR = {"file": STORE, "line": 7, "was": WAS, "now": NOW, "ran": 3}
REASON = {(STORE, WAS, NOW): "equivalent: both are sets of one"}


def test_a_survivor_needs_a_reason_wherever_its_line_has_moved():
    text, good = page(counts_of(9, SURVIVOR), {})
    assert not good
    assert f"| `{STORE}:7` | `whole = told \\| trusted` | `{NOW}` | **no reason given** |" in text
    text, good = page(counts_of(9, {**SURVIVOR, "line": 70}), REASON)
    assert good
    assert "equivalent: both are sets of one" in text


@pytest.mark.parametrize("changed", [{"was": "whole = told ^ trusted"}, {"file": "autosparse/experiment/shop.py"}])
def test_a_survivor_whose_line_is_no_longer_there_needs_no_reason(changed):
    text, good = page(counts_of(9, {**SURVIVOR, **changed}), {})
    assert good
    assert text.endswith("| its line has changed since |\n")


def test_each_reason_is_for_a_line_that_is_there():
    assert [(file, was) for file, was, _ in reasons() if not stands(file, was)] == []


def test_fewer_than_85_in_100_are_not_enough():
    assert page(counts_of(17, *[SURVIVOR] * 3), REASON)[1]
    assert not page(counts_of(16, *[SURVIVOR] * 3), REASON)[1]


def test_what_was_not_run_is_named():
    assert "Not run yet: `shards/sharded_topk`, `schedule`" in page(counts_of(1), {})[0]


def test_a_module_that_there_is_not_is_refused_before_any_is_mutated():
    command = [sys.executable, SCRIPTS / "mutants.py", "--only", "masks,filez"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "no module is called 'filez': there are masks" in ran.stderr


INTERRUPTED = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import _thread
from mutation import server

def ask():
    Path("pid").write_text(str(os.getpid()))
    Path("pid").rename("started")
    time.sleep(600)

def interrupt():
    while not Path("started").exists():
        time.sleep(0.05)
    _thread.interrupt_main()

def await_and_be_interrupted(*given):
    threading.Thread(target=interrupt, daemon=True).start()
    return wait(*given)

wait, server._await = server._await, await_and_be_interrupted
server._in_child(ask, 60)
"""


def test_no_child_outlives_an_interrupted_parent(tmp_path, request):
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED, SCRIPTS], cwd=tmp_path, capture_output=True, text=True)
    assert "KeyboardInterrupt" in ran.stderr
    child = int((tmp_path / "started").read_text())
    request.addfinalizer(lambda: alive(child) and os.kill(child, signal.SIGKILL))
    deadline = time.monotonic() + 60  # it was killed, but the kernel may still be at it
    while alive(child):
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.05)
