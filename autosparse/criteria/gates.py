"""Which ReLU-like units of a network are active, recorded in one pass and imposed in another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

ABOVE = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_"})
"""Functions whose units are active if their input is positive."""
BETWEEN = frozenset({"relu6", "hardtanh", "hardtanh_"})
"""Functions whose units are active between two bounds: 0 and 6 of ReLU6, ``min_val`` and ``max_val`` of Hardtanh."""
CLAMPS = frozenset({"clamp", "clamp_", "clamp_min", "clamp_max", "clip", "maximum", "minimum"})
COMPARISONS = {
    "gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", "sign", "sgn", "signbit", "heaviside",
}  # fmt: skip
"""What units may be made of by hand, such as ``x * (x > 0)``; with whole numbers, a network counts something else."""
KINKED = CLAMPS | {"_threshold", "threshold", "threshold_", "abs", "abs_", "prelu", "rrelu", "rrelu_", "where"}
"""Other functions that bend: a network that calls one is not linear, even with its gates held."""

Act = Callable[[Callable[[], Tensor], Tensor, Tensor], Tensor]
"""``(the function itself, its input, where it is active) -> what takes the place of its output``."""


class Gates:
    """The places where the units of one forward pass were active, in the order of the pass.

    A later pass must call the same functions in the same order, as that of a copy of the network does.
    """

    def __init__(self) -> None:
        self.active: list[Tensor] = []

    def recording(self) -> "_Units":
        """Record where units are active within the block; they work as usual."""
        self.active = []

        def remember(function: Callable[[], Tensor], x: Tensor, active: Tensor) -> Tensor:
            self.active.append(active)
            return function()

        return _Units(remember)

    def held(self) -> "_Units":
        """Let units within the block pass on their input where they were active in the recorded pass, else 0."""
        recorded = iter(self.active)
        return _Units(lambda function, x, _: x * next(recorded))

    def open(self) -> "_Units":
        """Let every unit within the block pass its input on."""
        return _Units(lambda function, x, _: x)


class Kinks(TorchFunctionMode):
    """Collects the names of the functions called within the block that bend: :data:`KINKED`, or units by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        of_two = name in ("max", "min") and sum(isinstance(x, Tensor) for x in args) == 2
        by_hand = name in COMPARISONS and any(isinstance(x, Tensor) and x.is_floating_point() for x in args)
        if name in KINKED or of_two or by_hand:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


class _Units(TorchFunctionMode):
    """Replaces every ReLU-like function by ``act``, whoever calls it."""

    def __init__(self, act: Act):
        super().__init__()
        self.act = act

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in ABOVE | BETWEEN:
            return func(*args, **kwargs)
        x: Tensor = args[0] if args else kwargs["input"]
        active = _active(name, x, *args[1:], **kwargs)
        found = self.act(lambda: func(*args, **kwargs), x, active)
        in_place = name.endswith("_") or kwargs.get("inplace") or (name == "relu" and args[1:2] == (True,))
        return x.copy_(found) if in_place and found is not x else found  # a network may go on with its input


def _active(name: str, x: Tensor, *bounds: Any, **given: Any) -> Tensor:
    if name in ABOVE:
        return x > 0
    given = {"min_val": -1.0, "max_val": 1.0, **dict(zip(("min_val", "max_val"), bounds, strict=False)), **given}
    low, high = (0.0, 6.0) if name == "relu6" else (given["min_val"], given["max_val"])
    return torch.logical_and(x > low, x < high)
