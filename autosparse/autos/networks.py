"""Backbones of the AutoS scorer: (rows, features) -> (rows,) predicted survival score."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autosparse.errors import UnknownName
from autosparse.models import build_model, kaiming_normal_
from autosparse.seeds import derive_seed, generator


class MLP(nn.Module):
    """Two hidden layers of ReLU units: enough for a smooth function of two numbers, and fast on a CPU."""

    def __init__(self, features: int, seed: int, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(rows, features) -> (rows,)."""
        return self.layers(x).squeeze(1)


class ResNet18Scorer(nn.Module):
    """The paper's scorer (AutoSparse Table 7): features -> 64 -> 3 x 32 x 32 -> CIFAR ResNet-18 -> 32 -> 1.

    Each encoder layer is Linear, BatchNorm, ReLU; the decoder a ReLU and one Linear.
    """

    def __init__(self, features: int, seed: int):
        super().__init__()
        pixels = 3 * 32 * 32
        self.encoder = nn.Sequential(
            nn.Linear(features, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, pixels),
            nn.BatchNorm1d(pixels),
            nn.ReLU(),
        )
        self.backbone = build_model("resnet18", 32, (3, 32, 32), derive_seed(seed, "backbone"))
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(rows, features) -> (rows,)."""
        images = self.encoder(x).view(-1, 3, 32, 32)
        return self.decoder(self.backbone(images)).squeeze(1)


BACKBONES: dict[str, Callable[[int, int], nn.Module]] = {"mlp": MLP, "resnet18": ResNet18Scorer}


def build_network(backbone: str, features: int, seed: int) -> nn.Module:
    """A scorer network at initialisation (Kaiming-normal, seeded); its output layer starts near 0."""
    if backbone not in BACKBONES:
        raise UnknownName("backbone", backbone, BACKBONES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "construction"))
        network = BACKBONES[backbone](features, seed)
    return kaiming_normal_(network, generator(seed, "scorer"))
