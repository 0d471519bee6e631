"""Scorers that prune in rounds: fitted, refined and used on the emulated device as on the CPU."""

from dataclasses import replace

import emulated
import pytest
import torch
from builders import lenet, survival_of_largest

from autosparse.autos import fit_scorer
from autosparse.autos.dagger import Dagger
from autosparse.autos.features import check_inputs
from autosparse.criteria import prune
from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import FitSpec, RefineSpec, ScorerTask
from autosparse.runner.work.fit import run_fit
from autosparse.seeds import generator

HERE = emulated.NAME
INPUTS = ("log_param", "activation", "synflow", "trained")


def net(seed, device="cpu"):
    return lenet(seed).to(device)


@pytest.fixture(scope="module")
def largest_survive():
    return survival_of_largest(recipe={"epochs": 1, "lr": 2**-9, "milestones": [60, 120]})


def scoring_batches(dataset):
    return list(dataset.scoring_batches(generator(0, "score"), limit=200))


@pytest.mark.parametrize("backbone", ["linear", "trees"])
def test_a_fit_and_its_masks_are_those_of_the_cpu(device, largest_survive, backbone, monkeypatch):
    monkeypatch.setattr("autosparse.autos.backbones.trees.TREES", 4)  # each operation there takes its time
    digits = load_dataset("digits")
    there = digits.to(HERE)
    options = {"rounds": 2, "steps": 2, "examples": 100, "rows": 4000}
    expected = fit_scorer(largest_survive, backbone, INPUTS, datasets={"digits": digits}, **options)
    found = fit_scorer(largest_survive, backbone, INPUTS, device=HERE, datasets={"digits": there}, **options)
    assert found.report["held_out_r2"] == pytest.approx(expected.report["held_out_r2"], abs=0.02)
    on_cpu = prune(net(7), "autos", 0.8, scoring_batches(digits), scorer=expected)
    on_device = prune(net(7, HERE), "autos", 0.8, scoring_batches(there), scorer=found)
    assert on_device.kept == on_cpu.kept
    same = sum(int((on_device[name].cpu() & on_cpu[name]).sum()) for name in on_cpu)
    assert same > 0.95 * on_cpu.kept


@pytest.mark.parametrize(("backbone", "options"), [("linear", {}), ("mlp", {"epochs": 1}), ("trees", {"rows": 3000})])
def test_a_streamed_fit_there_is_that_of_the_cpu(device, largest_survive, backbone, options, monkeypatch, tmp_path):
    monkeypatch.setattr("autosparse.autos.backbones.trees.TREES", 4)
    digits, inputs, given = load_dataset("digits"), ("log_param", "layer_density"), {"rounds": 2, **options}
    expected, found = (
        fit_scorer(
            largest_survive, backbone, inputs, device=where, datasets={"digits": digits.to(where)},
            rows_in=tmp_path / where, **given,
        )
        for where in ("cpu", HERE)
    )  # fmt: skip
    assert next(iter(found.network.state_dict().values())).device.type == torch.device(HERE).type
    assert found.report["rows_used"] == expected.report["rows_used"]
    assert found.report["held_out_r2"] == pytest.approx(expected.report["held_out_r2"], abs=0.02)


def test_features_that_are_one_number_for_a_layer_are_read_there(device, largest_survive):
    digits = load_dataset("digits")
    inputs = (*check_inputs(["context"]), "depth", "density")
    options = {"rounds": 2, "examples": 100, "rows": 4000}
    expected, found = (
        fit_scorer(
            largest_survive, "linear", inputs, device=where, datasets={"digits": digits.to(where)}, **options
        ).report
        for where in ("cpu", HERE)
    )
    assert found["rows_used"] == expected["rows_used"]
    assert found["held_out_r2"] == pytest.approx(expected["held_out_r2"], abs=0.02)


def test_what_is_learned_there_from_networks_of_its_own_is_learned_on_the_cpu(device, largest_survive):
    digits = load_dataset("digits")
    made = {"criterion": "magnitude", "options": {}, "final_density": 0.2, "schedule": "geometric"}
    run = replace(largest_survive, provenance=largest_survive.provenance | made)
    options = {"rounds": 2, "examples": 50, "rows": 3000, "dagger": Dagger()}
    inputs = ("log_param", "layer_density")
    expected = fit_scorer(run, "linear", inputs, datasets={"digits": digits}, **options)
    found = fit_scorer(run, "linear", inputs, device=HERE, datasets={"digits": digits.to(HERE)}, **options)
    assert found.report["dagger"]["images"] == expected.report["dagger"]["images"] == 2 * len(digits.train)
    torch.testing.assert_close(found.network.coefficients.cpu(), expected.network.coefficients, rtol=0.1, atol=0.02)


@pytest.mark.slow
def test_a_refinement_there_goes_on_where_it_was(device, largest_survive, tmp_path):
    there, told = load_dataset("digits").to(HERE), []
    refine = RefineSpec(generations=2, population=4, sparsities=(0.95,), start=("log_param",))
    fit = FitSpec(backbone="linear", inputs=("log_param", "activation"), rounds=2, examples=50, refine=refine)
    task, store = ScorerTask.on(("0" * 16,), fit, "digits"), Store(tmp_path)

    def once(event):
        told.append(event)
        if "accuracy" in event:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(task, [largest_survive], store, HERE, once, there)
    result = run_fit(task, [largest_survive], store, HERE, told.append, there)
    assert [event["share"] for event in told if "accuracy" in event] == [0.5, 1.0]
    refined = result["report"]["refined"]
    assert len(refined["validation_accuracy"]) == 2
    assert refined["start"][0] > 0
    assert refined["start"][1] == 0
    assert refined["images"] == result["images"]
