"""Effective masks through attention and transposed convolutions, against which weights have a gradient at all."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autosparse.analysis import effective_masks
from autosparse.masks import Masks, prunable

SHAPE = (4, 4)


class Sequence(nn.Module):
    """Embeds, attends as ``attend`` says, with a shortcut or without, and reads the mean."""

    def __init__(self, attention, shortcut=False, **options):
        super().__init__()
        self.embed, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)
        self.attention, self.shortcut, self.options = attention, shortcut, options

    def forward(self, x):
        x = self.embed(x)
        y = self.attend(x)
        return self.head((x + y if self.shortcut else y).mean(1))

    def attend(self, x):
        return self.attention(x, x, x, **self.options)[0]


class ByHand(Sequence):
    """Attention as Swin writes it: projections in one Linear, a softmax, and a matrix product."""

    def attend(self, x):
        q, k, v = self.attention(x).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


class Fused(ByHand):
    def attend(self, x):
        q, k, v = self.attention(x).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class Cross(Sequence):
    def attend(self, x):
        return self.attention(x, x[..., :3], x[..., 1:], need_weights=False)[0]


def heads(**options):
    return nn.MultiheadAttention(4, 2, bias=False, batch_first=True, **options)


NETS = {
    "plain": lambda: Sequence(heads()),
    "shortcut": lambda: Sequence(heads(), shortcut=True, need_weights=False),
    "masked": lambda: Sequence(heads(), attn_mask=torch.ones(4, 4).triu(1).bool(), need_weights=False),
    "cross": lambda: Cross(heads(kdim=3, vdim=3)),
    "by hand": lambda: ByHand(nn.Linear(4, 12, bias=False)),
    "fused": lambda: Fused(nn.Linear(4, 12, bias=False)),
    "transposed": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)), nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False),
        nn.ConvTranspose2d(4, 2, 2, bias=False), nn.Flatten(), nn.Linear(2 * 4 * 8, 2, bias=False),
    ),
}  # fmt: skip


def with_a_gradient(net, masks):
    """The weights with respect to which the outputs have a derivative other than 0, in any of four random draws."""
    found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    draws = torch.Generator().manual_seed(1)
    for _ in range(4):
        weights = prunable(net)
        for weight in weights.values():
            weight.data = torch.randn(weight.shape, generator=draws, dtype=torch.float64)
        masks.apply_(net)
        out = net(torch.randn(3, *SHAPE, generator=draws, dtype=torch.float64))
        value = (out * torch.randn(out.shape, generator=draws, dtype=torch.float64)).sum()
        for name, g in zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True):
            found[name] |= g.abs() > 1e-12
    return Masks({name: mask & found[name] for name, mask in masks.items()})


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=40)
@given(density=st.sampled_from([0.15, 0.3, 0.5, 0.8, 1.0]), seed=st.integers(0, 10_000))
def test_a_weight_is_effective_where_the_output_depends_on_it(name, density, seed):
    net, draws = NETS[name]().double(), torch.Generator().manual_seed(seed)
    masks = Masks({name: torch.rand(w.shape, generator=draws) < density for name, w in prunable(net).items()})
    assert effective_masks(net, masks, SHAPE) == with_a_gradient(net, masks)


def test_values_pass_on_where_queries_and_keys_are_gone_but_not_the_other_way_round():
    net = Sequence(heads())
    masks = Masks.dense(net)
    masks["attention.in_proj_weight"][:4] = False  # queries
    effective = effective_masks(net, masks, SHAPE)
    assert not effective["attention.in_proj_weight"][:8].any()
    assert effective["attention.in_proj_weight"][8:].all()
    assert effective["embed.weight"].all()
    masks = Masks.dense(net)
    masks["attention.in_proj_weight"][8:] = False
    assert effective_masks(net, masks, SHAPE).kept == 0


@pytest.mark.parametrize("padding", [False, True])
def test_what_attention_may_not_read_is_on_no_path(padding):
    class Padded(Sequence):
        def attend(self, x):
            gone = torch.tensor([[False, True]])
            options = {"key_padding_mask": gone} if padding else {"attn_mask": gone.expand(2, 2)}
            keys = torch.stack([x[:, 0], self.extra(x[:, 0])], 1)
            return self.attention(x[:, :2], keys, keys, **options)[0]

    net = Padded(heads())
    net.extra = nn.Linear(4, 4, bias=False)
    effective = effective_masks(net, Masks.dense(net), SHAPE)
    assert not effective["extra.weight"].any()
    assert effective["attention.in_proj_weight"][8:].all()
