"""``scripts/bench.py`` and the benchmark of nodes, which no other file here tests."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"

WAITING = """
import sys, time, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench

def measure(options):
    "Waits, as for a server that it has started."
    try:
        Path("started").touch()
        time.sleep(600)
        yield
    finally:
        Path("ended").touch()

sys.modules["benchmarks.waiting"] = types.SimpleNamespace(measure=measure)
bench.measured("waiting", None)
"""


def test_a_benchmark_whose_parent_has_ended_ends_what_it_has_started(tmp_path):
    parent = '"$0" -c "$@" & while [ ! -e started ]; do kill -0 $! && sleep 0.1 || exit 1; done'
    subprocess.run(["sh", "-c", parent, sys.executable, WAITING, SCRIPTS], cwd=tmp_path, check=True)
    until = time.monotonic() + 60
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.1)


@pytest.fixture
def nodes(benchmark_module):
    return benchmark_module("nodes")


def test_a_benchmark_on_a_gpu_is_no_fork(benchmark_module):
    """CUDA, once in use, works in no fork."""
    import bench

    assert bench.start_of_processes(torch.device("cuda")).get_start_method() == "spawn"


@pytest.mark.parametrize(("quick", "repetitions"), [(True, 1), (False, 2)])
def test_one_node_is_measured_before_a_second_joins(nodes, monkeypatch, quick, repetitions):
    @contextmanager
    def cluster(count):
        there = SimpleNamespace(count=count)
        there.add = lambda: setattr(there, "count", there.count + 1)
        yield there

    monkeypatch.setattr(nodes, "LocalCluster", cluster)
    monkeypatch.setattr(nodes, "cells_per_minute", lambda cluster, folder, content: cluster.count)
    (found,) = nodes.measure(SimpleNamespace(quick=quick))
    assert (found.baseline_rates, found.rates) == ([1] * repetitions, [2] * repetitions)


def test_the_rate_of_nodes_counts_from_when_the_last_one_is_warm(nodes):
    warm_rate = nodes.warm_rate
    assert warm_rate({"a": [10, 20, 30, 40, 50]}) == 4 / 40
    assert warm_rate({"a": [10, 20, 30, 40], "b": [25, 35, 45]}) == 4 / 20


class Here:
    """An executor that does in this process what it is given."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *given):
        found = function(*given)
        return SimpleNamespace(result=lambda: found)


@pytest.fixture
def bench(monkeypatch, here, benchmark_module):
    """Calls ``bench.py`` with arguments in an empty folder; ``measured`` are the benchmarks that it has measured.

    The one called ``fails`` is interrupted.
    """
    import bench

    comparison, figure = (getattr(benchmark_module("harness"), name) for name in ("Comparison", "Figure"))
    call = SimpleNamespace(measured=[], fails="", commit="c0ffee")

    def measured(name, options):
        if name == call.fails:
            raise KeyboardInterrupt
        call.measured.append(name)
        return [
            comparison(f"{name} done", "slowly", "a second", [1.0, 2.0], [4.0, 4.0]),
            figure(f"{name} left", 7.0, "s"),
        ]

    monkeypatch.setattr(bench, "BENCHMARKS", ("first", "second", "third"))
    monkeypatch.setattr(bench, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(bench, "measured", measured)
    monkeypatch.setattr(bench, "git_commit", lambda: call.commit)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
        bench.main()

    call.run = run
    return call


def test_a_run_that_was_stopped_goes_on_after_the_last_benchmark_that_it_had_measured(bench, capsys):
    bench.fails = "second"
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    bench.fails = ""
    bench.run("--resume")
    assert bench.measured == ["first", "second", "third"]
    results = json.loads(Path("bench.json").read_text())["results"]
    assert [result["benchmark"] for result in results] == ["first"] * 2 + ["second"] * 2 + ["third"] * 2
    assert (results[0]["ratio"], results[0]["lowest"], results[1]["value"]) == (3.0, 2.0, 7.0)
    told = capsys.readouterr().out
    assert told.count("| first done | slowly | 4 a second | 1.5 | **3** (2 to 4) |") == 1
    assert told.count("| first left | | 7 s |") == 1
    assert "second left" not in told, "each benchmark prints its own rows"
    bench.run()
    assert bench.measured == ["first", "second", "third"] * 2


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({"commit": "beef"}, (), "bench.json is of another commit (beef, not c0ffee)"),
        ({"machine": {"processor": "abacus"}}, (), "bench.json is of another machine ({'processor': 'abacus'}, not "),
        ({}, ("--quick",), "bench.json is of a shorter or longer run"),
        ({"results": None}, (), "bench.json has no figures that this version could add to"),
    ],
)
def test_figures_of_something_else_are_not_gone_on_with(bench, capsys, change, arguments, said):
    bench.run("first")
    before = json.dumps({**json.loads(Path("bench.json").read_text()), **change})
    Path("bench.json").write_text(before)
    with pytest.raises(SystemExit) as ended:
        bench.run("--resume", *arguments)
    assert ended.value.code == 2
    assert f"error: --resume: {said}" in capsys.readouterr().err
    assert bench.measured == ["first"]
    assert Path("bench.json").read_text() == before


def test_figures_of_code_that_is_not_committed_are_not_gone_on_with(bench, capsys):
    bench.commit += "+dirty"
    bench.run("first")
    with pytest.raises(SystemExit):
        bench.run("--resume")
    assert "some changes are not committed" in capsys.readouterr().err


def test_without_figures_all_is_measured(bench):
    bench.run("--resume", "third")
    assert bench.measured == ["third"]
