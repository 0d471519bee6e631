"""Formulas of features: what they compute, which criteria they give back, and what they refuse."""

import math

import pytest
import torch
from builders import a_grid
from hypothesis import given
from hypothesis import strategies as st
from small_nets import NETS, data, make

from autosparse.criteria import prune, score
from autosparse.criteria.expression import parse
from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.load import parse_experiment
from autosparse.masks import prunable


def find(name):
    """Two names are known."""
    if name not in ("a", "b"):
        raise UnknownName("feature", name, ["a", "b"])


NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.floats(0.5, 3).map(lambda value: repr(round(value, 3)))
TEXTS = st.recursive(
    NAMES | NUMBERS,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/"), part).map(" ".join).map("({})".format),
        st.tuples(st.sampled_from(["abs", "tanh", "sigmoid", "sign"]), part).map("{0[0]}({0[1]})".format),
        st.tuples(st.sampled_from(["max", "min"]), part, part).map("{0[0]}({0[1]}, {0[2]})".format),
        part.map("(-{})".format),
        part.map("(abs({}) ** 1.5)".format),
    ),
    max_leaves=12,
)
PYTHON = {
    "abs": abs, "tanh": math.tanh, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "max": max, "min": min,
    "sign": lambda x: (x > 0) - (x < 0),
}  # fmt: skip


@given(TEXTS, st.floats(0.1, 2), st.floats(-2, -0.1))
def test_it_is_the_arithmetic_of_python(text, a, b):
    text = f"{text} + 0 * a"
    try:
        expected = eval(text, {"__builtins__": {}}, {**PYTHON, "a": a, "b": b})  # of our own making
    except (ZeroDivisionError, OverflowError):
        return
    doubles = {"a": torch.tensor([a], dtype=torch.float64), "b": torch.tensor([b], dtype=torch.float64)}
    found = parse(text, find)(doubles)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c + 1", "unknown feature 'c'"),
        ("log_parm", "unknown feature 'log_parm'"),
        ("sin(a)", "unknown function 'sin'"),
        ("abs(a, b)", "abs takes 1 value, got abs(a, b)"),
        ("max(a)", "max takes 2 values, got max(a)"),
        ("a +", "cannot be read"),
        ("", "cannot be read"),
        ("1 + 2", "names no feature"),
        ("a.real", "is not arithmetic"),
        ("a[0]", "is not arithmetic"),
        ("__import__('os').system('true')", "is not arithmetic"),
        ("(lambda: a)()", "is not arithmetic"),
        ("'text' * a", "is not arithmetic"),
        ("True * a", "is not arithmetic"),
        ("1j * a", "is not arithmetic"),
        ("a if b else a", "is not arithmetic"),
        ("a < b", "is not arithmetic"),
        ("abs(x=a)", "is not arithmetic"),
        ("a % b", "is not arithmetic"),
        ("a + 1" + "0" * 400, "int too large to convert to float"),
        ("(" * 3000 + "a" + ")" * 3000, "cannot be read"),
        ("a" + " + a" * 6000, "at most 10000 are read"),
    ],
)
def test_what_is_no_arithmetic_of_known_names_is_refused_in_one_line(text, said):
    with pytest.raises(AutosparseError) as refused:
        parse(text, find)
    assert said in str(refused.value)
    assert isinstance(refused.value, UnknownName) == said.startswith("unknown")


def by(expression, net, sparsity=0.6, **options):
    return prune(make(net), "formula", sparsity, data(), expression=expression, **options)


@pytest.mark.parametrize("net", NETS)
def test_known_criteria_are_formulas(net):
    assert by("abs(param)", net) == prune(make(net), "magnitude", 0.6)
    assert by("abs(param * grad)", net) == prune(make(net), "snip", 0.6, data())
    assert prune(make(net), "formula", 0.6, data()) == prune(make(net), "snip", 0.6, data())
    assert by("log_product", net, mode="train") == prune(make(net), "snip", 0.6, data(), mode="train")
    assert by("hessian_gradient", net) == prune(make(net), "grasp", 0.6, data(), mode="eval")
    assert by("synflow", net, rounds=4) == prune(make(net), "synflow", 0.6, data(), rounds=4)


@pytest.mark.parametrize("net", NETS)
def test_with_revival_it_is_force(net):
    whole = [tuple(map(torch.cat, zip(*data(), strict=True)))]
    found = prune(make(net), "formula", 0.8, whole, expression="log_product", rounds=4, revive=True)
    assert found == prune(make(net), "force", 0.8, whole, rounds=4, mode="eval")
    assert found != prune(make(net), "iter-snip", 0.8, whole, rounds=4, mode="eval")


def test_gradients_are_those_of_the_first_examples():
    first = data()[0][0][:5], data()[0][1][:5]
    assert by("grad", "conv", examples=5) == prune(make("conv"), "formula", 0.6, [first], expression="grad")
    assert by("grad", "conv", examples=5) != by("grad", "conv")
    assert by("grad", "conv", examples=10**6) == by("grad", "conv")


@pytest.mark.parametrize("net", NETS)
def test_a_criterion_is_a_feature(net):
    assert by("snip", net) == prune(make(net), "snip", 0.6, data(), mode="eval")
    assert by("grasp", net) == prune(make(net), "grasp", 0.6, data(), mode="eval")


@pytest.mark.parametrize("net", NETS)
def test_after_a_few_steps_it_is_early_pruning(net):
    brief = {"steps": 2, "rounds": 3, "lr": 0.2, "momentum": 0.5, "batch_size": 4}
    assert by("trained", net, **brief) == prune(make(net), "early", 0.6, data(), **brief)


def test_only_what_is_left_is_ranked_and_features_of_the_rest_may_be_infinite():
    scores = score(make("linear"), "formula", data(), expression="input_left + 0.1 * log_param", sparsity=0.8, rounds=4)
    kept = sum(int(s.isfinite().sum()) for s in scores.values())
    total = sum(weight.numel() for weight in prunable(make("linear")).values())
    assert kept == total - round(total * 0.8)


def test_a_number_alone_is_added_to_every_weight():
    assert by("param - 3", "conv") == by("param", "conv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expression": "moved"}, "reads 'moved', a feature measured after training steps: set steps to 1 or more"),
        ({"expression": "param", "steps": 2}, "reads no feature measured after training steps: leave steps out"),
        ({"expression": "log(param)"}, "expression 'log(param)' is not finite at"),
        ({"expression": "param + 1 / 0"}, "is not finite at"),
        ({"expression": "param * 10 ** 10 ** 10"}, "is not finite at"),
        ({"expression": "param * (0 - 1) ** 0.5"}, "is not finite at"),
        ({"expression": 3}, "'expression' of 'formula' must be an expression of features, got 3"),
    ],
)
def test_what_cannot_score_is_refused_in_one_line(options, said):
    with pytest.raises(AutosparseError) as refused:
        prune(make("linear"), "formula", 0.5, data(), **options)
    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["a" + " + 1" * 500, "a" + " ** 1" * 400, "-" * 500 + "a"], ids=["+", "**", "-"])
def test_what_python_could_not_evaluate_is_refused_when_it_is_read(text):
    with pytest.raises(AutosparseError, match="nests, or adds up, more than 300 terms"):
        parse(text, find)


def test_long_sums_are_evaluated_deep_within_other_calls():
    parsed = parse("a" + " + 1" * 290, find)

    def within(calls):
        return within(calls - 1) if calls else parsed({"a": torch.zeros(1)})

    assert within(150).item() == 290


def test_a_file_with_an_unknown_name_is_refused_before_anything_runs():
    method = {"criterion": "formula", "options": {"expression": "log_parm"}}
    with pytest.raises(AutosparseError, match="log_parm"):
        parse_experiment({"name": "x", "grid": a_grid(methods=[method])}, "x.yaml")
