"""The paper's scorer."""

from collections.abc import Callable

from torch import Tensor, nn

from autosparse.autos.backbones import Backbone, backbone
from autosparse.autos.backbones.encoder import encoder
from autosparse.autos.folding import folded
from autosparse.models import build_model
from autosparse.seeds import derive_seed


@backbone("resnet18")
class ResNet18Scorer(Backbone):
    """The paper's scorer (AutoSparse Table 7): inputs -> 64 -> 3 x 32 x 32 -> CIFAR ResNet-18 -> 32 -> 1.

    Each encoder layer is Linear, BatchNorm, ReLU; the decoder a ReLU and one Linear. With one input (Appendix D.1)
    the first Linear is 1 -> 64 and the rest the same.
    """

    costly = True

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.encoder = encoder(inputs, 64, 3 * 32 * 32)
        self.backbone = build_model("resnet18", 32, (3, 32, 32), derive_seed(seed, "backbone"))
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,)."""
        images = self.encoder(x).view(-1, 3, 32, 32)
        return self.decoder(self.backbone(images)).squeeze(1)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """A folded copy."""
        return folded(self)
