"""The paper's scorers, which make an image of a weight's features (AutoSparse Table 7)."""

import itertools
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from autosparse.autos.backbones import Backbone, backbone
from autosparse.models import build_model
from autosparse.seeds import derive_seed


class ImageScorer(Backbone):
    """What both have in common: an encoder to an image, a network for images, and a decoder to a score."""

    costly = True
    side: ClassVar[int]
    """Height and width of the image, which has 3 channels."""
    encoder: nn.Module
    backbone: nn.Module
    decoder: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,)."""
        images = self.encoder(x).view(-1, 3, self.side, self.side)
        return self.decoder(self.backbone(images)).squeeze(1)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """A copy whose BatchNorms are folded into the layers before them, and whose weights lie channels last."""
        from torch.fx.experimental.optimization import fuse  # here: torch.fx takes long to import

        return fuse(self.eval()).to(memory_format=torch.channels_last)


def encoder(*widths: int) -> nn.Sequential:
    """Linear, BatchNorm and ReLU from each width to the next: (rows, widths[0]) -> (rows, widths[-1])."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers)


@backbone("resnet18")
class ResNet18Scorer(ImageScorer):
    """The paper's scorer (AutoSparse Table 7): inputs -> 64 -> 3 x 32 x 32 -> CIFAR ResNet-18 -> 32 -> 1.

    Each encoder layer is Linear, BatchNorm, ReLU; the decoder a ReLU and one Linear. With one input (Appendix D.1)
    the first Linear is 1 -> 64 and the rest the same.
    """

    side = 32

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.encoder = encoder(inputs, 64, 3 * 32 * 32)
        self.backbone = build_model("resnet18", 32, (3, 32, 32), derive_seed(seed, "backbone"))
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(32, 1))


@backbone("vgg19")
class VGG19Scorer(ImageScorer):
    """The paper's other scorer (AutoSparse Table 7): inputs -> 64 -> 64 x 64 -> 3 x 64 x 64 -> VGG-19 -> 64 -> 1.

    Each encoder layer is Linear, BatchNorm, ReLU; the decoder BatchNorm, ReLU and one Linear. 70.7 million
    parameters and about 1.6 billion multiplications a row: for a GPU.

    The table prints 64 x 64 x 64 outputs for the encoder's last layer. That is 1.07 billion weights, and images of 64
    channels, which no VGG-19 takes; its bias column also gives the second layer 32 x 32 x 3 outputs beside 64 x 64.
    The authors' code (github.com/ChengYaofeng/AutoSparse, ``autos_model/autosnet.py``) has 64 x 64 and 3 x 64 x 64,
    and so does this. The VGG-19 is the one with the average head. The table's last line, Linear 64 -> 1 with BatchNorm
    and ReLU, is the decoder, with the ReLU before the Linear: after it, scores below 0 would be lost.
    """

    side = 64
    chunk = 1 << 8

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.encoder = encoder(inputs, 64, 64 * 64, 3 * 64 * 64)
        self.backbone = build_model("vgg19", 64, (3, 64, 64), derive_seed(seed, "backbone"))
        self.decoder = nn.Sequential(nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1))
