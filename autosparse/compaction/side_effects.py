"""What a forward changes in its network, such as a running mean of its own, which a compact network would lack."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, type(None))


class Watched:
    """Notes the state of a network, so that :meth:`changed` can tell what has been written since."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.tensors: dict[str, tuple[Tensor, int]] = {
            name: (value, value._version) for name, value in _attributes(model) if isinstance(value, Tensor)
        }
        self.plain = {name: value for name, value in _attributes(model) if isinstance(value, PLAIN)}

    def changed(self, by_itself: Iterable[str]) -> str | None:
        """The name of something that has been changed or replaced; None if nothing has.

        :param by_itself: names of submodules that are called as a whole, and may change what is theirs.
        """
        within = tuple(f"{name}." for name in by_itself)
        now = dict(_attributes(self.model))
        for name, (tensor, version) in self.tensors.items():
            found = now.get(name)
            if (found is not tensor or found._version != version) and not name.startswith(within):
                return name
        for name, value in self.plain.items():
            found = now.get(name)
            if found is not value and found != value and not name.startswith(within):  # nan != nan
                return name
        return None


def _attributes(model: nn.Module) -> Iterable[tuple[str, Any]]:
    """All parameters, buffers and other attributes of a network and its submodules, without ``training``."""
    for path, module in model.named_modules(remove_duplicate=False):
        own = {**vars(module), **module._parameters, **module._buffers}
        yield from ((f"{path}.{name}".lstrip("."), value) for name, value in own.items() if name != "training")
