import html
import io
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from fake_runs import FakeRuns
from mlflow import MlflowClient
from rich.console import Console

from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.report.page import write_report
from autosparse.report.terminal import leaderboard

HOSTILE = '<script>alert("x")</script>$\\frac{&'


def page_of(client: MlflowClient, tmp_path: Path, experiment: str = "exp") -> str:
    return write_report(client, experiment, tmp_path / "out").read_text("utf-8")


def table_rows(page: str) -> dict[str, list[str]]:
    """The texts of every table row by its first field."""
    rows = {}
    for row in re.findall(r"<tr.*?</tr>", page, re.S):
        fields = [re.sub(r"<[^>]+>", "", field) for field in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        rows[html.unescape(fields[0])] = [" ".join(html.unescape(field).split()) for field in fields[1:]]
    return rows


def text_of(client: MlflowClient) -> str:
    console = Console(width=150, record=True, file=io.StringIO())
    for table in leaderboard(client, "exp"):
        console.print(table)
    return console.export_text()


def two_methods(runs: FakeRuns) -> dict[tuple[str, float], list[float]]:
    accuracies = {
        ("dense", 0.0): [97.0, 98.0, 98.5],
        ("snip", 0.9): [95.0, 94.0, 96.0],
        ("snip", 0.995): [40.0, 50.0, 60.0],
        ("autos", 0.9): [93.0, 92.0, 91.5],
        ("autos", 0.995): [70.25, 71.0, 69.0],
    }
    for (method, sparsity), values in accuracies.items():
        for seed, value in enumerate(values):
            runs.cell(method, sparsity, seed, value)
    return accuracies


def test_table_holds_mean_and_sample_deviation_over_seeds(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    accuracies = two_methods(runs)
    rows = table_rows(page_of(client, tmp_path))
    assert rows["method"] == ["0%", "90%", "99.5%"]
    assert rows["dense"] == ["97.83 ± 0.76", "–", "–"]
    for place, sparsity in ((1, 0.9), (2, 0.995)):
        for method in ("snip", "autos"):
            values = accuracies[method, sparsity]
            assert rows[method][place] == f"{sum(values) / 3:.2f} ± {statistics.stdev(values):.2f}"


def test_methods_stand_in_the_order_of_the_highest_sparsity(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    two_methods(runs)
    assert list(table_rows(page_of(client, tmp_path)))[:4] == ["method", "dense", "autos", "snip"]


def test_best_pruned_method_of_each_sparsity_is_marked(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    two_methods(runs)
    marked = re.findall(r'<td class="best">([\d.]+)', page_of(client, tmp_path))
    assert sorted(marked) == ["70.08", "95.00"]


def test_cells_of_different_recipes_are_not_averaged(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 80.0)
    runs.cell("snip", 0.9, 1, 82.0)
    runs.cell("snip", 0.9, 0, 95.0, params={"recipe.epochs": "99"})
    page = page_of(client, tmp_path)
    assert "lenet-300-100 on digits (recipe.epochs=10)" in page
    assert "lenet-300-100 on digits (recipe.epochs=99)" in page
    assert "81.00 <small>± 1.41" in page
    assert len(leaderboard(client, "exp")) == 2


def test_one_label_of_two_scorers_becomes_two_methods(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    for scorer in ("old", "new"):
        runs.cell("autos", 0.9, 0, 80.0, params={"scorer": scorer})
    rows = table_rows(page_of(client, tmp_path))
    assert {"autos (scorer=old)", "autos (scorer=new)"} <= set(rows)


def test_single_seed_has_no_deviation(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("dense", 0.0, 0, 97.0)
    runs.cell("snip", 0.9, 0, 90.0)
    page = page_of(client, tmp_path)
    assert table_rows(page)["snip"] == ["–", "90.00"]
    assert not re.search(r"\bnan\b", page, re.I)
    assert "±" not in page
    assert "±" not in text_of(client)


def test_numbers_of_seeds_are_shown_where_they_differ(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 90.0)
    runs.cell("random", 0.9, 0, 50.0)
    runs.cell("random", 0.9, 1, 60.0)
    page = page_of(client, tmp_path)
    assert "n = 1–2 seeds" in page
    assert table_rows(page)["random"] == ["55.00 ± 7.07 (2)"]
    assert table_rows(page)["snip"] == ["90.00 (1)"]
    assert "55.00 ±7.07 (2)" in text_of(client)


def test_only_dense(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("dense", 0.0, 0, 97.0)
    runs.cell("dense", 0.0, 1, 98.0)
    assert table_rows(page_of(client, tmp_path))["dense"] == ["97.50 ± 0.71"]
    assert "97.50 ±0.71" in text_of(client)


def test_without_cells_irp_runs_or_scorers(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    page = page_of(client, tmp_path)
    assert "0 finished runs" in page
    assert "Survival scores" not in page
    assert "Learned scorer" not in page
    assert leaderboard(client, "exp") == []


def test_unknown_experiment_is_named(client: MlflowClient, tmp_path: Path) -> None:
    with pytest.raises(AutosparseError, match="no experiment 'nope'"):
        write_report(client, "nope", tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_layer_collapse_is_marked(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 90.0, densities={"fc10.weight": 0.2, "fc2.weight": 0.1})
    runs.cell("snip", 0.9, 1, 90.0, densities={"fc10.weight": 0.4, "fc2.weight": 0.0})
    rows = table_rows(page_of(client, tmp_path))
    assert rows["fc2.weight"] == ["5 ✕1"]
    assert rows["fc10.weight"] == ["30"]
    assert rows["runs with a collapsed layer"] == ["1 of 2"]
    assert list(rows).index("fc2.weight") < list(rows).index("fc10.weight")


def test_methods_that_prune_channels_are_told_of(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 90.0)
    assert "share of channels" not in page_of(client, tmp_path)
    runs.cell("mine", 0.9, 0, 90.0, params={"criterion": "3sp"})
    page = re.sub(r"<[^>]+>", "", page_of(client, tmp_path))
    assert "mine removes whole channels: there sparsity is the share of channels" in page


def test_effective_sparsity_is_a_mean_over_seeds(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("dense", 0.0, 0, 97.0, measures={"effective_sparsity": 0.0})
    for seed, effective in enumerate((0.9931, 0.9933)):
        measures = {"effective_sparsity": effective, "effective_kept": 7}
        runs.cell("snip", 0.99, seed, 90.0, measures=measures)
    runs.cell("snip", 0.5, 0, 90.0)
    page = page_of(client, tmp_path)
    rows = table_rows(page[page.index("<h3>Effective sparsity") : page.index("<h2>Reproduce")])
    assert rows == {"method": ["50%", "99%"], "snip": ["–", "99.32"]}
    assert "without any path" not in page


def test_networks_without_a_path_are_marked(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    for seed, kept in enumerate((0, 3)):
        runs.cell("random", 0.99, seed, 10.0, measures={"effective_sparsity": 1.0, "effective_kept": kept})
    page = page_of(client, tmp_path)
    assert table_rows(page)["random"] == ["100 ✕1"]
    assert "without any path" in page


def test_pages_without_measures_show_none(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    two_methods(runs)
    page = page_of(client, tmp_path)
    assert "Effective sparsity" not in page
    assert "Overlap of masks" not in page
    assert "Agreement of survival scores" not in page


def kept(*positions: int) -> Masks:
    mask = torch.zeros(8, dtype=torch.bool)
    mask[list(positions)] = True
    return Masks({"fc1.weight": mask})


def test_overlap_is_the_mean_iou_of_masks_of_one_seed_at_the_highest_sparsity(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    runs.cell("snip", 0.75, 0, 90.0, masks=kept(0, 1))
    runs.cell("snip", 0.75, 1, 90.0, masks=kept(0, 1))
    runs.cell("force", 0.75, 0, 80.0, masks=kept(1, 2))  # 1 of 3
    runs.cell("force", 0.75, 1, 80.0, masks=kept(0, 1))  # 2 of 2
    runs.cell("random", 0.75, 2, 70.0, masks=kept(5, 6))
    runs.cell("random", 0.5, 0, 95.0, masks=kept(0, 1, 2, 3))
    page = page_of(client, tmp_path)
    rows = table_rows(page[page.index("Overlap of masks at 75% sparsity") : page.index("<h2>Reproduce")])
    assert rows[""] == ["snip", "force", "random"]
    assert rows["snip"] == ["–", "0.67", "–"]
    assert rows["force"] == ["0.67", "–", "–"]
    assert "would overlap by 0.14" in page


def test_concordance_of_irp_runs_on_the_same_network(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.irp("a", seed=0, survival=1)
    runs.irp("b", seed=0, survival=2)
    runs.irp("c", seed=1, survival=1)
    runs.irp("d", seed=0, rows=20)  # other positions
    page = page_of(client, tmp_path)
    x, y = (np.random.default_rng(survival).integers(0, 5, size=60) / 4 for survival in (1, 2))
    expected = f"{2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2):.2f}"
    rows = table_rows(page[page.index("Agreement of survival scores") : page.index("<h2>Reproduce")])
    assert rows["irp a seed 0"] == ["–", expected, "1.00"]
    assert rows["irp b seed 0"] == [expected, "–", expected]
    assert "irp d seed 0" not in rows
    assert page.count('class="marked"') == 2  # a and b start from the same weights


def test_names_are_escaped(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell(HOSTILE, 0.9, 0, 90.0, model="[bold]<i>", dataset="a&b")
    runs.scorer(HOSTILE, warning=HOSTILE, irp=HOSTILE)
    page = page_of(client, tmp_path)
    assert "<script>alert" not in page
    assert HOSTILE in html.unescape(page)
    svg = re.findall(r"<svg.*?</svg>", page, re.S)[0]
    texts = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert HOSTILE in texts
    assert HOSTILE in text_of(client)


def test_untrusted_scorer_is_warned_of(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.scorer("good")
    assert "Do not trust" not in page_of(client, tmp_path)
    runs.scorer("bad", warning="it has not learned")
    page = page_of(client, tmp_path)
    assert page.count("Do not trust this scorer") == 1
    assert "it has not learned." in page
    assert "0.432" in page


def test_first_two_irp_runs_are_drawn(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    for seed in (10, 9, 11):
        runs.irp("a", seed)
    page = page_of(client, tmp_path)
    assert re.findall(r"Survival scores: (.*)</h2>", page) == ["irp a seed 9", "irp a seed 10"]
    assert "The first 2 of 3 IRP runs are shown." in page
    assert page.count("data:image/png;base64,") == 2


def test_scorer_names_the_irp_run_it_was_fitted_on(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    task_id = client.get_run(runs.irp("a", 7)).data.tags["irp_id"]
    runs.scorer("s", irp=task_id)
    assert "<dt>fitted on</dt><dd>irp a seed 7</dd>" in page_of(client, tmp_path)


def test_missing_sample_is_told_of(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.irp("a", 0)
    for file in (tmp_path / "mlartifacts").rglob("sample.parquet"):
        file.unlink()
    page = page_of(client, tmp_path)
    assert "could not be read" in page
    assert "data:image/png" not in page
    assert "Test accuracy of the network trained in each iteration" in page


def test_failed_runs_are_counted(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    two_methods(runs)
    runs.run("cell", "broken", {}, {}, {}, status="FAILED")
    page = page_of(client, tmp_path)
    assert "1 run has failed" in page
    assert "15 finished runs" in page


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe", "object")
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def test_page_needs_nothing_from_outside(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    two_methods(runs)
    runs.cell("snip", 0.9, 0, 50.0, dataset="mnist")
    runs.irp("a", 0)
    runs.scorer("s")
    page = page_of(client, tmp_path)
    parser = Links()
    parser.feed(page)
    assert parser.links
    assert all(link.startswith(("#", "data:")) for link in parser.links)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    assert len(parser.ids) == len(set(parser.ids))


def test_report_replaces_an_older_one(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 50.0)
    page_of(client, tmp_path)
    runs.cell("random", 0.9, 0, 40.0)
    assert "random" in table_rows(page_of(client, tmp_path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["figures", "index.html", "tables"]


def test_leaderboard_has_one_table_per_network_and_bold_best(runs: FakeRuns, client: MlflowClient) -> None:
    two_methods(runs)
    runs.cell("snip", 0.9, 0, 50.0, dataset="mnist")
    first, second = leaderboard(client, "exp")
    assert str(first.title) == "lenet-300-100 on digits: test accuracy in %, n = 3 seeds"
    assert str(second.title) == "lenet-300-100 on mnist: test accuracy in %, n = 1 seed"
    assert list(first.columns[0].cells) == ["dense", "autos", "snip"]
    assert next(iter(first.columns[1].cells)) == "97.83 ±0.76"
    assert list(first.columns[2].cells) == ["[dim]–[/dim]", "92.17 ±0.76", "[bold]95.00 ±1.00[/bold]"]
    assert list(first.columns[3].cells) == ["[dim]–[/dim]", "[bold]70.08 ±1.01[/bold]", "50.00 ±10.00"]
