"""Hooks on a network, which neither a trace nor a copy of its parameters would run."""

from typing import Any

from torch import nn


class Onlooker:
    """A forward pre-hook of a whole network that only looks at its inputs: a compact form of the network keeps it.

    So do copies of the network: all of them tell the same onlooker.
    """

    def __call__(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Look at the inputs of a forward pass."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> "Onlooker":
        return self


def onlookers(model: nn.Module) -> list[Onlooker]:
    """The onlookers of the whole of ``model``."""
    return [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, Onlooker)]


def hook_on(model: nn.Module, besides_onlookers: bool = False) -> str | None:
    """What a hook of ``model`` watches, in a few words; None if it has no hook.

    Ask the model itself: a deep copy of it has lost the hooks of its parameters.

    :param besides_onlookers: ignore the :func:`onlookers`.
    """
    for name, module in model.named_modules():
        before = len(module._forward_pre_hooks)
        if besides_onlookers and module is model:
            before -= len(onlookers(model))
        if any((before, module._forward_hooks, module._backward_hooks, module._backward_pre_hooks)):
            return f"a hook watches {name!r}" if name else "a hook watches it"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return f"a hook watches the gradient of {name!r}"
    return None
