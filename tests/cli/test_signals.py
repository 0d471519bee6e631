"""Signals stop a command, and these tests pass, whatever signals the parent process had its children ignore."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = """
import sys, time
from autosparse import cli

def app(args):
    print("begun", flush=True)
    time.sleep(60)

cli.app = app
cli.main()
"""
STOPPABLE = """
import sys, time
from autosparse.runner.driver.stopping import stoppable
try:
    with stoppable():
        print("begun", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(7)
"""


HELD = """
import sys, time
from autosparse.runner.driver.stopping import held_back, stoppable
try:
    with stoppable():
        with held_back():
            print("begun", flush=True)
            sys.stdin.readline()
            print("whole", flush=True)
        print("more")
except KeyboardInterrupt:
    sys.exit(7)
"""


def started_with_signals_ignored(*arguments):
    """Start Python as a shell starts a background command of a script: with signals ignored."""
    script = f"trap '' INT TERM; exec {sys.executable} \"$@\""
    return subprocess.Popen(["sh", "-c", script, "sh", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_in_the_background_heeds_a_signal_that_is_sent_on_purpose(number):
    process = started_with_signals_ignored("-c", COMMAND)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.wait(30) == -number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_in_the_background_is_stopped_cleanly(number):
    process = started_with_signals_ignored("-c", STOPPABLE)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.wait(30) == 7


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_signal_waits_for_what_must_be_whole_and_a_second_one_does_not(times):
    process = subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "begun\n"
    for number in (signal.SIGTERM, signal.SIGINT)[:times]:
        process.send_signal(number)
        wait_until_delivered(process, number)
    out, _ = process.communicate("go on\n", timeout=60)
    assert (out, process.returncode) == [("whole\nmore\n", 0), ("whole\n", 7), ("", 130)][times]


def wait_until_delivered(process, number):
    """Wait until no signal of this number is pending, or the process has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
        if not any(mask >> (number - 1) & 1 for mask in pending):
            return
        time.sleep(0.01)


def test_these_tests_heed_signals():
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN  # Ray has a handler of its own, if a test has started it


@pytest.mark.skipif("AUTOSPARSE_IN_BACKGROUND" in os.environ, reason="this is the suite that the test starts")
def test_the_suite_may_run_in_the_background(monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_IN_BACKGROUND", "1")
    wanted = ["tests/cli/test_signals.py::test_these_tests_heed_signals", "tests/tracking/test_spool.py"]
    wanted += ["-k", "heed or ctrl_c"]
    process = started_with_signals_ignored(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", *wanted, "-k", "heed or ctrl_c"
    )
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    assert "3 passed" in out
