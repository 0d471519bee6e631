"""What a report says besides accuracy: curves, densities, sizes, costs, provenance; and its files."""

import html
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.experiment.store import Store
from autosparse.report.collect import Section, make_sections
from autosparse.report.figures_curves import curve_of, drawn_sparsities
from autosparse.report.figures_density import Layout, density_figure
from autosparse.report.formats import about, duration, quantity
from autosparse.report.page import render, write_report
from autosparse.report.table import NOTHING
from autosparse.report.tables_agreement import changing_table
from autosparse.report.tables_cost import method_costs
from autosparse.report.tables_size import size_table
from autosparse.results.costs import wall_seconds
from autosparse.results.runs import finished_runs
from autosparse.tracking.curves import MOST, pack, unpack
from autosparse.tracking.log import Tracker
from autosparse.tracking.parent import WALL_SECONDS
from autosparse.tracking.search import SUMMARY, WHOLE


def section_of(client: MlflowClient, **layers: list[str]) -> Section:
    (section,) = make_sections(finished_runs(client, "exp", "cell"), layers)
    return section


def texts(page: str) -> str:
    """What a reader sees, in one line."""
    return " ".join(html.unescape(re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page, flags=re.S)).split())


def history(*accuracies: float) -> dict[str, str]:
    losses = [1 / (1 + step) for step in range(len(accuracies))]
    return {"curves": pack({"train_loss": losses, "test_accuracy": accuracies})}


def test_a_tag_holds_the_curves_of_any_training() -> None:
    assert unpack(pack({"a": [1.0, 0.123456789]})) == {"epochs": [1, 2], "a": [1.0, 0.12346]}
    long = unpack(pack({"a": [float(i) for i in range(1, 1001)], "b": [1e-9 / 3] * 1000}))
    assert len(long["epochs"]) == MOST
    assert long["epochs"] == long["a"]
    assert (long["epochs"][0], long["epochs"][-1]) == (1, 1000)
    assert len(pack({name: [-1.2345e-10] * 1000 for name in "ab"})) < 8000


def test_curves_are_means_over_seeds_by_epoch(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("snip", 0.9, 0, 90.0, tags=history(80, 90))
    runs.cell("snip", 0.9, 1, 94.0, tags=history(82, 94))
    runs.cell("random", 0.9, 0, 50.0)
    snip, random = section_of(client).methods
    curve = curve_of(snip.points[0.9], "test_accuracy")
    assert (curve.epochs, curve.mean) == ([1, 2], [81, 92])
    assert curve.std == pytest.approx([2**0.5, 8**0.5])
    assert curve_of(random.points[0.9], "test_accuracy") is None


def test_curves_are_drawn_at_the_ends_and_in_the_middle(runs: FakeRuns, client: MlflowClient) -> None:
    for sparsity in (0.5, 0.8, 0.9, 0.95, 0.99):
        runs.cell("snip", sparsity, 0, 90.0, tags=history(80, 90))
    assert drawn_sparsities(section_of(client)) == [0.5, 0.9, 0.99]
    assert "training loss (below)" in render(client, "exp").page


def test_a_single_epoch_is_no_curve(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("snip", 0.9, 0, 90.0, tags=history(90))
    assert "training loss (below)" not in render(client, "exp").page


def svg_texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_density_map_has_layers_in_network_order_and_marks_collapse(
    runs: FakeRuns, client: MlflowClient, tmp_path: Path
) -> None:
    layers = ["conv1.weight", "block.weight", "a.weight"]
    for sparsity, last in ((0.5, 0.437), (0.9, 0.0)):
        runs.cell("snip", sparsity, 0, 90.0, densities=dict(zip(layers, (1.0, 0.031, last), strict=True)))
    section = section_of(client, **{"lenet-300-100": layers})
    (panel, _) = density_figure(section).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["conv1", "block", "a"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["50%", "90%"]
    numbers = [text.get_text() for text in panel.texts]
    assert numbers == ["100", "100", "3.1", "3.1", "44"]
    (cross,) = panel.collections
    assert cross.get_offsets().tolist() == [[1, 2]]

    folder = write_report(client, "exp", tmp_path / "out").parent / "figures"
    svg = next(folder.glob("*-density-*.svg")).read_text("utf-8")
    assert {"snip", "conv1", "44"} <= set(svg_texts(svg))


@pytest.mark.parametrize(
    ("layers", "columns", "panels"), [(3, 4, 1), (3, 6, 22), (21, 4, 8), (60, 6, 12), (160, 6, 40)]
)
def test_a_density_map_fits_the_page(layers: int, columns: int, panels: int) -> None:
    layout = Layout.of([f"layer{i}.0.conv1" for i in range(layers)], columns, panels)
    assert layout.names + layout.side_by_side * columns * layout.width < 8.4
    rows = -(-panels // layout.side_by_side)
    assert layout.side_by_side * (rows - 1) < panels
    assert layout.width >= (0.35 if layout.numbers else 0.14)


def test_sizes_before_and_after(runs: FakeRuns, client: MlflowClient) -> None:
    measures = {"total": 266200, "parameters": 266610, "flops_dense": 532400}
    for seed in range(2):
        own = {"kept": 2662, "flops_pruned": 5000 + 1000 * seed, "flops_share": 0.01 + 0.002 * seed}
        runs.cell("snip", 0.99, seed, 90.0, measures=measures | own)
    runs.cell("random", 0.5, 0, 90.0)
    table = size_table(section_of(client))
    assert (
        table.notes[0] == "266,610 parameters, among them 266,200 weights that can be pruned, and 532 kFLOPs per image"
    )
    snip = {row.name: row.cells for row in table.rows}["snip"]
    assert snip[0] == NOTHING
    assert (snip[1].text, snip[1].notes) == ("2.66 k (1%)", ("FLOPs 5.50 k (1.1%)",))
    assert "simulated with masks" in render(client, "exp").page


def test_how_far_masks_have_moved_that_change_in_training(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("random", 0.9, 0, 90.0)
    assert changing_table(section_of(client)) is None
    for seed in range(2):
        moved = {"mask_changes": 7, "mask_overlap": 0.4 + 0.2 * seed, "mask_ever_alive": 0.15}
        runs.cell("rigl", 0.9, seed, 90.0, measures=moved)
    table = changing_table(section_of(client))
    (rigl,) = table.rows
    assert (rigl.name, rigl.cells[0].text, rigl.cells[0].notes) == ("rigl", "overlap 50.0%", ("ever alive 15.0%",))
    assert "overlap 50.0%" in texts(render(client, "exp").page)


def test_costs_by_stage_and_by_method(runs: FakeRuns, client: MlflowClient) -> None:
    parent = client.create_run(runs.experiment_id, run_name="exp", tags={"kind": WHOLE}).info.run_id
    client.log_dict(parent, {}, SUMMARY)
    for step, seconds in enumerate((60.0, 30.0)):
        client.log_metric(parent, f"{WALL_SECONDS}grid", seconds, step=step)
    times = {"seconds_score": 1.0, "seconds_train": 3.0, "seconds": 4.0, "images": 180000}
    on_gpu = {"device": "cuda", "gpus_per_job": "0.25"}
    runs.cell("snip", 0.9, 0, 90.0, measures=times, tags=on_gpu)
    runs.cell("snip", 0.9, 1, 90.0, measures=times | {"seconds_train": 7100.0, "seconds": 7196.0}, tags=on_gpu)
    page = texts(render(client, "exp").page)
    assert "stage runs wall time work images trained on GPU-hours" in page
    assert "cells of the grid 2 1 min 30 s 2 h 0 min 360 k 0.50 " in page
    (row,) = method_costs(section_of(client)).rows
    assert [row.name, *map(str, row.cells)] == ["snip", "2", "1.00", "3551.50", "3600.00", "180 k"]


def test_the_cost_of_compact_training_stands_beside_the_dense_one(runs: FakeRuns, client: MlflowClient) -> None:
    for seed, trained in enumerate((1e5, 3e5)):
        runs.cell(
            "snip",
            0.9,
            seed,
            90.0,
            measures={"seconds": 1.0, "images": 100, "flops_dense": 1e6, "flops_trained": trained},
        )
    table = method_costs(section_of(client))
    assert list(table.columns[-2:]) == ["FLOPs to train, dense", "as computed"]
    assert [str(cell) for cell in table.rows[0].cells[-2:]] == ["300 M", "60.0 M"]


def test_trainings_on_the_way_to_the_masks_count_as_dense(runs: FakeRuns, client: MlflowClient) -> None:
    measures = {"seconds": 1.0, "images": 1100, "images_score": 1000, "flops_dense": 1e6, "flops_trained": 2e5}
    runs.cell("lth", 0.9, 0, 90.0, measures=measures)
    table = method_costs(section_of(client))
    assert [str(cell) for cell in table.rows[0].cells[-2:]] == ["3.30 G", "3.06 G"]


def test_the_wall_time_of_a_stage_adds_up_over_resumptions(client: MlflowClient, tmp_path: Path) -> None:
    for seconds in (60.0, 30.0):
        tracker = Tracker(client, "exp", Store(tmp_path))
        tracker.parent.spent("grid", seconds)
    assert wall_seconds(client, tracker.parent.id, ("irp", "grid")) == {"grid": 90.0}


def test_costs_that_runs_do_not_tell_of_are_left_out(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("snip", 0.9, 0, 90.0, measures={"seconds": 4.0}, tags={"device": "cpu"})
    runs.cell("snip", 0.9, 1, 90.0, measures={"seconds": 4.0})
    page = texts(render(client, "exp").page)
    assert "stage runs work cells of the grid 2 8 s " in page
    assert "CPU-hours cells" not in page


def test_hours_of_a_run_on_several_kinds_of_devices_are_not_known(runs: FakeRuns, client: MlflowClient) -> None:
    runs.cell("snip", 0.9, 0, 90.0, measures={"seconds": 7200.0}, tags={"device": "cpu"})
    runs.cell("snip", 0.9, 1, 90.0, measures={"seconds": 7200.0}, tags={"device": "cpu, cuda", "gpus_per_job": "1"})
    assert "CPU-hours cells" not in texts(render(client, "exp").page)


def test_provenance_has_the_data_and_says_where_the_code_was_changed(runs: FakeRuns, client: MlflowClient) -> None:
    for seed, commit in enumerate(("abc1234", "abc1234", "abc1234+dirty")):
        tags = {"git_commit": commit, "dataset_fingerprint": "1e35582d", "device_name": "A GPU"}
        runs.cell("snip", 0.9, seed, 90.0, tags=tags)
    page = texts(render(client, "exp").page)
    assert "git commit abc1234 (2 runs), abc1234 with uncommitted changes (1 run)" in page
    assert "data digits fingerprint 1e35582d" in page
    assert "device name A GPU" in page


def test_the_command_is_shown_as_it_was(runs: FakeRuns, client: MlflowClient) -> None:
    command = "autosparse run experiments/x.yaml --preset small --set 'grid.*.seeds=[0, 1]' --set a=b&c"
    parent = client.create_run(runs.experiment_id, run_name="exp", tags={"kind": WHOLE}).info.run_id
    client.log_dict(parent, {"command": command, "file": "experiments/x.yaml"}, SUMMARY)
    assert command in html.unescape(render(client, "exp").page)


def test_figures_lie_beside_the_page_and_older_ones_go(runs: FakeRuns, client: MlflowClient, tmp_path: Path) -> None:
    runs.cell("snip", 0.9, 0, 90.0, densities={"fc1": 0.1}, tags=history(80, 90))
    runs.irp("a")
    folder = tmp_path / "out" / "figures"
    other = runs.irp("b")
    write_report(client, "exp", tmp_path / "out")
    assert (folder / "07-iterations-irp-b-seed-0.svg").exists()
    (folder / "mine.svg").write_text("somebody's")
    client.delete_run(other)
    write_report(client, "exp", tmp_path / "out")
    (folder / "mine.svg").unlink()
    assert sorted(path.name for path in folder.iterdir()) == [
        "01-accuracy-lenet-300-100-on-digits.svg",
        "02-training-lenet-300-100-on-digits.svg",
        "03-density-lenet-300-100-on-digits.svg",
        "04-survival-irp-a-seed-0.png",
        "05-iterations-irp-a-seed-0.svg",
    ]
    for path in folder.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (2662, "2.66 k"), (266200, "266 k"), (999600, "1.00 M"), (1.5, "1.50")],
)
def test_quantities_have_three_digits(value: float, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.456, "0.46 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (18400, "5 h 7 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (89, "89 s"), (1021, "17 min"), (18400, "5 h 7 min")])
def test_what_is_guessed_is_not_said_to_the_second(seconds: float, text: str) -> None:
    assert about(seconds) == text
