"""The vision transformer against attention written out, its positions, and PyTorch's own encoder layer."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.masks import prunable
from autosparse.models.vit import Attention, Block, VisionTransformer, positions_of
from autosparse.weights import left_out


def patches(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_that_of_its_formula(heads):
    attention, x = Attention(12, heads), patches(2, 5, 12)
    q, k, v = (layer(x) for layer in (attention.query, attention.key, attention.value))
    size, parts = 12 // heads, []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        weights = (q[..., own] @ k[..., own].mT / math.sqrt(size)).softmax(-1)
        parts.append(weights @ v[..., own])
    torch.testing.assert_close(attention(x), attention.out(torch.cat(parts, -1)))


def test_a_block_is_pytorchs_encoder_layer_with_the_norm_first():
    block = Block(12, 3)
    layer = nn.TransformerEncoderLayer(12, 3, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    own = block.attention
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in (own.query, own.key, own.value)]))
        layer.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in (own.query, own.key, own.value)]))
    pairs = [(layer.self_attn.out_proj, own.out), (layer.linear1, block.fc1), (layer.linear2, block.fc2)]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(layer(patches(2, 5, 12)), block(patches(2, 5, 12)))


def test_patches_are_read_row_by_row_and_averaged():
    model = VisionTransformer(3, (2, 8, 12), 8, depth=0, heads=1)
    x = patches(2, 2, 8, 12)
    weight = model.embed.weight.flatten(1)
    rows = []
    for i in range(2):
        for j in range(3):
            patch = x[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].flatten(1)
            rows.append(patch @ weight.T + model.embed.bias + model.positions[0, 3 * i + j])
    mean = F.layer_norm(torch.stack(rows, 1), (8,)).mean(1)
    torch.testing.assert_close(model(x), model.head(mean))


def test_positions_are_sines_and_cosines_of_row_and_column():
    found = positions_of(2, 3, 8)[0]
    waves = [1.0, 1 / 10_000]
    for i in range(2):
        for j in range(3):
            expected = [f(at * wave) for at in (i, j) for f in (math.sin, math.cos) for wave in waves]
            assert found[3 * i + j].tolist() == pytest.approx(expected, abs=1e-6)


def test_masks_can_cover_every_matrix():
    model = VisionTransformer(3, (1, 8, 8), 8, depth=2, heads=2)
    assert not left_out(model)
    per_block = ["attention.query", "attention.key", "attention.value", "attention.out", "fc1", "fc2"]
    blocks = [f"blocks.{i}.{layer}.weight" for i in range(2) for layer in per_block]
    assert list(prunable(model)) == ["embed.weight", *blocks, "head.weight"]
