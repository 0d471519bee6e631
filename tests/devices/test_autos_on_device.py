"""AutoS, shards and cells on the emulated device as on the CPU."""

import emulated
import numpy as np
import pytest
import torch
from builders import a_cell, lenet

from autosparse.autos import Scorer, fit_scorer, load_scorer
from autosparse.autos.backbones import BACKBONES, build_backbone
from autosparse.autos.features import Standardisation
from autosparse.autos.predict import tabulate
from autosparse.criteria.autos import survival_features
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, IrpTask, ScorerTask
from autosparse.irp import Survival
from autosparse.runner.work.cells import run_cells
from autosparse.runner.work.fit import run_fit
from autosparse.runner.work.gpu_check import device_named
from autosparse.runner.work.irp import run_irp
from autosparse.shards import open_features, read_rows, save_features
from autosparse.training import Execution, Recipe

HERE = emulated.NAME
RECIPE = Recipe(epochs=1, batch_size=64, lr=2**-9)


def survival_in_two_layers(rows=1500):
    draws = torch.Generator().manual_seed(0)
    param, grad = torch.randn(2, rows, generator=draws)
    count = (20 * (param.abs() / 3).clamp(max=1)).round().int()
    return Survival({"a": param[:1000], "b": param[1000:]}, {"a": grad[:1000], "b": grad[1000:]},
                    {"a": count[:1000], "b": count[1000:]}, {"iterations": 20})  # fmt: skip


@pytest.mark.parametrize("name", ["mlp", "conditional-mean"])
def test_a_fit_there_is_the_one_on_the_cpu(device, tmp_path, name):
    """The same holds after it is saved there and read elsewhere."""
    options = {"batch_size": 256, "epochs": 2} if BACKBONES[name].by_gradient else {}
    expected, found = (fit_scorer(survival_in_two_layers(), name, device=where, **options) for where in ("cpu", HERE))
    for figure in ("train_r2", "held_out_r2", "binned_mean_r2"):
        assert found.report[figure] == pytest.approx(expected.report[figure], abs=1e-2)
    features, _ = survival_in_two_layers().flat()
    read = load_scorer(found.save(tmp_path / "scorer"))
    torch.testing.assert_close(read.predict(features), expected.predict(features), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg19", marks=pytest.mark.slow)])
def test_a_costly_fit_reports_on_its_own_device(device, tmp_path, monkeypatch, name):
    """The report and the sample of predictions are computed there, so that the GPU does not wait for the CPU."""
    asked, predictor = [], Scorer.predictor

    def noted(scorer, where, **options):
        ask = predictor(scorer, where, **options)
        return lambda columns: asked.append((where.type, len(columns[0]))) or ask(columns)

    monkeypatch.setattr(Scorer, "predictor", noted)
    for module in ("autosparse.autos.fit", "autosparse.autos.learn"):
        monkeypatch.setattr(f"{module}.ASKED_OF_COSTLY", 4)
    monkeypatch.setattr("autosparse.runner.work.samples.SAMPLE_OF_COSTLY", 2)
    values, few = torch.randn(2, 60, generator=torch.Generator().manual_seed(0)), torch.arange(60).int() % 20
    small = Survival({"a": values[0]}, {"a": values[1]}, {"a": few}, {"iterations": 20})
    task = ScorerTask(irp=("0" * 16,), fit=FitSpec(backbone=name, epochs=1, batch_size=27))
    result = run_fit(task, [small], Store(tmp_path), HERE, lambda _: None)
    report, sample = 3 * [(HERE, 4)], 2 * [(HERE, 2)]  # R^2 on both kinds of rows, densities; trained, untrained
    assert asked == report + sample
    assert np.isfinite(result["report"]["held_out_r2"])


def test_a_surface_there_gives_the_scores_of_the_one_on_the_cpu(device):
    class Costly(BACKBONES["mlp"]):
        costly = True

    features, _ = survival_in_two_layers(6000).flat()
    network = Costly(2, 0)
    network.load_state_dict(build_backbone("mlp", 2, 0).state_dict())
    scorer = Scorer("mlp", ("param", "grad"), Standardisation((0.0, 0.0), (1.0, 1.0)), network.eval())
    there = {name: values.to(HERE) for name, values in features.items()}
    expected, found = (tabulate(scorer, given, [0.9, 0.99], budgets=(600, 1200)) for given in (features, there))
    assert found.evaluations == expected.evaluations
    assert found.scores.device.type == HERE
    torch.testing.assert_close(found.scores.cpu(), expected.scores, rtol=1e-4, atol=1e-4)


def test_feature_shards_of_a_network_there_are_those_of_the_cpu(device, tiny_digits, tmp_path):
    model = lenet()
    batches = list(tiny_digits.scoring_batches(torch.Generator().manual_seed(0), limit=64))
    expected = survival_features(model, batches, torch.nn.functional.cross_entropy, ("param", "grad"))
    there = [(x.to(HERE), y.to(HERE)) for x, y in batches]
    shards = open_features(save_features(model.to(HERE), there, tmp_path / "features"))
    rows = [rows for shard in shards.files for rows in read_rows(shard, shards.shapes, ("param", "grad"))]
    for name, values in expected.items():
        found = torch.cat([torch.from_numpy(part[name].copy()) for part in rows])
        torch.testing.assert_close(found, values)


CELLS = [
    ("dense", 0.0, {}),
    ("snip", 0.9, {}),
    ("snip", 0.9, {"ablation": "invert"}),
    ("random", 0.8, {"ablation": "shuffle"}),
    ("grasp", 0.8, {"ablation": "reinit"}),
    ("synflow", 0.9, {"options": {"rounds": 3}}),
]


@pytest.mark.parametrize("together", [None, 1, 4])
def test_cells_run_there_alone_and_in_packs(device, tiny_digits, tmp_path, caplog, monkeypatch, together):
    """A trial of a pack that failed would be logged."""
    monkeypatch.setattr("autosparse.training.group_size.TRIAL_STEPS", 1)
    cells = [a_cell(criterion=name, sparsity=sparsity, seed=0, recipe=RECIPE, **more) for name, sparsity, more in CELLS]
    done = [pair for pack in run_cells(cells, Store(tmp_path), tiny_digits.to(HERE), HERE, together) for pair in pack]
    assert [result["device"] for _, result in done] == [HERE] * len(CELLS)
    assert {result["precision"] for _, result in done} == {"bfloat16"}
    assert not caplog.records


def test_irp_runs_there_with_its_files_and_records(device, tiny_digits, tmp_path):
    task = IrpTask(model="lenet-300-100", dataset="digits", iterations=2, final_density=0.1, recipe=RECIPE)
    results = [
        run_irp(task, Store(tmp_path / where), tiny_digits.to(where), where, lambda _: None, Execution("float32"))
        for where in ("cpu", HERE)
    ]
    assert results[0]["kept"] == results[1]["kept"]
    assert results[0]["dataset_fingerprint"] == results[1]["dataset_fingerprint"]


def test_auto_finds_it(device):
    assert device_named("auto") == HERE
