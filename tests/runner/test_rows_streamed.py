"""Fits whose rows Ray Data streams: the scorer is that of one process, and each failure is one line."""

import pytest
import torch

from autosparse.autos import fit_scorer, load_scorer
from autosparse.autos.streamed.rows import one_by_one
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError, WorkFailed
from autosparse.experiment.tasks import FitSpec
from autosparse.irp import rewind_prune, save_survival
from autosparse.models import build_model
from autosparse.runner.driver.fit_folders import fit_on_folders
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.training import Recipe

LINEAR = FitSpec(backbone="linear", inputs=("log_param", "layer_density"), rounds=2, examples=100)


@pytest.fixture(scope="module")
def run():
    """LeNet-300-100 on digits, two iterations of one epoch."""
    digits = load_dataset("digits")
    model = build_model("lenet-300-100", digits.num_classes, digits.input_shape, 5)
    options = {"iterations": 2, "recipe": Recipe(epochs=1), "seed": 5, "score_examples": 300}
    survival = rewind_prune(model, digits, **options)
    survival.provenance["model"] = "lenet-300-100"
    return survival


@pytest.fixture
def mapped(ray_running):
    """Reads in two tasks, and gives up after a minute and a half."""
    from autosparse.runner.shards.mapped import RayMapped

    return RayMapped(Settings(workers=2), patience=90.0)


def fit(folders, spec, tmp_path, empty_store, rows_in):
    settings = Settings(tmp_path / "results", empty_store(tmp_path), workers=2)
    return fit_on_folders(folders, spec, "scorers", settings, Screen(), "cpu", rows_in)


def test_a_fit_streams_its_rows_and_the_next_one_finds_it(ray_running, run, tmp_path, empty_store):
    folder = save_survival(run, tmp_path / "irp")
    scorer, record = fit([folder], LINEAR, tmp_path, empty_store, tmp_path / "rows")
    rows = run.masks(0).kept + run.masks(1).kept
    assert record["spec"]["streamed"] is True
    assert record["result"]["rows"] == load_scorer(scorer).provenance["rows"] == rows
    alone = fit_scorer(run, **LINEAR.arguments, datasets={"digits": load_dataset("digits")}, rows_in=tmp_path / "rows")
    for name, own in alone.network.state_dict().items():
        assert torch.equal(own, load_scorer(scorer).network.state_dict()[name])
    assert record["result"]["report"] == alone.report
    again = fit([folder], LINEAR, tmp_path, empty_store, tmp_path / "rows")[1]
    assert again["ended_ms"] == record["ended_ms"]


def test_a_network_is_trained_as_in_one_process_whatever_the_tasks(run, tmp_path, mapped, monkeypatch):
    monkeypatch.setattr("autosparse.autos.streamed.rows.TOGETHER", 1)
    given = {"epochs": 1, "rounds": 2, "datasets": {"digits": load_dataset("digits")}, "rows_in": tmp_path / "rows"}
    alone, streamed = (
        fit_scorer(run, "mlp", ["log_param"], mapped=way, **given).network.state_dict() for way in (one_by_one, mapped)
    )
    assert all(torch.equal(own, streamed[name]) for name, own in alone.items())


def test_a_file_that_is_damaged_under_way_is_named_in_one_line(run, tmp_path, mapped):
    given = {"rounds": 2, "datasets": {"digits": load_dataset("digits")}, "rows_in": tmp_path}
    fit_scorer(run, "linear", ["log_param"], **given)
    path = tmp_path / "rows-000-0000-0001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkFailed, match=r"rows-000-0000-0001.parquet .*; delete it, and the same command") as refused:
        fit_scorer(run, "linear", ["log_param"], mapped=mapped, **given)
    assert "\n" not in str(refused.value)


def test_work_that_brings_no_rows_is_given_up(mapped):
    mapped.patience = 0.001
    with pytest.raises(WorkFailed, match="no rows of states came for 0 s"):
        list(mapped(len, [0, 1]))


def test_an_unknown_error_is_one_line_too(mapped):
    with pytest.raises(WorkFailed, match="rows of states: TypeError: object of type 'int' has no len"):
        list(mapped(len, [0, 1]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": ("param", "grad"), "rounds": None, "examples": None}, "for a scorer that prunes in rounds"),
        ({"rows": 5000}, "learns from every row"),
        ({"dagger": {"passes": 1}}, "dagger adds rows to those in memory"),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_anything_is_read(tmp_path, changed, said):
    spec = FitSpec.model_validate({**LINEAR.model_dump(), **changed}, strict=False)
    with pytest.raises(AutosparseError, match=said):
        fit_on_folders([tmp_path / "gone"], spec, "x", Settings(tmp_path), Screen(), rows_in=tmp_path / "rows")
    assert not (tmp_path / "rows").exists()
