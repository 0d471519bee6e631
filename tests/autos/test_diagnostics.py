"""The yardsticks of a fit, by hand."""

import pytest
import torch

from autosparse.autos.diagnostics import binned_mean_r_squared, sampled_densities
from autosparse.irp import Survival


def middle_third(rows):
    """A column from 0 on, and a target that is 1 in its middle third."""
    column = torch.arange(float(rows))
    return [column], ((column >= rows / 3) & (column < 2 * rows / 3)).double()


@pytest.mark.parametrize(("rows", "bins"), [(150, 2), (299, 2), (300, 3)])
def test_a_bin_holds_a_hundred_rows_and_there_are_two_at_least(rows, bins):
    data = middle_third(rows)
    explained = binned_mean_r_squared(data, data)
    assert explained > 0.95 if bins == 3 else explained < 0.05


def test_an_empty_bin_predicts_the_overall_mean():
    column = torch.arange(400.0)
    train = [column, column], (column >= 200).double()
    held_out = [torch.tensor([0.0, 399.0]), torch.tensor([399.0, 0.0])], torch.tensor([1.0, 0.0])
    assert binned_mean_r_squared(train, held_out) == pytest.approx(0.0)  # 0.5 for both


class ByParam:
    inputs, gradient_mode = ("param",), "eval"

    def predict(self, features):
        return features["param"]


def test_the_densities_are_of_exactly_the_share_that_is_kept():
    one = {"w": torch.arange(100.0)}
    survival = Survival(one, one, {"w": torch.zeros(100, dtype=torch.int64)}, {"iterations": 1})
    assert sampled_densities(ByParam(), survival) == {"w": pytest.approx(0.05)}
