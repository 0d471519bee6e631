"""Every experiment file at preset smoke, through all of its stages to its report.

They take minutes, so that only `make test-all` runs them. In `make test`, the demo goes through the same stages, and
the tests of sweeps, cells and reports through each kind of task.
"""

import shutil
from pathlib import Path

import pytest

from autosparse.experiment.load import load_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.report.gallery import Gallery
from autosparse.report.page import render
from autosparse.runner.driver.run import run_plan
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.tracking.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # for all stages of all files, however slow the machine is

ROOT = Path(__file__).parents[2] / "experiments"
SCALED = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT)


def smoke_plan(path):
    loaded = load_experiment(path, "smoke")
    return make_plan(loaded.experiment, loaded.paper, preset="smoke", file=str(path), command=f"autosparse run {path}")


def each_once(lists):
    return list({planned.task.id: planned for tasks in lists for planned in tasks}.values())


@pytest.fixture(scope="module")
def storage(request, ray_running, tmp_path_factory, empty_store):
    """All tasks of all files to be tested, done in one go: what they share is done once, Ray's stages start once."""
    folder = tmp_path_factory.mktemp("smoke")
    own = [item for item in request.session.items if item.path == request.path]
    plans = [smoke_plan(item.callspec.params["path"]) for item in own]
    whole = Plan(
        "all",
        each_once([plan.irp for plan in plans]),
        each_once([plan.sweeps for plan in plans]),
        each_once([plan.scorers for plan in plans]),
        each_once([plan.cells for plan in plans]),
    )
    settings = Settings(folder / "results", empty_store(folder))
    outcome = run_plan(whole, settings, Screen())
    assert outcome.failed == []
    return settings


@pytest.fixture(autouse=True)
def no_clouds(monkeypatch):
    """Draw no clouds of points: each takes seconds, and one piece of code, which tests/report tests, draws all."""
    monkeypatch.setattr(Gallery, "png", lambda self, draw, name, told: "")


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in SCALED])
def test_a_file_runs_through_all_its_stages(path, storage, tmp_path):
    store = tmp_path / "mlflow.db"
    shutil.copy(storage.tracking_uri.removeprefix("sqlite:///"), store)
    settings, plan = Settings(storage.storage, f"sqlite:///{store}"), smoke_plan(path)
    outcome = run_plan(plan, settings, Screen())
    assert (outcome.done, outcome.failed) == (0, [])
    page = render(connect(settings.tracking_uri), plan.name).page
    for comparison in plan.comparisons:
        assert comparison.source in page
    for pair in plan.concordances:
        assert pair.name.replace("&", "&amp;") in page
    for label in {planned.label for planned in plan.cells}:
        assert label in page
    assert f"autosparse run {path}" in page
