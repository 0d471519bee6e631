"""Vision transformers for small images: ViT-Tiny's width (Touvron et al. 2021) on patches of 4 x 4 pixels.

Positions are fixed sines and cosines and the head reads the mean of all patches, as in the plainer ViT of Beyer et al.
2022 (arXiv:2205.01580): only layers are learned, so that masks can cover every matrix. Queries, keys and values are
Linear layers of their own. There is no dropout.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.allowed import AtLeastOne
from autosparse.errors import AutosparseError
from autosparse.models import register_model

PATCH = 4
WIDTH = 192
LONGEST = 10_000.0
"""The longest wavelength of the positions, divided by 2 pi, in patches."""


class Attention(nn.Module):
    """Multi-head self-attention over patches."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, patches, width) -> the same shape."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and two Linear layers with GELU, each after LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, patches, width) -> the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches, ``depth`` blocks, and a Linear layer on the mean of the patches."""

    positions: Tensor

    def __init__(self, num_classes: int, input_shape: tuple[int, ...], width: int, depth: int, heads: int):
        super().__init__()
        channels, height, breadth = input_shape
        self.embed = nn.Conv2d(channels, width, kernel_size=PATCH, stride=PATCH)
        self.register_buffer("positions", positions_of(height // PATCH, breadth // PATCH, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> logits (batch, num_classes)."""
        patches = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(patches)).mean(1))


def positions_of(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of row and column, a quarter of the width each: (1, rows * columns, width), float32."""
    waves = LONGEST ** -(torch.arange(width // 4) / (width // 4 - 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * waves for place in (y, x)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], 1)[None]


@register_model("vit-tiny", min_side=PATCH, multiple_of=PATCH)
def vit_tiny(
    num_classes: int,
    input_shape: tuple[int, ...],
    width: AtLeastOne = WIDTH,
    depth: AtLeastOne = 12,
    heads: AtLeastOne = 3,
) -> nn.Module:
    """ViT-Tiny on patches of 4 x 4 (width 192, 12 layers, 3 heads of 64); 5,350,090 parameters for CIFAR-10.

    :param width: features of each patch; at least 8, and divisible by 4 (for the positions) and by the number of heads.
    :param depth: layers of attention.
    :param heads: heads of each layer.
    """
    if width % heads or width % 4 or width < 8:
        raise AutosparseError(
            f"model 'vit-tiny': width {width} with {heads} heads: the width must be at least 8 and divisible by 4 and "
            "by the number of heads"
        )
    return VisionTransformer(num_classes, input_shape, width, depth, heads)


@register_model("vit-tiny-12-heads", min_side=PATCH, multiple_of=PATCH)
def vit_tiny_12_heads(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """ViT-Tiny with 12 heads of 16 instead of 3 of 64; it has as many parameters."""
    return VisionTransformer(num_classes, input_shape, WIDTH, depth=12, heads=12)


@register_model("vit-tiny-6-layers", min_side=PATCH, multiple_of=PATCH)
def vit_tiny_6_layers(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """ViT-Tiny at half its depth, for CPUs (6 layers, 3 heads of 64); 2,680,906 parameters for CIFAR-10."""
    return VisionTransformer(num_classes, input_shape, WIDTH, depth=6, heads=3)
