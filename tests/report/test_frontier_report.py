"""Accuracy against cost in a report: when it is there, what it says, and its figure."""

from pathlib import Path

import pytest
from fake_runs import FakeRuns
from matplotlib.figure import Figure
from mlflow import MlflowClient

from autosparse.report.axes import tick_text, ticks_between
from autosparse.report.collect import make_sections
from autosparse.report.collect_frontier import Frontier, frontiers_of
from autosparse.report.figures_frontier import frontier_figure
from autosparse.report.page import render, write_report
from autosparse.report.style import line_styles
from autosparse.report.tables_frontier import frontier_table
from autosparse.results.runs import finished_runs

HEADING = "Accuracy against cost"


def cost(seconds: float, **more: float) -> dict[str, float]:
    return {"seconds": seconds, "images": 1000, "images_score": 100, "flops_dense": 1e6, **more}


def frontier_of(client: MlflowClient) -> Frontier:
    cells, irp, scorers = (finished_runs(client, "exp", kind) for kind in ("cell", "irp", "scorer"))
    (found,) = frontiers_of(cells, irp, scorers, [])
    return found


def figure_of(client: MlflowClient) -> Figure:
    sections = make_sections(finished_runs(client, "exp", "cell"))
    return frontier_figure(frontier_of(client), line_styles(m for section in sections for m in section.methods))


@pytest.mark.parametrize("missing", ["one method", "costs"])
def test_without_two_methods_whose_cost_is_known_there_is_no_such_section(
    runs: FakeRuns, client: MlflowClient, missing: str
) -> None:
    runs.cell("dense", 0.0, 0, 99.0, measures=cost(1.0))
    runs.cell("snip", 0.9, 0, 90.0, measures=cost(1.0))
    if missing == "costs":
        runs.cell("grasp", 0.9, 0, 90.0)
    report = render(client, "exp")
    assert HEADING not in report.page
    assert not any("frontier" in name for name in report.figures.files)


def test_the_section_has_a_figure_and_a_table_that_are_files_too(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    runs.cell("dense", 0.0, 0, 99.0, measures=cost(1.0, images_score=0))
    for method, seconds, accuracy in (("snip", 2.0, 90.0), ("grasp", 3.0, 85.0), ("lth", 9.0, 95.0)):
        runs.cell(method, 0.9, 0, accuracy, measures=cost(seconds))
    page = write_report(client, "exp", tmp_path / "out")
    assert f"<h2>{HEADING}: lenet-300-100 on digits</h2>" in page.read_text("utf-8")
    assert list((page.parent / "figures").glob("*-frontier-lenet-300-100-on-digits.svg"))
    (file,) = (page.parent / "tables").glob("*-accuracy-against-cost-*.md")
    rows = [line.split(" | ") for line in file.read_text("utf-8").splitlines()[4:]]
    assert [row[0].strip("| ") for row in rows] == ["dense", "snip", "grasp", "lth"]
    assert [row[3] for row in rows] == ["1 s", "2 s ★", "3 s", "9 s ★"]
    assert [row[4] for row in rows] == ["1.00 k", "1.10 k", "1.10 k", "1.00 k ★"]


def test_what_was_spent_once_stands_below_and_has_a_panel_of_its_own(runs: FakeRuns, client: MlflowClient) -> None:
    irp = runs.run("irp", "irp a", {"model": "lenet-300-100", "dataset": "digits"}, {}, {"seconds": 50, "images": 2e4})
    irp_id = client.get_run(irp).data.tags["task_id"]
    fit = runs.run("scorer", "scorer", {"label": "mine"}, {"irp": f'["{irp_id}"]'}, {"seconds": 5})
    scorer = client.get_run(fit).data.tags["task_id"]
    for sparsity, loss in ((0.9, 0.0), (0.98, 9.0)):
        runs.cell("snip", sparsity, 0, 90.0 - loss, measures=cost(2.0))
        runs.cell("autos", sparsity, 0, 91.0 - loss, params={"scorer": scorer}, measures=cost(1.0))
    table = frontier_table(frontier_of(client))
    first = table.rows[0]
    assert first.name == "autos"
    assert [cell.text for cell in first.cells[2:]] == ["1 s ★", "1.10 k ★", "3.30 G ★"]
    assert [cell.notes for cell in first.cells[2:]] == [
        ("once 55 s, together 56 s ★",),
        ("once 20.0 k, together 21.1 k ★",),
        ("once 60.0 G, together 63.3 G ★",),
    ]
    figure = figure_of(client)
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == [
        "seconds of one cell (log scale)",
        "seconds with what was spent once (log scale)",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["autos", "snip"]


def test_without_it_there_is_one_column_and_curves_go_by_sparsity(runs: FakeRuns, client: MlflowClient) -> None:
    for sparsity, accuracy, seconds in ((0.98, 80.0, 3.0), (0.9, 90.0, 2.0)):
        for method in ("snip", "grasp"):
            runs.cell(method, sparsity, 0, accuracy, measures={"seconds": seconds})
    figure = figure_of(client)
    (axes,) = figure.axes
    curves = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert [[2.0, 90.0], [3.0, 80.0]] in curves
    assert {text.get_text() for text in axes.texts} == {"90%", "98%"}


def test_a_method_of_unknown_cost_is_told_of(runs: FakeRuns, client: MlflowClient) -> None:
    for method in ("snip", "grasp"):
        runs.cell(method, 0.9, 0, 90.0, measures=cost(2.0))
    runs.cell("autos", 0.9, 0, 90.0, params={"scorer": "gone"}, measures=cost(2.0))
    runs.cell("older", 0.9, 0, 90.0, measures={"seconds": 1.0})
    gone = "MLflow has no finished scorer gone"
    assert frontier_of(client).left_out == (
        f"autos, seconds spent once: {gone}",
        f"autos, images spent once: {gone}",
        "older, images: its records lack 'images', as those of earlier versions do",
        f"autos, flops spent once: {gone}",
        "older, flops: its records lack 'flops_dense', as those of earlier versions do",
    )
    assert "Left out, as it is not known" in render(client, "exp").page


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.4, 2.3, [0.5, 1, 2]), (27e3, 60e3, [32e3, 40e3, 48e3, 56e3]), (0.9, 1500, [1, 10, 100, 1000])],
)
def test_ticks_of_costs_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert ticks_between(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (20e3, "20 k"), (1e3, "1 k"), (1.2e10, "12 G")])
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_two_ways_of_training_are_two_curves_that_compete(runs: FakeRuns, client: MlflowClient) -> None:
    for epochs, accuracy in (("10", 90.0), ("20", 95.0)):
        for method in ("snip", "grasp"):
            better = accuracy + (method == "snip")
            runs.cell(method, 0.9, 0, better, params={"recipe.epochs": epochs}, measures={"seconds": float(epochs)})
    labels = [text.get_text() for text in figure_of(client).legends[0].get_texts()]
    assert labels[:2] == ["grasp (recipe.epochs=10)", "grasp (recipe.epochs=20)"]
    rows = frontier_table(frontier_of(client)).rows
    assert [row.name for row in rows if "★" in row.cells[2].text] == [
        "snip (recipe.epochs=10)",
        "snip (recipe.epochs=20)",
    ]
    assert HEADING in render(client, "exp").page
