"""Published figures beside measured ones."""

import re

from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.report.export import comma_separated
from autosparse.report.page import render
from autosparse.report.published import concordance_table, published_tables
from autosparse.report.table import NOTHING, Cell
from autosparse.results.runs import finished_runs, parent_and_summary
from autosparse.tracking.search import SUMMARY, WHOLE

DIFFERENT = ["recipe.epochs: 5 (published: 160)"]
SCORER = "scorer.epochs: 1 (published: 10)"


def comparison(method: str, sparsity: float, published: float, cells: list[str], **more: object) -> dict[str, object]:
    fixed = {"source": "Table 2", "model": "resnet18", "dataset": "cifar10", "spread": None, "differences": DIFFERENT}
    return {**fixed, "method": method, "sparsity": sparsity, "published": published, "cells": cells, **more}


def told(client: MlflowClient, runs: FakeRuns, **summary: object) -> None:
    run = client.create_run(runs.experiment_id, run_name="exp", tags={"kind": WHOLE})
    client.log_dict(run.info.run_id, summary, SUMMARY)


def test_a_table_has_published_measured_and_difference(client: MlflowClient, runs: FakeRuns) -> None:
    for seed, accuracy in enumerate((91.0, 92.0, 93.0)):
        runs.cell("snip", 0.9, seed, accuracy)
    ids = [f"{number:016x}" for number in (1, 2, 3)]
    told(
        client,
        runs,
        comparisons=[
            comparison("snip", 0.9, 92.5, [*ids, "not finished"], spread=0.2),
            comparison("snip", 0.99, 80.0, []),
            comparison(
                "autos", 0.9, 93.25, ["not finished"], differences=[*DIFFERENT, "scorer.epochs: 1 (published: 10)"]
            ),
        ],
    )
    (table,) = published_tables(parent_and_summary(client, "exp")[1], finished_runs(client, "exp", "cell"))
    assert table.title == "Table 2: resnet18 on cifar10"
    assert table.columns == ["method", "90%", "99%"]
    rows = {row.name: row.cells for row in table.rows}
    assert rows["snip"][0] == Cell("92.50 ± 0.20", ("92.00 ± 1.00 (3)", "-0.50"))
    assert rows["snip"][1] == Cell("80.00", ("not measured",))
    assert rows["autos"][1] == NOTHING
    assert table.notes == (*DIFFERENT, f"autos: {SCORER}")
    page = render(client, "exp").page
    assert "Not a reproduction" in page
    assert "not measured" in page
    assert "recipe.epochs: 5 (published: 160)" in page


def test_another_network_has_no_difference(client: MlflowClient, runs: FakeRuns) -> None:
    runs.cell("snip", 0.9, 0, 99.0)
    other = ["models: lenet-300-100 (published: resnet18)"]
    told(client, runs, comparisons=[comparison("snip", 0.9, 92.5, [f"{1:016x}"], differences=other)])
    (table,) = published_tables(parent_and_summary(client, "exp")[1], finished_runs(client, "exp", "cell"))
    assert table.rows[0].cells[0].notes == ("99.00 (1)",)


def test_concordances_stand_beside_the_published_ones(client: MlflowClient, runs: FakeRuns) -> None:
    pair = {"name": "SNIP & SNIP", "irp": ["a", "b"], "published": 0.23642, "source": "Table 9"}
    told(client, runs, concordances=[{**pair, "measured": 0.5}, {**pair, "published": None, "measured": None}])
    table = concordance_table(parent_and_summary(client, "exp")[1])
    first, second = table.rows
    assert [cell.text for cell in first.cells] == ["+0.23642", "+0.50000", "Table 9"]
    assert [cell.text for cell in second.cells] == ["–", "not yet", "Table 9"]
    assert comma_separated(table).splitlines()[1:] == ["SNIP & SNIP,+0.23642,+0.50000,Table 9", "SNIP & SNIP,,,Table 9"]
    page = render(client, "exp").page
    assert re.search(r"<td[^>]*>\+0.23642</td>", page)
    assert "<td>not yet</td>" in page


def test_a_store_without_a_parent_run_has_no_such_table(client: MlflowClient, runs: FakeRuns) -> None:
    runs.cell("snip", 0.9, 0, 99.0)
    assert parent_and_summary(client, "exp") == (None, {})
    assert "Published and measured" not in render(client, "exp").page
