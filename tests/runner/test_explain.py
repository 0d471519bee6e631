"""An explanation: what it measures, that it goes on where it was, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from builders import lenet, survival_of_largest

from autosparse.autos import fit_scorer
from autosparse.autos.explain import Listening
from autosparse.autos.formulas import Formula
from autosparse.criteria import prune
from autosparse.errors import AutosparseError
from autosparse.runner.driver import explain as module
from autosparse.runner.driver.explain import FORMULA, PERMUTED, WHOLE, Explanation, Where, explain
from autosparse.training import Recipe

WHERE = Where("lenet-300-100", "digits", 0.8, (0, 1), Recipe(epochs=1), 300)


@pytest.fixture(scope="module")
def largest_survive():
    """A survival dataset from which a scorer for rounds learns that the largest weights stay."""
    return survival_of_largest(grad=lambda own: torch.randn(own.shape, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def in_rounds(largest_survive, digits):
    return fit_scorer(largest_survive, "linear", ("log_param", "density"), rounds=2, datasets={"digits": digits})


def test_inputs_and_formula_are_measured_and_kept(in_rounds, digits, tmp_path):
    told = []
    found = explain(in_rounds, WHERE, digits, tmp_path / "out", "cpu", lambda what, share: told.append(share))
    assert set(found.accuracy) == {
        WHOLE,
        PERMUTED + "log_param",
        PERMUTED + "density",
        FORMULA + found.formula.expression,
    }
    assert told[-1] == 1
    assert len(told) == 8
    assert found.by_seed(PERMUTED + "density") == found.by_seed(WHOLE)  # density is one number in each round
    assert [row["input"] for row in found.rows][-1] in ("density", "log_param")
    assert "log_param" in found.formula.expression
    assert found.formula.r2 > 0.99
    assert found.summary["formula"]["n"] == 2
    json.loads((tmp_path / "out" / "explanation.json").read_text())


def test_it_goes_on_after_what_is_measured(in_rounds, digits, tmp_path, monkeypatch):
    whole = explain(in_rounds, WHERE, digits, tmp_path / "whole", "cpu")

    def interrupted(what, share):
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain(in_rounds, WHERE, digits, tmp_path / "out", "cpu", interrupted)
    done, run_cells = [], module.run_cells
    monkeypatch.setattr(
        module, "run_cells", lambda cells, *rest, **more: done.append(cells) or run_cells(cells, *rest, **more)
    )
    again = explain(in_rounds, WHERE, digits, tmp_path / "out", "cpu")
    assert again.accuracy == whole.accuracy
    assert 0 < len(done) < 8
    assert explain(in_rounds, WHERE, digits, tmp_path / "out", "cpu").summary == whole.summary


def test_another_explanation_is_not_written_over(in_rounds, digits, tmp_path):
    explain(in_rounds, WHERE, digits, tmp_path, "cpu")
    with pytest.raises(
        AutosparseError, match="explains another scorer, or this one on other networks: give another --out"
    ):
        explain(in_rounds, Where("lenet-300-100", "digits", 0.5), digits, tmp_path, "cpu")


def test_the_shape_of_the_papers_curve_is_told(largest_survive, digits, tmp_path):
    paper = fit_scorer(largest_survive, "conditional-mean")
    found = explain(paper, WHERE, digits, tmp_path, "cpu")
    assert set(found.shapes) == {"param", "grad"}
    shape = found.shapes["param"]
    assert set(shape) == {"linear", "logarithm", "root", "square"}
    assert 0.2 < max(shape.values()) <= 1
    assert {row["input"] for row in found.rows} == {"param", "grad"}


@pytest.mark.parametrize("r2", [-0.1, float("nan")])
def test_a_scorer_that_no_formula_comes_near_has_the_longest(r2):
    found = Explanation(WHERE, "0" * 64, [Formula("param", 1, r2 - 1), Formula("param + grad", 2, r2)])
    assert found.formula.terms == 2


def test_rows_are_those_that_it_was_asked_about(in_rounds, digits):
    model = lenet(0)
    batches = list(digits.train.batches(200, limit=200))
    listening = Listening(in_rounds)
    heard = prune(model, "autos", 0.8, batches, scorer=listening)
    assert heard == prune(model, "autos", 0.8, batches, scorer=in_rounds)
    columns, said = listening.rows
    assert torch.equal(in_rounds.predict(columns), said)
    assert len(said) <= 2 * 3 * 2000


def test_findings_on_other_data_are_not_gone_on_with(in_rounds, digits, tmp_path):
    explain(in_rounds, WHERE, digits, tmp_path, "cpu")
    with pytest.raises(
        AutosparseError, match=r"the data of digits have changed since .* was begun: give another --out"
    ):
        explain(in_rounds, WHERE, replace(digits, fingerprint="0" * 16), tmp_path, "cpu")
