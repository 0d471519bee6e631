"""FLOPs against closed forms and published counts."""

import pytest
import torch
from torch import nn

from autosparse.analysis import flops, pruned_flops
from autosparse.masks import Masks, prunable
from autosparse.models import build_model


def test_linear_and_conv_have_two_flops_per_weight_and_position():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 5, groups=8, padding=2), nn.Flatten(), nn.Linear(8 * 5 * 4, 10),
    )  # fmt: skip
    assert flops(net, (3, 9, 8)) == {
        "0.weight": 2 * (8 * 3 * 3 * 3) * (5 * 4),
        "3.weight": 2 * (8 * 5 * 5) * (5 * 4),
        "5.weight": 2 * (8 * 5 * 4 * 10),
    }


PUBLISHED = [
    ("resnet18", 0.5558e9),  # multiply-adds on 32 x 32 images, as tables of CIFAR networks give them: 0.56 G
    ("vgg16", 0.3132e9),  # 0.31 G
    ("resnet20", 0.0408e9),  # He et al. 2016's network: 0.041 G
    ("lenet-300-100", 3 * 1024 * 300 + 300 * 100 + 100 * 10),
]


@pytest.mark.parametrize(("name", "multiply_adds"), PUBLISHED)
def test_networks_have_the_published_count(name, multiply_adds):
    with torch.device("meta"):
        model = build_model(name, 10, (3, 32, 32), 0)
    assert sum(flops(model, (3, 32, 32)).values()) / 2 == pytest.approx(multiply_adds, rel=0.01)


def test_every_prunable_layer_is_counted():
    model = build_model("densenet121", 10, (3, 8, 8), 0)
    counts = flops(model, (3, 8, 8))
    assert list(counts) == list(prunable(model))
    assert all(counts.values())


def test_a_network_that_is_one_layer_is_counted():
    assert flops(nn.Linear(3, 4), (3,)) == {"weight": 24}


def test_a_shared_weight_has_the_flops_of_all_its_uses():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert flops(net, (4,)) == {"0.weight": 64}


def test_pruned_flops_fall_with_each_layers_density():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(8, 2))
    masks = Masks.dense(net)
    masks["0.weight"].view(-1)[:6] = False  # 2 of 8 stay, each used at 4 positions
    masks["2.weight"].zero_()
    assert flops(net, (1, 3, 3), masks) == {"0.weight": 2 * 2 * 4, "2.weight": 0}
    assert pruned_flops(flops(net, (1, 3, 3)), masks) == {"0.weight": 2 * 2 * 4, "2.weight": 0}


def test_the_model_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flops(net, (1, 3, 3))
    assert net.training
    assert net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_masks_are_read_in_the_layout_of_the_weight(layout):
    net = nn.Conv2d(2, 3, 2, bias=False)
    net.weight.data = net.weight.data.to(memory_format=layout)
    masks = Masks({"weight": torch.arange(24).view(3, 2, 2, 2) < 7})
    assert flops(net, (2, 3, 4), masks) == {"weight": 2 * 7 * 6}


def test_a_transposed_convolution_multiplies_each_input_with_each_of_its_weights():
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.Flatten(1, 2), nn.ConvTranspose1d(54, 2, 5))
    assert flops(net, (4, 4, 3)) == {"0.weight": 2 * (4 * 3 * 9) * 12, "2.weight": 2 * (54 * 2 * 5) * 7}


L, E, F = 5, 8, 12  # places, width, width of the feed-forward part


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(E, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def test_attention_by_hand():
    assert flops(Attention(), (L, E)) == {
        "attention.in_proj_weight": 2 * L * E * 3 * E,
        "attention.out_proj.weight": 2 * L * E * E,
    }


class Cross(Attention):
    """Attention whose queries are two places, and whose keys and values are all others."""

    def forward(self, x):
        return self.attention(x[:, :2], x[:, 2:], x[:, 2:])[0]


def test_queries_count_by_their_places_and_keys_and_values_by_theirs():
    net = Cross()
    assert flops(net, (L, E))["attention.in_proj_weight"] == 2 * E * E * (2 + 3 + 3)
    masks = Masks.dense(net)
    masks["attention.in_proj_weight"][: E - 1] = False  # of the queries one row stays
    assert flops(net, (L, E), masks)["attention.in_proj_weight"] == 2 * E * (2 + 3 * 2 * E)


def test_projections_of_other_widths_by_hand():
    class Other(Attention):
        def forward(self, x):
            return self.attention(x, x[..., :3], x[..., :4])[0]

    assert flops(Other(kdim=3, vdim=4), (L, E)) == {
        "attention.q_proj_weight": 2 * L * E * E,
        "attention.k_proj_weight": 2 * L * E * 3,
        "attention.v_proj_weight": 2 * L * E * 4,
        "attention.out_proj.weight": 2 * L * E * E,
    }


@pytest.mark.parametrize("frozen", [False, True])
def test_a_transformer_by_hand_also_where_it_has_a_fast_path(frozen):
    layer = nn.TransformerEncoderLayer(E, 2, F, batch_first=True)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(not frozen)
    sizes = {"self_attn.in_proj_weight": 3 * E * E, "self_attn.out_proj.weight": E * E}
    sizes |= {"linear1.weight": E * F, "linear2.weight": F * E}
    dense = {f"layers.{i}.{name}": 2 * L * size for i in (0, 1) for name, size in sizes.items()}
    assert flops(net, (L, E)) == dense
    masks = Masks({name: torch.arange(w.numel()).view(w.shape) % 4 == 0 for name, w in prunable(net).items()})
    assert flops(net, (L, E), masks) == {name: count // 4 for name, count in dense.items()}
    assert torch.backends.mha.get_fastpath_enabled()


def test_swins_attention_which_calls_none_of_its_layers_by_hand():
    from torchvision.models.swin_transformer import SwinTransformerBlock

    net = SwinTransformerBlock(E, num_heads=2, window_size=[2, 2], shift_size=[1, 1], mlp_ratio=2.0)
    assert flops(net, (4, 6, E)) == {
        "attn.qkv.weight": 2 * 24 * E * 3 * E,
        "attn.proj.weight": 2 * 24 * E * E,
        "mlp.0.weight": 2 * 24 * E * 2 * E,
        "mlp.3.weight": 2 * 24 * 2 * E * E,
    }


def test_a_weight_of_which_nothing_is_counted_is_warned_of():
    net = nn.Sequential(nn.Linear(3, 4))
    net.never = nn.Linear(2, 2)
    net.forward = net[0].forward
    with pytest.warns(UserWarning, match=r"no FLOPs of 'never.weight': the forward pass does not read them"):
        assert flops(net, (3,)) == {"0.weight": 24, "never.weight": 0}


def test_a_layer_of_which_all_is_pruned_is_not_warned_of(recwarn):
    assert flops(nn.Linear(3, 4), (3,), Masks({"weight": torch.zeros(4, 3)})) == {"weight": 0}
    assert not recwarn
