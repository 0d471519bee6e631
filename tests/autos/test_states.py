"""Rows from the states of an IRP run: what they hold, against a plain loop; and what cannot be made again."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import same_tensors

from autosparse.autos.features import rounds_for
from autosparse.autos.states import in_states
from autosparse.errors import AutosparseError
from autosparse.irp import Survival
from autosparse.masks import prunable
from autosparse.models import build_model
from autosparse.seeds import generator

INPUTS = ("param", "grad", "layer_density")


def rows(run, digits, inputs=INPUTS, **options):
    return in_states(run, {"digits": digits}, inputs, rounds_for(inputs, rounds=3), **options)


def test_rows_are_those_of_a_plain_loop(run, digits):
    model = build_model("lenet-300-100", 10, digits.input_shape, 5)
    x, y = map(torch.cat, zip(*digits.train.batches(512, generator(5, "score", 0), limit=300), strict=True))
    expected = []
    for i in range(4):
        for name, count in run.survived.items():
            masked = build_model("lenet-300-100", 10, digits.input_shape, 5)
            for own, weight in prunable(masked).items():
                weight.data *= run.survived[own] >= i
            F.cross_entropy(masked(x), y).backward()
            left = count >= i
            theta, grad = prunable(model)[name][left], prunable(masked)[name].grad[left]
            share = left.float().mean().log().expand(len(theta))
            expected.append(torch.stack([theta.detach(), grad, share, (count[left] - i) / (4 - i)]))
    expected = torch.cat(expected, 1)
    found = rows(run, digits)
    assert len(found) == expected.shape[1] == sum(run.masks(i).kept for i in range(4))
    for column, own in zip([*found.columns, found.target], expected, strict=True):
        torch.testing.assert_close(column, own, rtol=1e-4, atol=1e-6)
    assert len(found.stratum.unique()) > 12


def test_fewer_rows_are_a_sample_of_them_the_same_each_time(run, digits):
    some, again = rows(run, digits, most=4000), rows(run, digits, most=4000)
    assert len(some) == pytest.approx(4000, rel=0.1)
    assert all(torch.equal(a, b) for a, b in zip(some.columns, again.columns, strict=True))
    pairs = set(zip(rows(run, digits).columns[0].tolist(), rows(run, digits).target.tolist(), strict=True))
    assert pairs.issuperset(zip(some.columns[0].tolist(), some.target.tolist(), strict=True))


def test_a_sample_has_as_many_rows_however_many_states_there_are(run, digits):
    longer = Survival(
        run.param, run.grad, {n: c * 3 for n, c in run.survived.items()}, run.provenance | {"iterations": 12}
    )
    assert len(rows(longer, digits, most=4000)) == pytest.approx(4000, rel=0.1)  # of 6 states, not of 10


def test_at_most_ten_states_are_looked_at(run, digits):
    longer = Survival(
        run.param, run.grad, {n: c * 7 for n, c in run.survived.items()}, run.provenance | {"iterations": 25}
    )
    steps = range(0, 25, 3)
    assert len(rows(longer, digits)) == sum(longer.masks(i).kept for i in steps)
    assert len(steps) <= 10


def test_the_run_keeps_its_network_though_its_states_are_masked_and_trained(run, digits):
    rows(run, digits, ("param", "trained"))
    drawn = prunable(build_model("lenet-300-100", 10, digits.input_shape, 5))
    assert same_tensors(run.param, drawn)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dataset": "mnist"}, "dataset 'mnist' is not given"),
        (
            {"dataset_fingerprint": "0" * 16},
            "run was trained on 0000000000000000: bring those data, or run `autosparse irp`",
        ),
        ({"model": "no_such_package.nets:make"}, "network 'no_such_package.nets:make' again: model 'no_such_package"),
        ({"model": "lenet-5"}, "network 'lenet-5' again"),
        ({"model": "LeNet300100"}, "set survival.provenance['model'] to the name that build_model takes"),
    ],
)
def test_what_cannot_be_made_again_is_told_in_one_line(run, digits, changed, said):
    with pytest.raises(AutosparseError) as refused:
        rows(replace(run, provenance=run.provenance | changed), digits)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
