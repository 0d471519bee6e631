"""What `autosparse sweep` shows of trials that set different options; the sweep is done already."""

from types import SimpleNamespace

import yaml
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.cli.run import planned
from autosparse.experiment.store import Store

FILE = {
    "name": "x",
    "irp": {"a": {"model": "lenet-300-100", "dataset": "digits"}},
    "sweeps": {"fit": {"irp": "a", "points": [{"lr": 0.5}, {"seed": 7}]}},
}


def trial(number, **values):
    fit = {"lr": 0.01, "seed": 0} | values
    return {"id": f"{number:016}", "values": values, "fit": fit, "status": "done", "value": 0.5, "epochs": 10}


def test_a_trial_shows_its_value_of_what_only_others_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = SimpleNamespace(whole=True)
    monkeypatch.setattr("autosparse.runner.experiment.carry_out", lambda plan, settings: done)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(FILE))
    [found] = planned("x.yaml", None, []).sweeps
    trials = [trial(1, lr=0.5), trial(2, seed=7)]
    Store("results").finish(found.task, {"best": trials[0], "metric": "held_out_r2", "trials": trials}, {})
    answer = CliRunner().invoke(app, ["sweep", "x.yaml"], catch_exceptions=False)
    assert [line.split("│")[1:3] for line in answer.stdout.splitlines() if "done" in line] == [
        [" 0.5  ", " 0    "],
        [" 0.01 ", " 7    "],
    ]
