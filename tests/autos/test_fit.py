"""Fitting: it learns what is there to learn, says so, and warns if it did not."""

import pytest
import torch

from autosparse.autos import Scorer, fit_scorer
from autosparse.autos.backbones.mlp import MLP
from autosparse.autos.fit import ASKED_OF_COSTLY
from autosparse.autos.regression import State
from autosparse.errors import AutosparseError, NonFiniteLoss, UnknownName
from autosparse.irp import Survival
from autosparse.storage.checkpoints import Checkpoints


def synthetic(rows=40_000, noise=0.0, seed=0, signal=True, last_layer_scale=1.0):
    """Survival data whose score is a known function of (theta, g), as counts out of 20."""
    draws = torch.Generator().manual_seed(seed)
    last = min(1000, rows // 4)
    sizes = {"fc1.weight": rows - last, "fc2.weight": last}
    param, grad, survived = {}, {}, {}
    for name, size in sizes.items():
        theta, g = torch.randn(2, size, generator=draws) * torch.tensor([[0.05], [0.01]])
        score = (theta / 0.05).abs().clamp(max=2) / 4 + (g / 0.01).abs().clamp(max=2) / 4
        if not signal:
            score = torch.rand(size, generator=draws)
        score = (score + noise * torch.randn(size, generator=draws)).clamp(0, 1)
        if name == "fc2.weight":
            score = score * last_layer_scale
        param[name], grad[name] = theta, g
        survived[name] = (score * 20).round().int()
    return Survival(param, grad, survived, {"iterations": 20})


def test_a_noiseless_function_of_the_features_is_learned():
    report = fit_scorer(synthetic(), epochs=10).report
    assert report["held_out_r2"] > 0.95
    assert report["warnings"] == []


def test_a_costly_backbone_is_asked_about_a_bounded_number_of_rows(monkeypatch):
    asked, predict = [], Scorer.predict
    monkeypatch.setattr(MLP, "costly", True)
    monkeypatch.setattr(Scorer, "predict", lambda own, given: asked.append(len(given["param"])) or predict(own, given))
    data = synthetic(rows=60_000)
    report = fit_scorer(data, epochs=1).report
    assert max(asked) == ASKED_OF_COSTLY
    assert sum(asked) <= 3 * ASKED_OF_COSTLY
    monkeypatch.setattr(MLP, "costly", False)
    whole = fit_scorer(data, epochs=1).report
    for name in ("train_r2", "held_out_r2", "binned_mean_r2"):
        assert report[name] == pytest.approx(whole[name], abs=0.03)


def test_under_noise_the_fit_reaches_the_binned_conditional_mean():
    report = fit_scorer(synthetic(noise=0.3), epochs=10).report
    assert report["held_out_r2"] > 0.95 * report["binned_mean_r2"] > 0


def test_the_binned_mean_explains_nothing_of_pure_noise():
    report = fit_scorer(synthetic(signal=False), epochs=2).report
    assert abs(report["binned_mean_r2"]) < 0.05


def test_a_fit_that_explains_less_than_half_of_the_binned_mean_warns():
    report = fit_scorer(synthetic(), epochs=1, lr=1e-7).report
    assert any("has not learned" in warning for warning in report["warnings"])


def test_a_scorer_that_collapses_a_layer_warns():
    data = synthetic()
    data.param["fc2.weight"].mul_(1e-3)
    data.grad["fc2.weight"].mul_(1e-3)
    data.survived["fc2.weight"].zero_()
    report = fit_scorer(data, epochs=5).report
    assert report["collapsed_layers"] == ["fc2.weight"]
    assert any("fc2.weight" in warning for warning in report["warnings"])


def test_the_same_seed_gives_the_same_scorer_bit_for_bit():
    data = synthetic(rows=5000)
    a, b = (fit_scorer(data, epochs=2, seed=3).network.state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_features_are_standardised_by_the_train_rows_statistics():
    scorer = fit_scorer(synthetic(), epochs=1)
    assert scorer.standardisation.std == pytest.approx((0.05, 0.01), rel=0.05)


@pytest.mark.parametrize("inputs", [("param",), ("grad",), ("grad", "param")])
def test_inputs_may_be_any_of_the_two_in_any_order(inputs):
    data = synthetic(rows=5000)
    scorer = fit_scorer(data, inputs=inputs, epochs=1)
    features, _ = data.flat()
    assert scorer.inputs == inputs
    assert scorer.predict(features).shape == (5000,)


def test_several_survival_datasets_are_joined():
    scorer = fit_scorer([synthetic(rows=3000, seed=0), synthetic(rows=4000, seed=1)], epochs=1)
    assert scorer.provenance["rows"] == 7000


@pytest.mark.slow
def test_the_papers_resnet18_backbone_fits_and_scores():
    data = synthetic(rows=200)
    scorer = fit_scorer(data, backbone="resnet18", epochs=1, batch_size=64, lr=1e-3)
    assert sum(p.numel() for p in scorer.network.backbone.parameters()) == 11_173_962 + 22 * 513
    assert scorer.predict(data.flat()[0]).isfinite().all()


def test_a_diverging_fit_is_an_error_that_names_the_rate():
    with pytest.raises(NonFiniteLoss, match="lr"):
        fit_scorer(synthetic(rows=5000), lr=1e30, epochs=2)


@pytest.mark.parametrize(("arguments", "named"), [({"backbone": "mpl"}, "mlp"), ({"inputs": ["params"]}, "param")])
def test_unknown_names_suggest_the_nearest(arguments, named):
    with pytest.raises(UnknownName, match=f"did you mean '{named}'"):
        fit_scorer(synthetic(rows=2000), **arguments)


@pytest.mark.parametrize("inputs", [(), ("param", "param"), ("param", "grad", "param")])
def test_inputs_are_one_or_both_each_once(inputs):
    with pytest.raises(
        AutosparseError, match=r"scorer inputs must be param, grad or both, or features from .*, each once"
    ):
        fit_scorer(synthetic(rows=2000), inputs=inputs)


def test_no_survival_data_is_refused():
    with pytest.raises(AutosparseError, match="no survival dataset"):
        fit_scorer([])


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"lr": float("nan")}])
def test_settings_that_cannot_fit_are_refused(arguments):
    with pytest.raises(AutosparseError, match="a fit needs"):
        fit_scorer(synthetic(rows=2000), **arguments)


def test_a_fit_whose_last_step_diverges_is_an_error():
    with pytest.raises(NonFiniteLoss, match="not finite"):
        fit_scorer(synthetic(rows=2000), epochs=1, batch_size=10**6, lr=1e38)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_fit_that_goes_on_from_a_state_gives_the_same_scorer_bit_for_bit(stop, tmp_path):
    data, kept = synthetic(rows=5000), Checkpoints(tmp_path, "fit")

    def keep(epoch):
        if epoch.number == stop:
            state = epoch.state()
            kept.save(state.epoch, state.tensors, state.schedule)

    whole = fit_scorer(data, epochs=4, on_epoch=keep)
    found, later = kept.newest(), []
    resume = State(found.step, found.tensors, found.content)
    again = fit_scorer(data, epochs=4, on_epoch=lambda epoch: later.append(epoch.number), resume=resume)
    assert later == list(range(stop + 1, 5))
    assert again.report == whole.report
    a, b = again.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_look_at_the_scorer_after_an_epoch_does_not_change_the_fit():
    data, seen = synthetic(rows=5000), []
    watched = fit_scorer(data, epochs=3, on_epoch=lambda epoch: seen.append(epoch.held_out_r2()))
    assert watched.report == fit_scorer(data, epochs=3).report
    assert seen[-1] == watched.report["held_out_r2"]
    assert seen[0] < seen[-1]
