"""What a person sees of a run: a table on a terminal of 80 columns, plain lines in a log."""

import functools
import io
import re
import threading
from types import SimpleNamespace

import pytest
from builders import a_cell
from rich.console import Console

from autosparse.runner.screen import console as module
from autosparse.runner.screen.console import Screen, due
from autosparse.runner.screen.stage_table import Line, duration, stage_table
from autosparse.runner.screen.tally import Tally

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def cells(count):
    return [a_cell(criterion="random", sparsity=0.5, seed=seed) for seed in range(count)]


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, highlight=False)


@pytest.fixture
def seconds(monkeypatch):
    """What the clock of screens shows, in a list of one: it stands still until a test sets it."""
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "Tally", functools.partial(Tally, clock=lambda: now[0]))
    return now


def test_what_an_error_says_is_told_as_it_is():
    page = console(terminal=False)
    Screen(page).warn("x failed: [/INST] in [enforce fail at alloc_cpu] of [bold]")
    assert page.file.getvalue() == "warning: x failed: [/INST] in [enforce fail at alloc_cpu] of [bold]\n"


def test_the_table_has_a_row_per_stage_within_80_columns():
    lines = [
        Line("irp", 8, 0, 0, 0, 3_660, None, "96.25 %"),
        Line("scorers", 12, 1, 0, 0, 3_660, None, "loss 0.0123"),
        Line("grid", 99_999, 12_345, 99_999, 512, 36_000, 360_000, "100.00 %"),
    ]
    page = console(terminal=False)
    page.print(stage_table(lines))
    text = page.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    last = re.split(r"\s{2,}", text.splitlines()[-1].strip())
    assert last == ["grid", "99999", "512", "12345", "99999", "10 h 00 min", "100 h 00 min", "100.00 %"]


def test_on_a_terminal_the_table_of_all_stages_is_redrawn_and_then_gone(seconds):
    screen, tasks = Screen(console(terminal=True)), cells(3)
    screen.expect("irp", 2, 2)
    screen.expect("scorers", 0, 0)
    screen.expect("grid", 5, 2)
    with screen.stage("training the grid", tasks) as tally:
        tally.advance({"running": [tasks[0].id]})
        seconds[0] = 7.0
        tally.advance({"task_ids": [tasks[0].id, tasks[1].id], "failed": [tasks[1].id], "accuracy": 91.5})
    raw = screen.console.file.getvalue()
    text = CODES.sub("", raw)
    assert re.search(r"irp +2 +0 +0 +0 ", text)
    assert re.search(r"grid +3 +0 +1 +1 +7 s .*91\.50 %", text)
    assert "scorers" not in text
    assert raw.count("\x1b[2K") >= 4, "rows are wiped"
    assert text.rstrip().endswith("- training the grid: done in 7 s, 1 failed")


def test_elsewhere_lines_without_codes_tell_how_far_it_is(monkeypatch, seconds):
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "due", lambda share, since, elapsed: share > 0.3)
    screen, tasks = Screen(console(terminal=False)), cells(3)
    said = threading.Event()
    say = screen.say
    monkeypatch.setattr(screen, "say", lambda line: (say(line), "1 of 3" in line and said.set()))
    with screen.stage("training the grid", tasks) as tally:
        seconds[0] = 5.0
        tally.advance({"task_ids": [tasks[0].id], "running": [tasks[1].id], "accuracy": 91.5})
        assert said.wait(60)
    first, line, *_, last = screen.console.file.getvalue().splitlines()
    assert first == "- training the grid: 3 cells"
    assert line == "- grid: 1 of 3 done, 1 running, after 5 s, about 10 s left; 91.50 %"
    assert last == "- training the grid: done in 5 s"
    assert "\x1b" not in screen.console.file.getvalue()


@pytest.mark.parametrize(
    ("share", "since", "elapsed", "expected"),
    [
        (0.2, 2, 2, False),
        (0.1, 5, 5, True),
        (0.05, 59, 59, False),
        (0.0, 60, 60, True),
        (0.0, 300, 36_000, False),
        (0.0, 600, 36_000, True),
    ],
)
def test_a_log_gets_a_line_each_tenth_or_minute_and_fewer_in_long_stages(share, since, elapsed, expected):
    assert due(share, since, elapsed) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "30 s"), (89, "89 s"), (150, "2 min"), (3900, "1 h 05 min"), (90_000, "25 h 00 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
