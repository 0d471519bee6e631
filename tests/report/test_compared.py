"""``report --compare``: two experiments, or two methods of one, beside each other, paired by seed."""

import re
from pathlib import Path

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient
from test_report import HOSTILE, table_rows
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.errors import AutosparseError
from autosparse.report.compared import Alone, Apart, comparison_of
from autosparse.report.page_compared import render_comparison, write_comparison
from autosparse.results.significance import holm, paired

SHORT = {"snip": [90.0, 91.0, 92.0], "grasp": [80.0, 80.2, 80.1]}
LONG = {"snip": [90.5, 91.2, 93.0], "grasp": [82.0, 82.1, 82.15], "force": [70.0]}


@pytest.fixture
def filled(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> MlflowClient:
    other = FakeRuns(client, "long", tmp_path / "scratch")
    for to, accuracies, epochs in ((runs, SHORT, "10"), (other, LONG, "20")):
        for method, values in accuracies.items():
            for seed, value in enumerate(values):
                to.cell(method, 0.9, seed, value, params={"recipe.epochs": epochs}, tags={"git_commit": f"of-{epochs}"})
    runs.cell("snip", 0.95, 4, 50.0)
    return client


def test_differences_are_paired_and_corrected_over_the_whole_page(filled: MlflowClient) -> None:
    found = comparison_of(filled, "exp", "long")
    tests = [paired(dict(enumerate(SHORT[m])), dict(enumerate(LONG[m]))) for m in ("grasp", "snip")]
    assert [pair.method for pair in found.pairs] == ["grasp", "snip"]
    assert [pair.difference for pair in found.pairs] == tests
    assert [pair.p for pair in found.pairs] == holm([test.p for test in tests])
    assert [pair.better for pair in found.pairs] == ["B", ""]


def test_what_sets_them_apart_and_what_only_one_has_is_said(filled: MlflowClient) -> None:
    found = comparison_of(filled, "exp", "long")
    assert found.apart == [Apart("recipe.epochs", "10", "20", "all"), Apart("git commit", "of-10", "of-20", "–")]
    network = "lenet-300-100 on digits"
    assert found.alone == [Alone(network, (0.9,), "force", (), (0,)), Alone(network, (0.95,), "snip", (4,), ())]


def test_cells_that_were_trained_in_a_way_that_only_one_has_are_listed(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    other = FakeRuns(client, "long", tmp_path / "scratch")
    for to, epochs in ((runs, "10"), (runs, "20"), (other, "10")):
        for seed in (0, 1):
            to.cell("snip", 0.9, seed, 90.0, params={"recipe.epochs": epochs})
    found = comparison_of(client, "exp", "long")
    assert len(found.pairs) == 1
    network = "lenet-300-100 on digits (recipe.epochs=20)"
    assert found.alone == [Alone(network, (0.9,), "snip", (0, 1), ())]


def test_a_method_with_another_name_in_the_other_experiment_is_not_alone(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    other = FakeRuns(client, "later", tmp_path / "scratch")
    for scorer in ("old", "new"):
        runs.cell("autos", 0.9, 0, 80.0, params={"scorer": scorer})
    other.cell("autos", 0.9, 0, 81.0, params={"scorer": "new"})
    found = comparison_of(client, "exp", "later")
    assert [pair.method for pair in found.pairs] == ["autos (scorer=new)"]
    assert [(own.method, own.a, own.b) for own in found.alone] == [("autos (scorer=old)", (0,), ())]


def test_the_page_shows_means_over_common_seeds_differences_and_p(filled: MlflowClient, tmp_path: Path) -> None:
    filled_page = render_comparison(filled, "exp", "long").page
    rows = table_rows(filled_page)
    (pair,) = [pair for pair in comparison_of(filled, "exp", "long").pairs if pair.method == "grasp"]
    half = pair.difference.half_width
    assert rows["grasp"] == ["90%", f"-1.98 ± {half:.2f}", "< 0.001", "80.10", "82.08", "3"]
    assert 0 < pair.p < 0.001
    assert rows["recipe.epochs"] == ["10", "20", "all"]
    assert rows["force"][-2:] == ["–", "0"]
    assert "recipe.epochs=10 against recipe.epochs=20" in filled_page
    assert "A is significantly better in 0 of 2, B in 1." in filled_page


def test_methods_of_one_experiment_are_compared(filled: MlflowClient) -> None:
    found = comparison_of(filled, "snip", "grasp", "exp")
    (pair,) = found.pairs
    assert pair.difference.difference == pytest.approx(91.0 - 80.1)
    assert found.apart[0] == Apart("criterion", "snip", "grasp", "all")
    assert found.alone == [Alone("lenet-300-100 on digits", (0.95,), "", (4,), ())]
    assert table_rows(render_comparison(filled, "snip", "grasp", "exp").page)["snip − grasp"][-2:] == ["4", "–"]


def test_methods_with_one_common_seed_have_a_difference_without_a_test(filled: MlflowClient) -> None:
    (pair,) = comparison_of(filled, "force", "grasp", "long").pairs
    assert (pair.by_seed, pair.p, pair.better) == ({0: -12.0}, None, "")


def test_one_common_seed_gives_a_difference_without_a_test(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    other = FakeRuns(client, "long", tmp_path / "scratch")
    runs.cell("snip", 0.9, 0, 90.0)
    other.cell("snip", 0.9, 0, 91.0)
    page = render_comparison(client, "exp", "long").page
    assert table_rows(page)["snip"] == ["90%", "-1.00", "–", "90.00", "91.00", "1"]
    assert "Nothing can be tested" in page
    assert "settings, versions, machines and data of the cells that are compared are the same" in page


def test_the_page_is_one_file_and_its_tables_and_figures_lie_beside_it(filled: MlflowClient, tmp_path: Path) -> None:
    page = write_comparison(filled, "exp", "long", tmp_path / "out")
    text = page.read_text("utf-8")
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names[0] == "figures/01-differences-lenet-300-100-on-digits.svg"
    assert [name for name in names if name.endswith(".csv")] == [
        "tables/01-test-accuracy-a-b-lenet-300-100-on-digits.csv",
        "tables/02-what-sets-them-apart.csv",
        "tables/03-cells-that-only-one-has.csv",
    ]


def test_names_cannot_break_the_page(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    other = FakeRuns(client, HOSTILE, tmp_path / "scratch")
    runs.cell(HOSTILE, 0.9, 0, 90.0)
    other.cell(HOSTILE, 0.9, 0, 91.0)
    assert "<script>alert" not in render_comparison(client, "exp", HOSTILE).page


@pytest.mark.parametrize(
    ("a", "b", "experiment", "reason"),
    [
        ("exp", "exp", None, "'exp' is named twice: name what to compare it with"),
        ("exp", "other", None, "no experiment 'other' in MLflow .*it holds exp, long"),
        ("snip", "gasp", "exp", "unknown method 'gasp': did you mean 'grasp'"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    filled: MlflowClient, a: str, b: str, experiment: str | None, reason: str
) -> None:
    with pytest.raises(AutosparseError, match=reason) as told:
        comparison_of(filled, a, b, experiment)
    assert "\n" not in str(told.value)


def test_two_without_a_common_cell_are_refused(filled: MlflowClient, tmp_path: Path) -> None:
    FakeRuns(filled, "elsewhere", tmp_path / "scratch").cell("snip", 0.9, 0, 1.0, dataset="mnist")
    with pytest.raises(AutosparseError, match="'exp' and 'elsewhere' have no cell of the same model"):
        comparison_of(filled, "exp", "elsewhere")


def test_the_command_writes_the_page_and_asks_for_a_name(filled: MlflowClient, tmp_path: Path) -> None:
    words = [
        "report",
        "--compare",
        "exp",
        "long",
        "--out",
        str(tmp_path / "out"),
        "--tracking-uri",
        filled.tracking_uri,
    ]
    told = CliRunner().invoke(app, words)
    assert (told.exit_code, told.stdout) == (0, f"{tmp_path / 'out' / 'index.html'}\n")
    of_one = ["report", "exp", "--compare", "snip", "grasp", *words[4:], "--json"]
    assert '"experiment": "exp"' in CliRunner().invoke(app, of_one).stdout
    with pytest.raises(AutosparseError, match="no experiment given: name one, or give two after --compare"):
        CliRunner().invoke(app, ["report"], catch_exceptions=False)
