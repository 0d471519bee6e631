"""Scorer folders: round trip, and refusal of anything damaged or foreign."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from builders import a_survival, lenet

from autosparse.autos import fit_scorer, load_scorer
from autosparse.autos.diagnostics import binned_mean_r_squared, r_squared
from autosparse.criteria import score
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.irp import Survival
from autosparse.masks import prunable


@pytest.fixture(scope="module")
def scorer():
    return fit_scorer(a_survival(4000, count=lambda param: (param.abs().clamp(max=2) * 10).round().int()), epochs=2)


@pytest.fixture
def scorer_folder(scorer, tmp_path):
    return scorer.save(tmp_path / "scorer")


def test_a_scorer_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def closed(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", closed)
    with pytest.raises(AutosparseError, match=r"cannot read the scorer in .*: Permission denied; ask its owner"):
        load_scorer(tmp_path)


def test_a_saved_scorer_predicts_bit_for_bit_the_same(scorer, scorer_folder):
    features = {"param": torch.linspace(-3, 3, 1000), "grad": torch.zeros(1000)}
    loaded = load_scorer(scorer_folder)
    assert torch.equal(loaded.predict(features), scorer.predict(features))
    assert loaded.report == scorer.report
    assert loaded.provenance == scorer.provenance


def test_a_scorer_folder_holds_safetensors_and_json_only(scorer_folder):
    assert sorted(path.name for path in scorer_folder.iterdir()) == ["scorer.json", "scorer.safetensors"]
    json.loads((scorer_folder / "scorer.json").read_text())


@pytest.mark.parametrize("name", ["scorer.json", "scorer.safetensors"])
def test_a_truncated_file_is_refused_by_name(scorer_folder, name):
    path = scorer_folder / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFile, match=name):
        load_scorer(scorer_folder)


def test_an_edited_config_is_refused(scorer_folder):
    path = scorer_folder / "scorer.json"
    path.write_text(path.read_text().replace('"mlp"', '"resnet18"'))
    with pytest.raises(CorruptFile, match="checksum"):
        load_scorer(scorer_folder)


def test_a_pickle_in_place_of_the_weights_is_never_loaded(scorer_folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (scorer_folder / "scorer.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CorruptFile):
        load_scorer(scorer_folder)
    assert not (tmp_path / "exploded").exists()


def test_an_absent_scorer_is_told_from_a_damaged_one(tmp_path):
    with pytest.raises(AutosparseError, match="no scorer in"):
        load_scorer(tmp_path)


def test_a_missing_feature_is_named(scorer):
    with pytest.raises(AutosparseError, match="'grad' is missing"):
        scorer.predict({"param": torch.zeros(3)})


def test_autos_scores_every_prunable_weight_from_its_value_and_gradient(scorer):
    model = lenet(1)
    x, y = torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))
    scores = score(model, "autos", [(x, y)], scorer=scorer)
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), list(prunable(model).values()))
    for (name, weight), gradient in zip(prunable(model).items(), gradients, strict=True):
        expected = scorer.predict({"param": weight.detach().flatten(), "grad": gradient.flatten()})
        assert torch.allclose(scores[name].flatten(), expected, atol=1e-6)


def test_autos_without_data_is_refused_where_gradients_are_read(scorer):
    with pytest.raises(AutosparseError, match="needs data"):
        score(lenet(), "autos", scorer=scorer)


def test_r_squared_is_one_for_the_target_and_zero_for_its_mean():
    target = torch.tensor([0.0, 1.0, 2.0, 5.0])
    assert r_squared(target, target) == 1.0
    assert r_squared(torch.full((4,), 2.0), target) == pytest.approx(0.0)


def test_the_binned_mean_of_two_clusters_explains_their_difference():
    column = torch.cat([torch.zeros(500), torch.ones(500)]) + torch.linspace(0, 0.1, 1000)
    target = (column > 0.5).float()
    assert binned_mean_r_squared(([column], target), ([column], target)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("wrong", [None, "path/to/scorer"])
def test_autos_with_something_else_than_a_scorer_says_what_to_pass(wrong):
    with pytest.raises(AutosparseError, match="load_scorer"):
        score(lenet(), "autos", scorer=wrong)


def test_a_fits_folder_in_the_storage_is_taken_for_its_scorer(scorer, scorer_folder, tmp_path):
    scorer_folder.rename(tmp_path / "id")
    (tmp_path / "storage").mkdir()
    (tmp_path / "id").rename(tmp_path / "storage" / "scorer")
    assert load_scorer(tmp_path / "storage").report == scorer.report


def fitted_in(*modes, inputs=("param", "grad")):
    """A scorer fitted on survival data of a small network, one dataset per mode; None: no mode is recorded."""
    draws = torch.Generator().manual_seed(0)
    sets = []
    for mode in modes:
        theta, g = torch.randn(2, 400, generator=draws)
        told = {"iterations": 20, **({} if mode is None else {"gradient_mode": mode})}
        sets.append(Survival({"w": theta}, {"w": g}, {"w": (theta.abs().clamp(max=2) * 10).round().int()}, told))
    return fit_scorer(sets, inputs=inputs, epochs=1)


@pytest.fixture
def normalised_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


@pytest.fixture
def batch():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(20, 4, generator=draws), torch.randint(3, (20,), generator=draws)


@pytest.mark.parametrize(("told", "mode"), [("eval", "eval"), ("train", "train"), (None, "train")])
def test_a_scorer_says_in_which_mode_it_learned(told, mode, tmp_path):
    """Survival data from before the mode was recorded hold gradients of training mode."""
    scorer = fitted_in(told)
    assert scorer.gradient_mode == load_scorer(scorer.save(tmp_path / "scorer")).gradient_mode == mode
    scorer.provenance.pop("gradient_mode")  # as in a scorer from before the mode was recorded
    assert load_scorer(scorer.save(tmp_path / "old")).gradient_mode == "train"


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("left", ["eval", "train"])
def test_autos_takes_its_gradient_in_the_mode_of_the_scorer(mode, left, normalised_network, batch):
    scorer, model = fitted_in(mode), normalised_network.train(left == "train")
    found = score(model, "autos", [batch], scorer=scorer)
    assert model.training is (left == "train")
    x, y = batch
    weights = list(prunable(model.train(mode == "train")).values())
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), weights)
    features = {
        "param": torch.cat([w.detach().flatten() for w in weights]),
        "grad": torch.cat([g.flatten() for g in gradients]),
    }
    torch.testing.assert_close(torch.cat([s.flatten() for s in found.values()]), scorer.predict(features))


def test_autos_refuses_the_other_mode(normalised_network, batch):
    with pytest.raises(AutosparseError, match=r"mode is 'train', but the scorer learned from gradients in mode 'eval'"):
        score(normalised_network, "autos", [batch], scorer=fitted_in("eval"), mode="train")
    score(normalised_network, "autos", [batch], scorer=fitted_in("eval"), mode="eval")
    score(normalised_network, "autos", scorer=fitted_in("eval", inputs=("param",)), mode="train")  # reads no gradient


@pytest.mark.parametrize("other", ["train", None])
def test_survival_data_of_two_modes_are_not_merged(other):
    with pytest.raises(AutosparseError, match="gradients of both modes, train and eval"):
        fitted_in("eval", other)
    assert fitted_in("eval", other, inputs=("param",)).inputs == ("param",)


def test_a_scorer_that_an_earlier_version_stored_scores_as_it_did():
    stored = load_scorer(Path(__file__).parent / "stored" / "format-1")
    assert stored.in_rounds is None
    found = stored.predict({"param": torch.tensor([-3.0, -1.0, -0.1, 0.0, 0.5, 2.0])})
    then = [1.0289037227630615, 0.5102325081825256, 0.08044858276844025, 0.07233761250972748, 0.2217720001935959,
            0.9349249005317688]  # fmt: skip
    torch.testing.assert_close(found, torch.tensor(then), rtol=1e-6, atol=0)
