"""Lin's concordance against hand numbers and its textbook decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.analysis import concordance, survival_concordance
from autosparse.errors import AutosparseError
from autosparse.irp import Survival


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_hand_numbers():
    # means 2 and 3, variances 2/3 and 2/3, covariance 2/3: (4/3) / (4/3 + 1)
    assert concordance(tensor(1, 2, 3), tensor(2, 3, 4)) == pytest.approx(4 / 7)
    # as many pairs in reverse: covariance -2/3
    assert concordance(tensor(1, 2, 3), tensor(3, 2, 1)) == pytest.approx(-1)
    # means 0.5 and 0.25, variances 1/4 and 3/16, covariance 1/8: (1/4) / (7/16 + 1/16)
    assert concordance(tensor(0, 0, 1, 1), tensor(0, 0, 0, 1)) == pytest.approx(1 / 2)


def test_constants_agree_only_where_they_are_equal():
    assert concordance(tensor(2, 2), tensor(2, 2)) == 1
    assert concordance(tensor(2, 2), tensor(3, 3)) == 0
    assert concordance(tensor(2, 2), tensor(1, 3)) == 0


values = st.lists(st.tuples(*2 * [st.integers(-50, 50)]), min_size=3, max_size=30)


@given(values.filter(lambda pairs: all(len(set(column)) > 1 for column in zip(*pairs, strict=True))))
def test_it_is_pearsons_correlation_times_the_bias_correction(pairs):
    x, y = np.array(pairs, dtype=np.float64).T
    scale = np.std(x) / np.std(y)
    shift = (x.mean() - y.mean()) / np.sqrt(np.std(x) * np.std(y))
    bias_correction = 2 / (scale + 1 / scale + shift**2)
    expected = np.corrcoef(x, y)[0, 1] * bias_correction
    assert concordance(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, abs=1e-12)


@given(values, st.data())
def test_a_weight_counts_a_pair_that_many_times(pairs, data):
    x, y = (torch.tensor(column, dtype=torch.float32) for column in zip(*pairs, strict=True))
    counts = torch.tensor(data.draw(st.lists(st.integers(1, 4), min_size=len(pairs), max_size=len(pairs))))
    repeated = concordance(x.repeat_interleave(counts), y.repeat_interleave(counts))
    assert concordance(x, y, counts) == pytest.approx(repeated, abs=1e-12)


def test_large_means_do_not_cancel():
    x, y = tensor(1, 2, 3) + 1e8, tensor(1, 2, 4) + 1e8
    assert concordance(x, y) == pytest.approx(concordance(tensor(1, 2, 3), tensor(1, 2, 4)))


def test_shapes_that_differ_and_no_values_are_refused():
    with pytest.raises(AutosparseError, match=r"shapes \(2,\) and \(3,\)"):
        concordance(torch.ones(2), torch.ones(3))
    with pytest.raises(AutosparseError, match="in pairs"):
        concordance(torch.ones(0), torch.ones(0))


def survival_counting(counts, iterations=4):
    counts = {name: torch.tensor(count, dtype=torch.int32) for name, count in counts.items()}
    zeros = {name: torch.zeros(count.shape) for name, count in counts.items()}
    return Survival(zeros, zeros, counts, {"iterations": iterations, "model": "tiny"})


def test_survival_scores_are_compared_over_all_layers_whatever_their_order():
    a = survival_counting({"a": [0, 0], "b": [4, 4]})
    assert survival_concordance(a, survival_counting({"b": [4, 4], "a": [0, 0]})) == pytest.approx(1)
    assert survival_concordance(a, survival_counting({"a": [0, 0], "b": [0, 4]})) == pytest.approx(1 / 2)


def test_survival_scores_not_counts_are_compared():
    assert survival_concordance(survival_counting({"a": [0, 2, 4]}), survival_counting({"a": [0, 4, 8]}, 8)) == 1


def test_survival_of_other_layers_is_refused():
    with pytest.raises(AutosparseError, match=r"tiny has 2 weights in 1 layers, tiny 3 in 1"):
        survival_concordance(survival_counting({"a": [1, 2]}), survival_counting({"a": [1, 2, 3]}))


def test_pairs_of_weight_zero_do_not_count():
    x, y, weight = torch.tensor([1.0, 1, 5]), torch.tensor([1.0, 1, 7]), torch.tensor([1.0, 1, 0])
    assert concordance(x, y, weight) == 1.0
    x, y = torch.tensor([1.0, 2, 5]), torch.tensor([1.0, 3, 7])
    assert concordance(x, y, weight) == pytest.approx(concordance(x[:2], y[:2]))
    with pytest.raises(AutosparseError, match="all weights are 0"):
        concordance(x, y, torch.zeros(3))
