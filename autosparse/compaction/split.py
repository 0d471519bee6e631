"""Linear layers of which a part is the same for every example, and is computed once."""

import torch.nn.functional as F
from torch import Tensor, nn


class SplitLinear(nn.Linear):
    """A Linear layer some of whose inputs and outputs are the same for every example, and are computed once.

    Its weight is that of a Linear layer whose last columns read the constants, and whose last rows read nothing else.

    :param layer: a Linear layer with the parameters of the live and constant parts.
    :param live: numbers of rows and of columns that differ from example to example.
    """

    def __init__(self, layer: nn.Linear, live: tuple[int, int]):
        nn.Module.__init__(self)
        self.out_features, self.in_features = layer.weight.shape
        self.weight, self.bias = layer.weight, layer.bias
        self.live = live

    @property
    def multiplied(self) -> int:
        """How many of the weights are multiplied for each example."""
        return self.live[0] * self.live[1]

    def folded(self, constant: Tensor | None) -> tuple[nn.Linear, Tensor]:
        """The Linear layer of what differs from example to example, and the constant rows, for these constants.

        :param constant: what the last columns read, (1, constant columns); None if there are no such columns.
        :return: a layer (live columns -> live rows), and (1, constant rows).
        """
        rows, columns = self.live
        still = self.bias.unsqueeze(0)
        if constant is not None:
            still = F.linear(constant, self.weight[:, columns:], self.bias)
        plain = nn.Linear(1, 1, device="meta")
        plain.weight, plain.bias = nn.Parameter(self.weight[:rows, :columns].clone()), nn.Parameter(still[0, :rows])
        plain.out_features, plain.in_features = rows, columns
        return plain, still[:, rows:].clone()

    def forward(self, x: Tensor, constant: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Compute the live and the constant outputs.

        (batch, live columns), (1, constant columns) -> (batch, live rows), (1, constant rows).

        It splits tensors rather than slicing them, because the gradient of a slice is as large as the whole.
        """
        rows, columns = self.live
        weight, still = self.weight, self.bias.unsqueeze(0)
        if constant is not None:
            weight, of_constant = weight.split((columns, self.in_features - columns), 1)
            still = F.linear(constant, of_constant, self.bias)
        if rows == self.out_features:
            return F.linear(x, weight, still[0]), still.new_empty(1, 0)
        bias, rest = still.split((rows, self.out_features - rows), 1)
        return F.linear(x, weight[:rows], bias[0]), rest.clone()
