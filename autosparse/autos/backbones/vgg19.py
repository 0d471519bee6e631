"""The paper's other scorer."""

from collections.abc import Callable

from torch import Tensor, nn

from autosparse.autos.backbones import Backbone, backbone
from autosparse.autos.backbones.encoder import encoder
from autosparse.autos.folding import folded
from autosparse.models import build_model
from autosparse.seeds import derive_seed


@backbone("vgg19")
class VGG19Scorer(Backbone):
    """The paper's other scorer (AutoSparse Table 7): inputs -> 64 -> 64 x 64 -> 3 x 64 x 64 -> VGG-19 -> 64 -> 1.

    Each encoder layer is Linear, BatchNorm, ReLU; the decoder BatchNorm, ReLU and one Linear. 70.7 million
    parameters and about 1.6 billion multiplications a row: for a GPU.

    The table prints 64 x 64 x 64 outputs for the encoder's last layer. That is 1.07 billion weights, and images of 64
    channels, which no VGG-19 takes; its bias column also gives the second layer 32 x 32 x 3 outputs beside 64 x 64.
    The authors' code (github.com/ChengYaofeng/AutoSparse, ``autos_model/autosnet.py``) has 64 x 64 and 3 x 64 x 64,
    and so does this. The VGG-19 is the one with the average head. The table's last line, Linear 64 -> 1 with BatchNorm
    and ReLU, is the decoder, with the ReLU before the Linear: after it, scores below 0 would be lost.
    """

    costly = True
    chunk = 1 << 8

    def __init__(self, inputs: int, seed: int):
        super().__init__()
        self.encoder = encoder(inputs, 64, 64 * 64, 3 * 64 * 64)
        self.backbone = build_model("vgg19", 64, (3, 64, 64), derive_seed(seed, "backbone"))
        self.decoder = nn.Sequential(nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows,)."""
        images = self.encoder(x).view(-1, 3, 64, 64)
        return self.decoder(self.backbone(images)).squeeze(1)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """A folded copy."""
        return folded(self)
