"""The report's tables as files."""

import csv
from dataclasses import replace
from pathlib import Path

from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.report.collect_frontier import Frontier
from autosparse.report.export import comma_separated, latex, markdown
from autosparse.report.page import write_report
from autosparse.report.table import texts
from autosparse.report.tables_frontier import frontier_table
from autosparse.results.frontier import Point

ROWS = [["a|b_c", "91.0 ±0.5 (3)"], ["d", "–"]]
TABLE = texts("50% & more_or less", ["method", "90%"], ROWS)


def test_markdown_escapes_what_would_end_a_cell() -> None:
    heading, _, *lines = markdown(TABLE).splitlines()
    assert heading == "### 50% & more_or less"
    assert lines == ["| method | 90% |", "| --- | --- |", "| a\\|b_c | 91.0 ±0.5 (3) |", "| d | – |"]


def test_csv_reads_back() -> None:
    assert list(csv.reader(comma_separated(TABLE).splitlines())) == [TABLE.columns, *ROWS]


def test_latex_escapes_its_special_characters() -> None:
    lines = latex(TABLE).splitlines()
    assert r"\caption{50\% \& more\_or less}" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert r"a\textbar{}b\_c & 91.0 $\pm$0.5 (3) \\" in lines
    assert r"d & -- \\" in lines


def test_latex_has_all_marks_of_our_tables_without_a_package() -> None:
    point = Point("m", "d", "", "snip", 0.9, False, 3, 90.0, 0.5, "seconds", 4.0, 0.0, pareto=True)
    there = replace(point, pareto=False, pareto_at_sparsity=True)
    frontier = latex(frontier_table(Frontier("m on d", {"seconds": [point, there]}, ())))
    assert r"& 4 s $\star$" in frontier
    assert r"& 4 s $\circ$" in frontier
    difference = latex(texts("A − B", ["method", "p", "at ✕"], [["snip", "< 0.001", "> 1"]]))
    assert r"snip & $<$ 0.001 & $>$ 1 \\" in difference
    assert (frontier + difference).isascii()


def test_every_table_of_a_page_is_a_file_of_each_kind(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    for method, accuracy in (("snip", 90.0), ("grasp", 80.0)):
        for seed in range(2):
            runs.cell(method, 0.9, seed, accuracy + seed, densities={"fc1": 0.1})
    page = write_report(client, "exp", tmp_path / "out")
    files = sorted(path.name for path in (page.parent / "tables").iterdir())
    assert files == [
        f"{name}.{ending}"
        for name in ("01-test-accuracy-lenet-300-100-on-digits", "02-density-at-90-lenet-300-100-on-digits")
        for ending in ("csv", "md", "tex")
    ]
    rows = list(csv.reader((page.parent / "tables" / files[0]).read_text().splitlines()))
    assert rows == [["method", "90%"], ["snip", "90.50 ±0.71 (2)"], ["grasp", "80.50 ±0.71 (2)"]]
