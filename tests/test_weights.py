"""Which weights can be pruned, and what is said of the rest."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from autosparse.errors import AutosparseError
from autosparse.weights import LeftOut, left_out, prunable, prunable_rule, stacked


class Mixed(nn.Module):
    """One of everything."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 2)
        self.attention = nn.MultiheadAttention(2, 1)
        self.other = nn.MultiheadAttention(2, 1, kdim=3, vdim=4)
        self.up = nn.ConvTranspose2d(2, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.rnn = nn.GRU(2, 1, bias=False)
        self.bilinear = nn.Bilinear(1, 1, 3)
        self.position = nn.Parameter(torch.zeros(1, 3, 2))
        self.head = nn.Linear(2, 50)


def test_projections_of_attention_and_transposed_convolutions_are_weights():
    assert {name: tuple(weight.shape) for name, weight in prunable(Mixed()).items()} == {
        "attention.in_proj_weight": (6, 2),
        "attention.out_proj.weight": (2, 2),
        "other.q_proj_weight": (2, 2),
        "other.k_proj_weight": (2, 3),
        "other.v_proj_weight": (2, 4),
        "other.out_proj.weight": (2, 2),
        "up.weight": (2, 3, 2, 2),
        "head.weight": (50, 2),
    }


@pytest.mark.parametrize("layer", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_convolutions_of_any_dimension_are_pruned(layer):
    assert list(prunable(layer(2, 3, 2))) == ["weight"]


def test_what_is_left_out_is_named_with_its_share():
    rest = left_out(Mixed())
    assert rest.names == ("position", "words.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "bilinear.weight")
    total = sum(parameter.numel() for parameter in Mixed().parameters())
    assert rest.share == (10 + 6 + 6 + 3 + 3) / total
    assert str(rest) == (
        f"position, words.weight, rnn.weight_ih_l0 and 2 more ({100 * rest.share:.2g} % of the parameters)"
    )


def test_nothing_is_left_out_of_networks_of_linear_conv_and_normalisation():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    assert left_out(net) == LeftOut()
    assert not left_out(net)
    assert str(left_out(net)) == "nothing"


def test_an_embedding_that_shares_the_weight_of_a_layer_is_not_left_out():
    net = nn.ModuleList([nn.Embedding(5, 2), nn.Linear(2, 5, bias=False)])
    net[0].weight = net[1].weight
    assert left_out(net) == LeftOut()
    assert list(prunable(net)) == ["1.weight"]


def test_the_rule_changed_only_for_networks_that_have_what_it_left_out():
    assert prunable_rule(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(2, 2), nn.GRU(2, 2), nn.LayerNorm(2))) == 1
    assert prunable_rule(nn.MultiheadAttention(2, 1)) == 2
    assert prunable_rule(nn.TransformerEncoderLayer(2, 1)) == 2
    assert prunable_rule(nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose1d(1, 1, 1))) == 2


def test_only_projections_of_one_width_lie_stacked():
    assert {name: count for name, count in stacked(Mixed()).items() if count > 1} == {"attention.in_proj_weight": 3}


@pytest.mark.parametrize("name", ["in_proj_weight", "weight"])
def test_a_weight_that_is_computed_from_others_is_refused_by_name(name):
    layer = nn.MultiheadAttention(2, 1) if name == "in_proj_weight" else nn.ConvTranspose1d(2, 2, 2)
    net = nn.Sequential(parametrizations.weight_norm(layer, name))
    with pytest.raises(AutosparseError, match=r"the weight of '0.*' is computed from others"):
        prunable(net)
