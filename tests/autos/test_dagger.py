"""DAgger: what the expert says of networks that the scorer has pruned, and what learning from it is good for."""

from dataclasses import replace

import pytest
import torch

from autosparse.autos import fit_scorer
from autosparse.autos.dagger import Dagger, rows_met, shares
from autosparse.autos.diagnostics import r_squared
from autosparse.criteria import prune, score
from autosparse.errors import AutosparseError
from autosparse.experiment.tasks import FitSpec
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.seeds import derive_seed, generator
from autosparse.training import Recipe, train

INPUTS = ("log_param", "log_grad", "layer_density")
OPTIONS = {"rounds": 3, "examples": 200}


def fitted(run, digits, **options):
    return fit_scorer(run, "linear", INPUTS, datasets={"digits": digits}, **OPTIONS, **options)


@pytest.mark.parametrize("i", [0, 1, 2, 3])
def test_the_expert_that_ranks_as_irp_did_says_what_irp_says(run, i):
    masks = run.masks(i)
    counts = {name: count.float() for name, count in run.survived.items()}
    said = shares(counts, masks, 4, 0.05, "geometric")
    for name, count in run.survived.items():
        torch.testing.assert_close(said[name], (count[masks[name]] - i).float() / (4 - i))


def test_between_two_iterations_only_those_that_prune_count():
    masks = Masks({"w": torch.arange(100) < 60})
    said = shares({"w": torch.arange(100).float()}, masks, 4, 0.2, "linear")["w"]  # keeps 80, 60, 40, 20
    assert said.tolist() == [0.0] * 20 + [0.5] * 20 + [1.0] * 20
    assert shares({"w": torch.arange(100).float()}, Masks({"w": torch.arange(100) < 20}), 4, 0.2, "linear") is None


def test_rows_are_of_the_networks_that_pruning_goes_through(run, digits):
    scorer = fitted(run, digits)
    found, images = rows_met(scorer, [run], {"digits": digits}, Dagger(), 1)
    assert images == 3 * len(digits.train)

    seed = derive_seed(5, "dagger", 1, 0)
    model = build_model("lenet-300-100", 10, digits.input_shape, seed)
    total = sum(p.numel() for p in run.param.values())
    densities = [0.05 ** (r / 3) for r in range(3)]
    assert len(found) == sum(total - round(total * (1 - density)) for density in densities)

    # the rows of the dense network: features at initialisation, and one epoch of IRP by SNIP from there
    weights = [own.detach() for name, own in model.named_parameters() if name in run.param]
    expected = torch.cat([(w.abs() * w.shape[1] ** 0.5 + 1e-6).log().flatten() for w in weights])
    torch.testing.assert_close(found.columns[0][:total], expected, rtol=1e-4, atol=1e-5)
    train(model, digits, Recipe(epochs=1), Masks.dense(model), seed)
    batches = digits.scoring_batches(generator(seed, "expert"), limit=300)
    said = torch.cat([own.flatten() for own in score(model, "snip", batches).values()])
    kept = [total - round(total * (1 - 0.05 ** (j / 4))) for j in range(1, 5)]
    order = said.argsort(descending=True)
    expected = sum(torch.zeros(total).index_fill(0, order[:k], 0.25) for k in kept)
    assert (found.target[:total] == expected).float().mean() > 0.999  # but for ties


def test_a_sample_of_them_is_smaller_and_the_same_each_time(run, digits):
    scorer = fitted(run, digits)
    some, again = (rows_met(scorer, [run], {"digits": digits}, Dagger(), 1, most=3000)[0] for _ in range(2))
    assert len(some) == pytest.approx(3000, rel=0.1)
    assert torch.equal(some.target, again.target)
    other, _ = rows_met(scorer, [run], {"digits": digits}, Dagger(), 2, most=3000)
    assert len(other) != len(some) or not torch.equal(other.target, some.target)


def test_it_knows_better_what_it_meets_than_one_that_has_only_seen_irp(run, digits):
    before, after = fitted(run, digits), fitted(run, digits, dagger=Dagger(passes=2))
    met, _ = rows_met(after, [run], {"digits": digits}, Dagger(), 99)
    features = dict(zip(INPUTS, met.columns, strict=True))
    assert r_squared(after.predict(features), met.target) > r_squared(before.predict(features), met.target)
    told = after.report["dagger"]
    assert told["images"] == 2 * 3 * len(digits.train)
    assert told["rows"] == after.provenance["rows"] - before.provenance["rows"]


def test_it_is_reproducible_and_prunes(run, digits, tmp_path):
    one, two = (fitted(run, digits, dagger=Dagger(), rows=5000) for _ in range(2))
    assert torch.equal(one.network.coefficients, two.network.coefficients)
    batches = list(digits.train.batches(100, generator(0, "score"), limit=200))
    model = build_model("lenet-300-100", 10, digits.input_shape, 9)
    assert prune(model, "autos", 0.9, batches, scorer=one).sparsity == pytest.approx(0.9, abs=1e-4)


def test_a_scorer_for_one_shot_meets_nothing(run):
    with pytest.raises(AutosparseError, match="dagger is for a scorer that prunes in rounds: give rounds"):
        fit_scorer(run, "linear", dagger=Dagger())
    with pytest.raises(ValueError, match="dagger: is for a scorer that prunes in rounds"):
        FitSpec(dagger={"passes": 1})


def test_a_network_that_the_expert_cannot_score_is_left_out(run, digits, monkeypatch):
    scorer, calls = fitted(run, digits), []

    def failing(*given, **options):
        calls.append(given)
        if len(calls) == 2:
            raise AutosparseError("every score is 0")
        return score(*given, **options)

    monkeypatch.setattr("autosparse.autos.dagger.score", failing)
    found, images = rows_met(scorer, [run], {"digits": digits}, Dagger(), 1)
    total = sum(p.numel() for p in run.param.values())
    assert len(found) == sum(total - round(total * (1 - 0.05 ** (r / 3))) for r in (0, 2))
    assert images == 3 * len(digits.train)


def test_the_reason_is_told_if_the_expert_can_score_none(run, digits, monkeypatch):
    def failing(*_, **__):
        raise AutosparseError("every score is 0")

    monkeypatch.setattr("autosparse.autos.dagger.score", failing)
    with pytest.raises(AutosparseError, match=r"could be trained and scored \(every score is 0\); fit without dagger"):
        rows_met(fitted(run, digits), [run], {"digits": digits}, Dagger(), 1)


def test_trainings_that_all_diverge_are_told(run, digits):
    wild = replace(run, provenance=run.provenance | {"recipe": run.provenance["recipe"] | {"lr": 1e30}})
    with pytest.raises(AutosparseError, match="DAgger: no network that the scorer pruned could be trained"):
        fitted(wild, digits, dagger=Dagger())


def test_what_was_fitted_before_there_was_dagger_has_the_id_it_had():
    assert "dagger" not in FitSpec(inputs=("context",), backbone="linear").model_dump(exclude_defaults=True)
