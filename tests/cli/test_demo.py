"""The demo in a small form: the same file with fewer rounds, seeds and sparsities."""

import sys

import pytest
import yaml

from autosparse.cli import main

pytestmark = pytest.mark.usefixtures("ray_running")


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    from autosparse.cli import demo

    content = yaml.safe_load(demo.demo_file().read_text())
    content["irp"]["snip"] |= {"iterations": 2, "recipe": {"epochs": 2}}
    content["grid"] |= {"sparsities": [0.9], "seeds": [0, 1], "recipe": {"epochs": 2}}
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(demo, "demo_file", lambda: tmp_path / "demo.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_demo(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["autosparse", "demo"])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_the_demo_leaves_a_report_and_a_second_one_only_reports_again(small_demo, monkeypatch, capfd):
    code, out, err = run_demo(monkeypatch, capfd)
    assert code == 0
    for told in ("iterative rewind pruning: 2 runs", "fitting scorers: 1 fit", "training the grid: 12 cells"):
        assert told in err
    for command in (
        "mlflow ui --backend-store-uri",
        "autosparse best --experiment demo",
        "autosparse run experiments/",
    ):
        assert command in out
    page = (small_demo / "report" / "index.html").read_text()
    assert all(method in page for method in ("random", "magnitude", "snip", "grasp", "autos"))

    code, out, err = run_demo(monkeypatch, capfd)
    assert code == 0
    assert "0 done, 15 found finished" in err
    assert "starting Ray" not in err
