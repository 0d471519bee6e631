"""Formulas found by sparse regression: what they must find again, and that they can be used as they stand."""

import pytest
import torch

from autosparse.autos.formulas import best_shape, formulas, library
from autosparse.criteria.expression import parse
from autosparse.criteria.features.find import find_feature
from autosparse.errors import AutosparseError


@pytest.fixture
def columns():
    draws = torch.Generator().manual_seed(0)
    return {name: torch.randn(4000, generator=draws) for name in ("log_param", "activation", "synflow")}


def test_a_sum_is_found_again(columns):
    said = 2 * columns["log_param"] - 0.5 * columns["synflow"] + 7
    one, two, *_ = formulas(columns, said)
    assert two.expression == "2 * log_param - 0.5 * synflow"
    assert two.r2 == pytest.approx(1, abs=1e-4)
    assert one.expression.endswith("* log_param")
    assert one.r2 == pytest.approx(4 / 4.25, abs=0.02)


def test_a_product_and_a_logarithm_are_found_again():
    draws = torch.Generator().manual_seed(0)
    raw = {"param": torch.randn(4000, generator=draws), "grad": 1e-3 * torch.randn(4000, generator=draws)}
    small = float((raw["param"] * raw["grad"]).double().square().mean().sqrt()) / 1000
    said = ((raw["param"] * raw["grad"]).abs() + small).log()
    first = formulas(raw, said)[0]
    assert first.expression.startswith("1 * log(abs(param * grad) + ")
    assert first.r2 > 0.999


def test_each_is_an_expression_of_the_inputs(columns):
    said = columns["log_param"].tanh() * columns["activation"].exp()
    for found in formulas(columns, said, most=6):
        parsed = parse(found.expression, find_feature)
        assert parsed.names <= set(columns)
        assert parsed({name: own.double() for name, own in columns.items()}).shape == (4000,)
        assert found.terms <= 6


def test_what_is_the_same_for_all_weights_has_no_formula(columns):
    with pytest.raises(AutosparseError, match="no formula of log_param, activation, synflow: the scores are the same"):
        formulas(columns, torch.full((4000,), 0.1))
    with pytest.raises(AutosparseError, match="no formula of density: the inputs are the same for all weights; fit"):
        formulas({"density": torch.full((4000,), -0.1)}, columns["synflow"])


def test_every_term_can_be_read():
    for text in library({"param": torch.randn(9), "grad": torch.randn(9), "fan_in": torch.randn(9)}):
        parse(text, find_feature)


CURVES = {
    "linear": torch.abs,
    "logarithm": lambda x: x.abs().log(),
    "root": lambda x: x.abs().sqrt(),
    "square": torch.square,
}


@pytest.mark.parametrize("name", CURVES)
def test_the_shape_of_a_curve_is_told(name):
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.01
    shapes = best_shape(x, CURVES[name](x))
    assert max(shapes, key=shapes.get) == name
    assert shapes[name] == pytest.approx(1, abs=1e-2)
