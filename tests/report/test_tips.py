"""What figures answer to a pointer: the places of points, their texts, and the addresses of runs."""

import json
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from fake_runs import FakeRuns
from matplotlib.figure import Figure
from mlflow import MlflowClient

from autosparse.report.collect import make_sections
from autosparse.report.figures_density import density_figure
from autosparse.report.figures_grid import accuracy_figure
from autosparse.report.gallery import Gallery
from autosparse.report.page import render
from autosparse.report.style import draw_svg, line_styles
from autosparse.report.tips import tell, tips_of
from autosparse.results.runs import finished_runs, run_pages

SVG = "{http://www.w3.org/2000/svg}"


def told(figure: Figure) -> list[tuple[list[str], list[list[str]]]]:
    """The lines and the runs of each point."""
    found = json.loads(tips_of(figure))
    return [([found["texts"][i] for i in lines], *(runs or [[]])) for _, _, lines, *runs in found["points"]]


def test_a_tip_lies_where_the_svg_has_the_marker() -> None:
    points = [(1.0, 20.0), (30.0, 97.5), (100.0, 55.0)]
    kept = []

    def draw() -> Figure:
        figure = Figure(figsize=(9.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_ylabel("a label that takes room")
        axes.plot(*zip(*points, strict=True), marker="o", linestyle="", gid="marks")
        for x, y in points:
            tell(axes, x, y, "here")
        kept.append(figure)
        return figure

    root = ElementTree.fromstring(draw_svg(draw, "x"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    group = next(group for group in root.iter(f"{SVG}g") if group.get("id") == "marks")
    drawn = [(float(use.attrib["x"]) / width, float(use.attrib["y"]) / height) for use in group.iter(f"{SVG}use")]
    found = [tuple(point[:2]) for point in json.loads(tips_of(kept[0]))["points"]]
    assert found == [pytest.approx(place, abs=2e-4) for place in drawn]


def test_a_figure_without_tips_answers_nothing() -> None:
    page = Gallery().svg(lambda: Figure(figsize=(1, 1)), "empty")
    assert tips_of(Figure()) == ""
    assert "<script" not in page


def test_no_text_ends_the_script() -> None:
    def draw() -> Figure:
        figure = Figure(figsize=(1, 1))
        tell(figure.add_subplot(), 0, 0, '</script><script>alert("x")</script><!--')
        return figure

    page = Gallery().svg(draw, "hostile")
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, re.S)
    assert json.loads(script)["texts"] == ['</script><script>alert("x")</script><!--']


def test_a_point_tells_its_mean_and_each_seed_with_its_run(runs: FakeRuns, client: MlflowClient) -> None:
    ids = {seed: runs.cell("snip", 0.9, seed, value) for seed, value in ((1, 94.0), (0, 90.0))}
    single = runs.cell("random", 0.9, 3, 50.0, measures={"effective_kept": 0.0})
    (section,) = make_sections(finished_runs(client, "exp", "cell"))
    snip, random = told(accuracy_figure(section, line_styles(section.methods)))
    seeds = [["seed 0: 90.00 %", ids[0]], ["seed 1: 94.00 %", ids[1]]]
    assert snip == (["snip, 90% sparse", "92.00 ± 2.83 % (2 seeds)"], seeds)
    broken = ["random, 90% sparse", "50.00 % (1 seed)", "1 without a path to the output"]
    assert random == (broken, [["seed 3: 50.00 %", single]])


def test_a_cell_of_the_density_map_tells_its_layer(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("snip", 0.9, 0, 90.0, densities={"conv1.weight": 0.4321, "fc1.weight": 0.0})
    (section,) = make_sections(finished_runs(client, "exp", "cell"))
    assert [lines for lines, _ in told(density_figure(section))] == [
        ["snip, 90% sparse", "conv1 keeps 43.2 %"],
        ["snip, 90% sparse", "fc1 keeps 0 %", "in some run it kept no weight"],
    ]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", ""),
        ("http://host:5000", "http://host:5000/#/experiments/7/runs/"),
        ("https://me:se/cr@et@host/under/?token=abc", "https://host/under/#/experiments/7/runs/"),
    ],
)
def test_runs_have_addresses_only_on_a_server_and_without_its_secrets(uri: str, expected: str) -> None:
    found = SimpleNamespace(experiment_id="7")
    assert run_pages(SimpleNamespace(tracking_uri=uri, get_experiment_by_name=lambda name: found), "exp") == expected


def test_colours_of_figures_can_be_replaced_by_the_page_but_not_in_the_files(
    runs: FakeRuns, client: MlflowClient
) -> None:
    runs.cell("snip", 0.9, 0, 90.0)
    report = render(client, "exp")
    (file,) = (data.decode() for name, data in report.figures.files.items() if "accuracy" in name)
    assert "fill: #ffffff" in file
    assert "var(" not in file
    svg = re.findall(r"<svg.*?</svg>", report.page, re.S)[0]
    assert "fill: var(--figure-ffffff, #ffffff)" in svg
    assert not re.search(r"(fill|stroke): #(ffffff|222222|0072b2)", svg)
