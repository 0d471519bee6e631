"""Networks with arguments go through everything: IRP, a scorer, cells, MLflow, queries, the report, the registry."""

import pytest
from finished import finished

from autosparse.autos.rebuild import rebuilt
from autosparse.data import load_dataset
from autosparse.irp import load_survival
from autosparse.masks import prunable
from autosparse.report.page import write_report
from autosparse.results.best import best
from autosparse.results.frame import frame
from autosparse.results.model_registry import promote

NARROW, WIDE = "lenet-300-100(hidden=[8])", "lenet-300-100(hidden=[16])"
WEIGHTS = {NARROW: 64 * 8 + 8 * 10, WIDE: 64 * 16 + 16 * 10}
CONTENT = {
    "name": "widths",
    "irp": {
        "snip": {
            "model": {"name": "lenet-300-100", "hidden": [8]},
            "dataset": "digits",
            "iterations": 2,
            "recipe": {"epochs": 1},
        }
    },
    "scorers": {"table": {"irp": "snip", "backbone": "conditional-mean"}},
    "grid": {
        "models": [{"name": "lenet-300-100", "hidden": [8]}, WIDE],
        "datasets": ["digits"],
        "methods": ["magnitude", {"criterion": "autos", "scorer": "table"}],
        "sparsities": [0.5],
        "seeds": [0],
        "recipe": {"epochs": 1},
    },
}


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store):
    """The experiment, done in this process, in MLflow."""
    folder = tmp_path_factory.mktemp("widths")
    return finished(CONTENT, folder, empty_store(folder))


def test_each_width_is_trained_and_recorded_under_its_name(done):
    _, store, plan = done
    totals = {p.task.model: store.record(p.task)["result"]["total"] for p in plan.cells}
    assert totals == WEIGHTS


def test_the_network_of_an_irp_run_is_rebuilt_from_its_record(done):
    _, store, plan = done
    survival = load_survival(store.files_path("irp", plan.irp[0].task.id) / "survival")
    assert survival.provenance["model"] == NARROW
    again = prunable(rebuilt(survival, load_dataset("digits")))
    assert {name: weight.shape for name, weight in again.items()} == {"fc1.weight": (8, 64), "fc2.weight": (10, 8)}


def test_queries_and_the_data_frame_tell_the_widths_apart(done):
    client, *_ = done
    rows = best(client, "widths", group_by=["model", "method"])
    assert {(row["model"], row["method"]) for row in rows} == {(n, m) for n in WEIGHTS for m in ("magnitude", "autos")}
    assert set(frame(client, "widths").reset_index()["model"]) == set(WEIGHTS)


def test_the_report_shows_them_and_its_files_have_plain_names(done, tmp_path):
    client, *_ = done
    page = write_report(client, "widths", tmp_path / "report").read_text()
    assert all(f"{name} on digits" in page for name in WEIGHTS)
    names = [path.name for path in (tmp_path / "report").rglob("*")]
    assert len(names) > 3
    assert not any(set(name) & set("()[]=, ") for name in names)


def test_their_scorer_can_be_promoted(done):
    client, *_ = done
    told = promote(client, "widths")
    assert set(told["accuracy"]) == {f"{name}/digits/0.5" for name in WEIGHTS}
    tags = client.get_model_version("autos", str(told["version"])).tags
    assert "accuracy/lenet-300-100_hidden__8__/digits/0.5" in tags
