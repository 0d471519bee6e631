"""Hooks on a network, which neither a trace nor a copy of its parameters would run."""

from torch import nn


def hook_on(model: nn.Module) -> str | None:
    """What a hook of ``model`` watches, in a few words; None if it has no hook.

    Ask the model itself: a deep copy of it has lost the hooks of its parameters.
    """
    for name, module in model.named_modules():
        if any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)):
            return f"a hook watches {name!r}" if name else "a hook watches it"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return f"a hook watches the gradient of {name!r}"
    return None
