"""Operations that treat each channel on its own, by their names and arguments."""

from typing import Any

from torch import fx

# Modules, functions and methods, by their name in lower case without underscores: nn.ReLU, F.relu, x.relu_().
ARITHMETIC = frozenset({"add", "iadd", "sub", "isub", "mul", "imul", "div", "truediv", "neg"})
ACTIVATIONS = frozenset({"relu", "relu6", "leakyrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus"}) | {
    *("sigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish")
}
UNCHANGED = frozenset({"identity", "clone", "contiguous", "dropout", "dropout1d", "dropout2d", "dropout3d"})
ELEMENTWISE = ARITHMETIC | ACTIVATIONS | UNCHANGED
POOLING = frozenset(f"{kind}pool{d}d" for kind in ("max", "avg", "adaptivemax", "adaptiveavg") for d in (1, 2, 3))
KEPT_WHOLE = frozenset({"softmax", "logsoftmax"})
"""Operations that mix channels, so that all channels are kept; networks end with them."""


def pools_places(operation: str, dims: int) -> bool:
    """Whether ``operation`` pools each channel of a tensor (batch, channels, ...) of ``dims`` dimensions on its own.

    PyTorch treats a tensor with one dimension fewer as a single example and its batch dimension as channels.
    """
    return operation in POOLING and operation.endswith(f"{dims - 2}d")


def averaged_places(node: fx.Node, dims: int) -> list[int]:
    """The spatial dimensions that a mean over a tensor of ``dims`` dimensions takes; none if it takes others, too."""
    over = arguments(node, "dim").get("dim", ())
    places = [d % dims for d in (over if isinstance(over, tuple | list) else (over,)) if dims and isinstance(d, int)]
    return places if places and min(places) >= 2 else []


def arguments(node: fx.Node, *names: str) -> dict[str, Any]:
    """The arguments given after an operation's input, by the ``names`` they have."""
    return dict(zip(names, node.args[1:], strict=False)) | node.kwargs
