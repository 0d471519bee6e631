"""The yardsticks of a fit, by hand."""

import math

import pytest
import torch

from autosparse.autos.diagnostics import binned_mean_r_squared, report_of, sampled_densities
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


@pytest.mark.parametrize(
    ("held_out", "binned", "warns"),
    [
        (0.30, 0.50, False),
        (0.20, 0.50, True),
        (-0.04, -0.10, True),
        (0.0, -0.10, True),
        (0.01, -0.10, False),
        (math.nan, 0.50, True),
        (0.01, None, False),
        (-0.01, None, True),
    ],
)
def test_a_scorer_that_explains_nothing_or_less_than_half_of_the_binned_mean_has_not_learned(held_out, binned, warns):
    more = {} if binned is None else {"binned_mean_r2": binned}
    found = report_of({"held_out_r2": held_out}, {"w": 0.5}, **more)["warnings"]
    assert len(found) == warns
    assert all(
        warning.startswith(f"the scorer has not learned: it explains {held_out:.1%} of the held-out variance")
        for warning in found
    )
    assert all(("binned" in warning) == (binned is not None) for warning in found)
