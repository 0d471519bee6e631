"""``scripts/gpu_check.py``: it runs where much is absent, and a part that goes wrong hides none of the others."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from processes import alive

SCRIPTS = Path(__file__).parents[2] / "scripts"

ABSENT = """
import importlib.machinery

find = importlib.machinery.PathFinder.find_spec
absent = "ray mlflow pydantic tenacity typer rich torchvision hypothesis timm pytest_timeout xdist matplotlib".split()
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, path=None, target=None: None if name.split(".")[0] in absent else find(name, path, target)
)
"""
"""A module ``sitecustomize`` that makes imports of these fail in every process, as if they were not installed."""

HANGING = """
import subprocess, time

run = subprocess.run
subprocess.run = lambda command, **given: time.sleep(600) if command[0] == "nvidia-smi" else run(command, **given)
"""
"""A module ``sitecustomize`` with which the part ``machine`` does not end, so that it can be ended in its midst."""

PARTS = {
    "hangs": "with report.entry('first') as found: found['figure'] = 1\n"
    "    with report.entry('second'): time.sleep(600)",
    "fails": "with report.entry('first'): raise ValueError('no such thing\\nmore')\n"
    "    with report.entry('second') as found: found['figure'] = float('nan')",
    "dies": "with report.entry('first'): os.kill(os.getpid(), signal.SIGSEGV)",
    "skips": "raise Skipped('it needs two cards')",
    "leaves": "Path(options.data_root, 'pid').write_text(str(subprocess.Popen(['sleep', '600']).pid))\n"
    "    time.sleep(600)",
}
IMPORTS = "import os, signal, subprocess, time\nfrom pathlib import Path\nfrom checks.report import Skipped\n"


@pytest.fixture
def checks(monkeypatch):
    """Imports a module of the check, which is found beside its script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield lambda name: importlib.import_module(f"checks.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "checks")]:
        del sys.modules[name]


@pytest.fixture
def run_part(checks, tmp_path, monkeypatch):
    """Runs one of the parts above."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def run(name, limit=300.0, on_change=lambda found: None):
        (tmp_path / f"part_{name}.py").write_text(f"{IMPORTS}def check(options, report):\n    {PARTS[name]}\n")
        options = {"device": "cpu", "data_root": str(tmp_path)}
        return checks("supervise").run_part(f"part_{name}", options, limit, on_change)

    return run


@pytest.fixture
def time_is_up(checks, monkeypatch):
    """Ends a part's time once a condition holds: however slow the machine is, it gets that far."""

    def when(condition):
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 1e6 * condition(), sleep=time.sleep)
        monkeypatch.setattr(checks("supervise"), "time", clock)

    return when


@pytest.fixture
def heard_out(checks, monkeypatch):
    """Lets a part that is asked where it hangs name its file, however long that takes, before it is ended."""
    supervise = checks("supervise")
    ask = supervise._ask_where

    def ask_and_hear(process):
        ask(process)
        until = time.monotonic() + 60
        while "part_" not in Path(f"/proc/{process.pid}/fd/1").read_text() and time.monotonic() < until:
            time.sleep(0.1)

    monkeypatch.setattr(supervise, "_ask_where", ask_and_hear)


@pytest.fixture(autouse=True)
def without_a_folder_that_is_absent(monkeypatch):
    """Unset AUTOSPARSE_DATA if its folder is absent: the command would refuse it, and these tests need no real data."""
    if not Path(os.environ.get("AUTOSPARSE_DATA", ".")).is_dir():
        monkeypatch.delenv("AUTOSPARSE_DATA")


def environment(tmp_path):
    """The environment of a machine where those packages are absent."""
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    one = {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**os.environ, **one, "PYTHONPATH": str(tmp_path)}


def gpu_check(*arguments, env=None):
    """Runs the command."""
    command = [sys.executable, str(SCRIPTS / "gpu_check.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.mark.slow
@pytest.mark.usefixtures("heard_out")
def test_a_part_that_hangs_is_ended_and_what_it_found_stays(run_part, time_is_up):
    seen = []
    time_is_up(lambda: bool(seen) and len(seen[-1]["entries"]) == 2)
    result = run_part("hangs", on_change=seen.append)
    assert result["status"] == "timed out"
    assert result["problems"] == ["ended after 300 s in 'second'"]
    assert [(entry["name"], entry["status"]) for entry in result["entries"]] == [("first", "ok"), ("second", "running")]
    assert result["entries"][0]["figures"] == {"figure": 1}
    assert any("part_hangs.py" in line for line in result["said"])  # where it hung
    assert seen[-1]["entries"][0]["figures"] == {"figure": 1}  # told while it ran


@pytest.mark.slow
def test_an_entry_that_fails_hides_neither_its_cause_nor_the_next(run_part):
    result = run_part("fails")
    assert (result["status"], result["problems"]) == ("failed", ["first: ValueError: no such thing"])
    first, second = result["entries"]
    assert any("part_fails.py" in line for line in first["traceback"])
    assert (second["status"], second["figures"]) == ("ok", {"figure": "nan"})  # JSON has no NaN


def test_a_part_whose_process_dies_is_told_of(run_part):
    result = run_part("dies")
    assert result["status"] == "failed"
    assert "died of SIGSEGV" in result["problems"][0]


@pytest.mark.slow
def test_a_part_that_cannot_run_says_why(run_part):
    result = run_part("skips")
    assert (result["status"], result["reason"], result["problems"]) == ("skipped", "it needs two cards", [])


@pytest.mark.slow
def test_what_a_part_has_started_ends_with_it(run_part, time_is_up, tmp_path):
    pid = tmp_path / "pid"
    time_is_up(lambda: pid.exists() and pid.read_text() != "")
    assert run_part("leaves")["status"] == "timed out"
    until = time.monotonic() + 60
    while alive(pid.read_text()):
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.1)


def test_where_only_what_is_needed_is_installed_every_part_can_be_imported(tmp_path):
    probe = (
        "import sys, pathlib, importlib, importlib.util\n"
        "assert not any(map(importlib.util.find_spec, ('ray', 'mlflow', 'pydantic', 'torchvision', 'hypothesis')))\n"
        "for path in pathlib.Path(sys.argv[1]).glob('checks/*.py'): importlib.import_module(f'checks.{path.stem}')\n"
        "for part in 'autos shards irp channels analysis'.split(): importlib.import_module(f'autosparse.{part}')\n"
        "import autosparse as asp\n"
        "for name in {*asp.__all__} - {'load_experiment', 'results', 'run'}: getattr(asp, name)\n"
    )
    env = environment(tmp_path)
    env["PYTHONPATH"] += os.pathsep + str(SCRIPTS)
    ran = subprocess.run([sys.executable, "-c", probe, str(SCRIPTS)], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_command_checks_what_it_is_asked_to_on_a_cpu_without_the_rest_of_the_dependencies(tmp_path):
    out = tmp_path / "out.json"
    ran = gpu_check("--device", "cpu", "--parts", "tests", "--out", out, env=environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text())
    assert found["status"] == "ok"
    assert {name: part["status"] for name, part in found["parts"].items()} == {"machine": "ok", "tests": "skipped"}
    assert "needs a CUDA device" in found["parts"]["tests"]["reason"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_runs_on_a_cpu_without_the_rest_of_the_dependencies(tmp_path):
    out = tmp_path / "out.json"
    ran = gpu_check("--device", "cpu", "--limit-s", "3000", "--out", out, env=environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    parts = json.loads(out.read_text())["parts"]
    assert sum("IoU with exact" in entry["name"] for entry in parts["surface"]["entries"]) == 4
    assert {name for name, part in parts.items() if part["status"] != "ok"} == {"tests", "graphs"}
    assert {parts[name]["status"] for name in ("tests", "graphs")} == {"skipped"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_command_says_so_at_once_and_fails(tmp_path):
    ran = gpu_check("--parts", "masks", "--out", tmp_path / "out.json")
    assert ran.returncode == 1
    assert "--device cpu" in ran.stderr
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert (parts["machine"]["status"], parts["masks"]["status"]) == ("failed", "skipped")


def test_a_command_that_is_ended_leaves_its_file_and_no_process(tmp_path):
    out = tmp_path / "out.json"
    command = [
        sys.executable,
        str(SCRIPTS / "gpu_check.py"),
        "--device",
        "cpu",
        "--parts",
        "machine",
        "--out",
        str(out),
    ]
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=env)
    while not (out.exists() and json.loads(out.read_text())["parts"]["machine"].get("entries")):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 143
    assert json.loads(out.read_text())["status"] == "interrupted"


def test_a_part_that_there_is_not_is_refused(tmp_path):
    ran = gpu_check("--parts", "mask", "--out", tmp_path / "out.json")
    assert ran.returncode == 2
    assert "no part is called 'mask': there are machine, tests, masks" in ran.stderr


def test_masks_that_are_not_the_cpus_are_noticed(checks, monkeypatch):
    masks, case = checks("masks"), checks("twins").Case("snip")
    right, wrong = torch.arange(1000) < 100, torch.arange(1000) < 100
    wrong[:2], wrong[-2:] = False, True

    def judged(mine):
        monkeypatch.setattr(masks, "masks_of", lambda subject, case, device, kind="float32": mine)
        futures = {kind: Future() for kind in ("float32", "rounded", "float64")}
        for future in futures.values():
            future.set_result(right.numpy())
        found = {}
        masks.compare(None, case, futures, torch.device("cpu"), found)
        return found

    assert judged(right)["float64"]["iou"] == 1
    with pytest.raises(checks("report").Problem, match=r"IoU with the CPU's is 0\.96\d\d, less than 0\.99"):
        judged(wrong)


def test_rounded_numbers_are_the_nearest_of_few_bits(checks):
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    near = checks("subjects").rounded(x, 10)
    assert not (near.view(torch.int32) & ((1 << 13) - 1)).any()
    assert ((near - x).abs() <= x.abs() * 2**-11).all()
    assert (near != x).any()


def test_the_network_for_machines_without_torchvision_is_torchvisions_resnet18(checks):
    from autosparse.models import build_model

    ours, theirs = checks("networks").resnet18(10, (3, 32, 32)), build_model("resnet18", 10, (3, 32, 32))
    values = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_outcomes_of_tests_are_read_with_their_reasons(checks):
    xml = """<testsuites><testsuite><testcase classname="a" name="one"/>
    <testcase classname="a" name="two"><failure message="assert 1 == 2&#10;more">trace</failure></testcase>
    <testcase classname="a" name="three"><skipped message="needs ray, which is absent"/></testcase>
    </testsuite></testsuites>"""
    outcomes = checks("tests").read(xml)
    assert outcomes["passed"] == ["a.one"]
    assert outcomes["failed"] == ["a.two: assert 1 == 2"]
    assert outcomes["skipped"] == ["a.three: needs ray, which is absent"]
    with pytest.raises(checks("report").Problem, match=r"a\.two: assert 1 == 2"):
        checks("tests").judge(outcomes, "", True, {})


def test_a_test_file_that_needs_an_absent_package_is_skipped_and_others_run(checks, tmp_path):
    (tmp_path / "test_needs.py").write_text("import ray_that_is_absent\n")
    (tmp_path / "test_fine.py").write_text("from pytest import mark\n@mark.gpu\ndef test_fine(): pass\n")
    (tmp_path / "names.py").write_text("import checks.collecting as c\nc.MAY_BE_ABSENT = {'ray_that_is_absent'}\n")
    env = {**checks("supervise").environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "names", *checks("tests").FLAGS, "test_needs.py", "test_fine.py"]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "needs ray_that_is_absent, which is absent" in ran.stdout
    assert "1 passed" in ran.stdout
