"""A folded network computes what the network does."""

import pytest
import torch
from torch import nn

from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation


@pytest.fixture
def network():
    """The paper's scorer with BatchNorm statistics and scales that differ from those at initialisation."""
    draws, built = torch.Generator().manual_seed(0), build_backbone("resnet18", 2, 0)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for own in (module.weight.data, module.running_var):
                own.copy_(torch.rand(own.shape, generator=draws) + 0.5)
            for own in (module.bias.data, module.running_mean):
                own.copy_(0.1 * torch.randn(own.shape, generator=draws))
    return built.eval()


@torch.no_grad()
def test_scores_are_the_same_to_float_noise_and_the_network_is_left_alone(network):
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    before, state = network(x), {name: value.clone() for name, value in network.state_dict().items()}
    fast = network.prepared()
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in fast.modules())
    assert torch.allclose(fast(x), before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))
    assert torch.equal(network(x), before)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_costly_scorer_scores_many_rows_as_it_scores_few(network):
    scorer = Scorer("resnet18", ("param", "grad"), Standardisation((0.0, 0.0), (1.0, 1.0)), network)
    draws = torch.Generator().manual_seed(1)
    features = {name: torch.randn(64, generator=draws) for name in scorer.inputs}
    few = [
        scorer.predict({name: column[part] for name, column in features.items()}) for part in (slice(4), slice(4, 8))
    ]
    assert torch.allclose(scorer.predict(features)[:8], torch.cat(few), rtol=1e-4, atol=1e-5)
