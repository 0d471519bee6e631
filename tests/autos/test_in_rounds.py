"""Scorers that prune in rounds: their masks, their files, and what they refuse."""

import json

import pytest
import torch

from autosparse.autos import fit_scorer, load_scorer
from autosparse.autos.features import Standardisation, check_inputs, rounds_for
from autosparse.criteria import prune, score
from autosparse.criteria.features.sets import CONTEXT, PROSPECT
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import write_record
from autosparse.models import build_model
from autosparse.seeds import generator

INPUTS = ("log_param", "activation", "synflow", "layer_density")


def network(digits, seed=9):
    return build_model("lenet-300-100", digits.num_classes, digits.input_shape, seed)


def scoring_batches(digits, seed=9):
    return list(digits.scoring_batches(generator(seed, "score"), limit=600))


def fitted(run, digits, inputs=INPUTS, backbone="linear", **options):
    return fit_scorer(run, backbone, inputs, datasets={"digits": digits}, **options)


@pytest.fixture(scope="module")
def scorer_in_rounds(run, digits):
    return fitted(run, digits, rounds=4, examples=100)


def test_a_linear_scorer_prunes_as_its_formula_does(scorer_in_rounds, digits):
    deviations = scorer_in_rounds.standardisation.std
    slopes = [float(c) / s for c, s in zip(scorer_in_rounds.network.coefficients, deviations, strict=True)]
    text = " + ".join(f"{slope!r} * {name}" for slope, name in zip(slopes, scorer_in_rounds.inputs, strict=True))
    by_formula = prune(
        network(digits), "formula", 0.9, scoring_batches(digits), expression=text, rounds=4, examples=100
    )
    found = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds)
    assert found.kept == by_formula.kept
    assert sum(int((found[n] != by_formula[n]).sum()) for n in found) <= 4  # ties of float32


@pytest.mark.parametrize("backbone", ["linear", "trees", "mlp"])
def test_a_saved_scorer_makes_the_same_masks(run, digits, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("autosparse.autos.backbones.trees.TREES", 20)
    made = fitted(run, digits, backbone=backbone, rounds=2, rows=5000)
    loaded = load_scorer(made.save(tmp_path / "scorer"))
    assert loaded.in_rounds == made.in_rounds
    both = [prune(network(digits), "autos", 0.8, scoring_batches(digits), scorer=own) for own in (made, loaded)]
    assert both[0] == both[1]
    assert json.loads((tmp_path / "scorer" / "scorer.json").read_text())["format"] == 2


def test_features_after_training_bring_steps_of_training(run, digits):
    made = fitted(run, digits, inputs=("trained", "log_param"), rounds=2, steps=3)
    assert made.in_rounds.steps.count == 3
    assert fitted(run, digits, inputs=("trained",), rounds=2).in_rounds.steps.count == 10
    masks = prune(network(digits), "autos", 0.8, scoring_batches(digits), scorer=made)
    other = prune(network(digits), "autos", 0.8, scoring_batches(digits), scorer=made, steps=1)
    assert masks.kept == other.kept
    assert masks != other


def test_rounds_and_revival_can_be_asked_for(scorer_in_rounds, digits):
    own = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds)
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds, rounds=4) == own
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds, rounds=1) != own
    assert (
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds, revive=True).kept
        == own.kept
    )


def test_rounds_that_end_below_the_sparsity_are_cut_and_those_that_end_above_are_refused(scorer_in_rounds, digits):
    options = {"scorer": scorer_in_rounds, "rounds": 2}
    kept = prune(network(digits), "autos", 0.9, scoring_batches(digits), **options).kept
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), near=0.8, **options).kept == kept
    with pytest.raises(
        AutosparseError, match=rf"left only \d+ of the {kept} weights that stay at sparsity 0.9: option near"
    ):
        prune(network(digits), "autos", 0.9, scoring_batches(digits), near=0.95, **options)


def test_the_papers_scorer_in_one_round_is_its_one_shot(run, digits):
    paper = fit_scorer(run, "conditional-mean")
    assert paper.in_rounds is None
    one = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=paper)
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=paper, rounds=1) == one
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=paper, rounds=5) != one


def test_scores_without_a_sparsity_are_refused(scorer_in_rounds, digits):
    with pytest.raises(AutosparseError, match="prunes in rounds: give near, the sparsity to prune to"):
        score(network(digits), "autos", scoring_batches(digits), scorer=scorer_in_rounds)


def test_scores_are_of_what_is_left(scorer_in_rounds, digits):
    scores = score(network(digits), "autos", scoring_batches(digits), scorer=scorer_in_rounds, near=0.9)
    masks = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds)
    assert all(torch.equal(own.isfinite(), masks[name]) for name, own in scores.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 2}, "this scorer reads no feature measured after training steps: leave steps out"),
        ({"mode": "train"}, "option mode is 'train', but the scorer learned from gradients in mode 'eval'"),
    ],
)
def test_what_it_was_not_made_for_is_refused(scorer_in_rounds, digits, options, said):
    with pytest.raises(AutosparseError, match=said):
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=scorer_in_rounds, **options)


def test_features_that_need_data_are_not_made_without(scorer_in_rounds, digits):
    with pytest.raises(AutosparseError, match="this scorer reads 'activation', which needs data: pass batches"):
        prune(network(digits), "autos", 0.9, scorer=scorer_in_rounds)


def test_frozen_weights_cannot_be_trained_for_features(run, digits):
    made, frozen = fitted(run, digits, inputs=("trained",), rounds=2), network(digits)
    frozen.requires_grad_(False)
    with pytest.raises(AutosparseError, match="does not require a gradient: unfreeze it"):
        prune(frozen, "autos", 0.9, scoring_batches(digits), scorer=made)


def test_sets_are_written_out():
    assert check_inputs(["context"]) == CONTEXT
    assert check_inputs(["prospect", "snip"]) == (*PROSPECT, "snip")
    with pytest.raises(AutosparseError, match="each once"):
        check_inputs(["context", "log_param"])


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (("log_param",), {"steps": 3}, "none of the inputs log_param is measured after training"),
        (("trained",), {"steps": 0}, "input 'trained' is measured after training: give steps of 1 or more"),
    ],
)
def test_steps_go_with_features_after_training(inputs, options, said):
    with pytest.raises(AutosparseError, match=said):
        rounds_for(inputs, **options)


def test_a_fit_needs_the_data_and_a_backbone_for_so_many_inputs(run, digits):
    with pytest.raises(AutosparseError, match="dataset 'digits' is not given"):
        fit_scorer(run, "linear", ("log_param",))
    with pytest.raises(AutosparseError, match="'conditional-mean' takes at most 2 inputs, got 12"):
        fitted(run, digits, inputs=("context",), backbone="conditional-mean")


@pytest.mark.parametrize(
    "damage", [{"rounds": 0}, {"examples": 0}, {"revive": "no"}, {"steps": {"count": -1}}, {"steps": 3}, {"more": 1}]
)
def test_rounds_that_make_no_sense_are_a_damaged_file(scorer_in_rounds, tmp_path, damage):
    folder = scorer_in_rounds.save(tmp_path / "scorer")
    config = json.loads((folder / "scorer.json").read_text())
    del config["checksum"]
    config["in_rounds"] |= damage
    write_record(folder / "scorer.json", config)
    with pytest.raises(CorruptFile):
        load_scorer(folder)


def test_its_report_says_what_it_prunes(scorer_in_rounds, run, digits):
    own = build_model("lenet-300-100", digits.num_classes, digits.input_shape, 5)
    given = list(digits.scoring_batches(generator(5, "score", 0), limit=300))
    masks = prune(own, "autos", 0.95, given, scorer=scorer_in_rounds)
    assert scorer_in_rounds.report["layer_density_at_95"] == masks.density_by_layer()
    assert "binned_mean_r2" not in scorer_in_rounds.report


def test_a_permuted_input_says_nothing(run, digits):
    """If one input alone decides, permuting it leaves chance; permuting one that is constant changes nothing."""
    one = fitted(run, digits, inputs=("log_param", "density"), rounds=3)
    own = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one)
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, permute="density") == own
    other = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, permute="log_param")
    overlap = sum(int((own[name] & other[name]).sum()) for name in own) / own.kept
    assert overlap == pytest.approx(0.1, abs=0.03)
    again = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, permute="log_param", seed=1)
    assert again != other
    with pytest.raises(AutosparseError, match="unknown input of this scorer to permute 'log_parm': did you mean"):
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, permute="log_parm")


def test_what_the_papers_scorer_reads_can_be_permuted_too(run, digits):
    paper = fit_scorer(run, "conditional-mean")
    both = [
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=paper, permute=own)
        for own in (None, "param")
    ]
    assert sum(int((both[0][name] & both[1][name]).sum()) for name in both[0]) < 0.7 * both[0].kept


def test_inputs_further_from_their_means_than_clip_says_are_taken_there(run, digits):
    """Very wide limits change no mask and narrow ones do; a value beyond a limit becomes that limit."""
    one = fitted(run, digits, inputs=("log_param", "layer_density"), rounds=3)
    own = prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one)
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, clip=1e6) == own
    assert prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, clip=0.5) != own
    given = {"log_param": torch.tensor([-100.0, 0.25, 100.0]), "layer_density": torch.zeros(3)}
    one.standardisation = Standardisation((0.0, 0.0), (2.0, 1.0))
    assert one.clipped(given, 3.0)["log_param"].tolist() == [-6.0, 0.25, 6.0]
    with pytest.raises(AutosparseError, match="option 'clip' of 'autos' must be a number greater than 0, got 0"):
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=one, clip=0)


def test_the_papers_scorer_can_be_clipped_too(run, digits):
    paper = fit_scorer(run, "conditional-mean")
    given = {"param": torch.linspace(-9, 9, 50), "grad": torch.zeros(50)}
    ends, mean, std = paper.clipped(given, 1.0)["param"], paper.standardisation.mean[0], paper.standardisation.std[0]
    assert (float(ends.min()), float(ends.max())) == pytest.approx((mean - std, mean + std))
    whole, clipped = (
        prune(network(digits), "autos", 0.9, scoring_batches(digits), scorer=paper, clip=c) for c in (None, 0.5)
    )
    assert whole != clipped


def test_of_more_states_than_memory_has_room_for_a_sample_is_taken(run, digits, monkeypatch):
    monkeypatch.setattr("autosparse.autos.fit.MOST_ROWS", 5000)
    sampled = fit_scorer(run, "linear", ["log_param", "layer_density"], datasets={"digits": digits})
    assert sampled.provenance["rows"] == pytest.approx(6000, rel=0.05)
