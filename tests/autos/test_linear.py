"""The linear backbone is least squares."""

import numpy as np
import torch

from autosparse.autos.backbones import build_backbone
from autosparse.autos.regression import Training


def test_it_is_least_squares():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(500, 4, generator=draws) * torch.tensor([1.0, 3.0, 0.1, 1.0]) + 2
    y = x @ torch.tensor([1.0, -0.5, 4.0, 0.0]) + 0.1 * torch.randn(500, generator=draws) - 7
    network = build_backbone("linear", 4, 0)
    network.fit(x, y, Training(), 0)
    whole = np.c_[x.double().numpy(), np.ones(500)]
    expected, *_ = np.linalg.lstsq(whole, y.double().numpy(), rcond=None)
    np.testing.assert_allclose([*network.coefficients, network.intercept], expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network(x), torch.from_numpy(whole @ expected).float(), rtol=1e-3, atol=1e-3)


def test_features_that_repeat_each_other_share_a_coefficient():
    x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 2).contiguous()
    network = build_backbone("linear", 2, 0)
    network.fit(x, x.sum(1), Training(), 0)
    np.testing.assert_allclose(network.coefficients, [1, 1], rtol=1e-3)


def test_a_row_is_scored_the_same_whatever_is_around_it():
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 12, generator=draws), torch.randn(100, generator=draws)
    network = build_backbone("linear", 12, 0)
    network.fit(x, y, Training(), 0)
    assert torch.equal(network(x), torch.cat([network(row[None]) for row in x]))
