"""`autosparse best --frontier` on a small store."""

import json
import math
from typing import Any

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient
from typer.testing import CliRunner

from autosparse.cli import app


@pytest.fixture(autouse=True)
def _cells(runs: FakeRuns, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    monkeypatch.setenv("COLUMNS", "80")
    for seed in range(2):
        for method, accuracy, seconds in (("snip", 90.0, 2.0), ("grasp", 89.0, 3.0), ("random", 80.0, 1.0)):
            measures = {"seconds": seconds, "images": 1000, "images_score": 100 * seconds, "flops_dense": 1e6}
            runs.cell(method, 0.9, seed, accuracy + seed, measures=measures)
        runs.cell("of-an-older-version", 0.9, seed, 70.0)


def ask(*words: str) -> Any:
    return CliRunner().invoke(app, ["best", "--experiment", "exp", *words])


def test_the_table_has_a_star_beside_what_is_best_at_its_cost_and_fits_a_terminal() -> None:
    answer = ask("--frontier")
    assert answer.exit_code == 0
    lines = answer.stdout.splitlines()
    shown = {line.split()[1]: line for line in lines if line.startswith("│")}
    assert list(shown) == ["random", "snip", "grasp", "of-an-older-version"]
    assert {method for method, line in shown.items() if "★" in line} == {"random", "snip"}
    assert "?" in shown["of-an-older-version"]
    assert max(len(line) for line in lines if not line.startswith("exp:")) <= 80
    assert "not known: of-an-older-version: its records lack 'seconds'" in answer.stderr


def test_json_has_every_figure() -> None:
    rows = json.loads(ask("--frontier", "--cost", "flops", "--json", "--top", "2").stdout)
    assert [row["method"] for row in rows] == ["random", "snip"]
    assert [row["cost"] for row in rows] == [3 * 1e6 * 1100, 3 * 1e6 * 1200]
    assert all(row["unit"] == "flops" and row["pareto"] and row["once"] == 0 for row in rows)
    assert math.isclose(rows[0]["accuracy"], 80.5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cost", "images"], "add --frontier"),
        (["--frontier", "--winners"], "--winners does not go with --frontier"),
        (["--sweep", "mine", "--sparsity", "0.9"], "--sparsity does not go with --sweep"),
        (["--sweep", "mine", "--scorers"], "--scorers does not go with --sweep"),
        (["--winners", "--group-by", "method"], "--group-by does not go with --winners"),
        (["--frontier", "--cost", "hours"], "unknown cost 'hours'"),
    ],
)
def test_wrong_requests_are_refused(words: list[str], told: str) -> None:
    answer = ask(*words)
    assert answer.exit_code != 0
    assert told in str(answer.exception)
