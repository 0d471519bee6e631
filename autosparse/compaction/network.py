"""The smaller network with the same function as a masked one, and the way back to the full network."""

import copy
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from autosparse.compaction.compiled import CompiledGraph
from autosparse.compaction.folding import folded
from autosparse.compaction.hooks import hook_on, onlookers
from autosparse.compaction.maker import Maker
from autosparse.compaction.plan import kept_channels, rules_of
from autosparse.compaction.rules import Rule
from autosparse.compaction.tracing import NotFollowed, Traced, traced
from autosparse.masks import Masks
from autosparse.weights import PLAIN


@dataclass(frozen=True)
class Compact:
    """A network without the channels that do not matter under its masks."""

    network: nn.Module
    """Computes what the masked network does; its parameters and buffers have their names in the full one."""
    masks: Masks
    """Masks of ``network``: the weights that are still pruned in it."""
    places: dict[str, Tensor]
    """By the name of a parameter or buffer of which only a part is left: the flat positions of its entries in the full
    one, int64 in its own shape. What is not named is whole."""
    parameters: tuple[int, int]
    """Numbers of parameters: left, and of the full network."""
    flops: tuple[int, int]
    """FLOPs of Linear and convolution layers, forward, for one example: left, and of the full network."""
    reason: str | None = None
    """Why not more came off, in one line; None if all was followed."""
    draws: bool = False
    """Whether the forward pass draws at random in training mode."""

    @property
    def flops_left(self) -> float:
        """Share of the FLOPs that is left."""
        return self.flops[0] / max(1, self.flops[1])

    def folded(self) -> nn.Module:
        """The network for inference alone: as it is now, with BatchNorm folded into the layers before it."""
        return folded(self.network, self.places)

    def __str__(self) -> str:
        less = " and ".join(
            f"{left:,} of {all_of:,} {what} ({100 * left / max(1, all_of):.2g} %)"
            for (left, all_of), what in ((self.parameters, "parameters"), (self.flops, "FLOPs"))
        )
        return f"compact: {less} left" + (f"; not more, because {self.reason}" if self.reason else "")

    @torch.no_grad()
    def write_back(self, model: nn.Module) -> None:
        """Copy parameters and buffers to the full network; entries of it that are not in this one stay as they are."""
        full = _tensors(model)
        for name, value in [*self.network.named_parameters(), *self.network.named_buffers()]:
            if name not in full:
                continue
            if name in self.places:
                put(full[name], self.places[name].flatten(), value.flatten())
            else:
                full[name].copy_(value)


@torch.no_grad()
def put(full: Tensor, places: Tensor, values: Tensor) -> None:
    """Write ``values`` (n,) to the flat positions ``places`` (n,) of ``full``, whatever its layout in memory."""
    flat = full.flatten()
    flat[places] = values
    full.copy_(flat.view(full.shape))


def compact(model: nn.Module, masks: Masks, input_shape: tuple[int, ...], sparse: bool = False) -> Compact:
    """A smaller network that computes what ``model`` does under ``masks``, from masks of any kind.

    The forward is traced symbolically (:mod:`torch.fx`). It removes units and channels from which no path leads to
    the output, and those that no live input reaches: the latter stay 0 whatever is trained. Inputs that nothing reads
    are not multiplied. Units that are constant (a bias alone; after BatchNorm, its bias) stay, so that training goes
    on as in the full network. Channels are followed through Linear layers, convolutions in any number of groups,
    BatchNorm, elementwise operations, residual sums, concatenations, pooling, mean over space, and flatten; around
    any other operation all channels stay. Outputs agree within rounding, in training and in evaluation mode.

    Example:

    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", 10, data.input_shape)
    >>> masks = asp.prune(model, "snip", 0.99, data.train.batches(128, limit=512))
    >>> smaller = asp.compact(model, masks, data.input_shape)     # print(smaller): what is left, and why not less
    >>> x, y = next(data.test.batches(32))
    >>> torch.allclose(smaller.network(x), masks.apply_(model)(x), atol=1e-5)
    True

    :param input_shape: shape of one example.
    :param sparse: on the CPU, if few of a Linear layer's weights are left, keep and multiply only those: its
        ``weight`` is then the vector of them (:class:`autosparse.compaction.sparse.SparseLinear`).
    :return: with a network of its own; ``model`` is left as it was. A network that cannot be traced is copied whole.
    :raises AutosparseError: if the masks are of another network.
    """
    whole = masks.apply_(copy.deepcopy(model))
    try:
        if (hook := hook_on(model, besides_onlookers=True)) is not None:
            raise NotFollowed(hook)
        found = traced(whole, input_shape)
    except NotFollowed as error:
        count = _parameters(whole)
        return Compact(whole, masks, {}, (count, count), (1, 1), str(error))
    small = _made(found, masks, sparse)
    for onlooker in onlookers(model):
        small.network.register_forward_pre_hook(onlooker)
    return small


def _made(found: Traced, masks: Masks, sparse: bool) -> Compact:
    rules = rules_of(found, masks)
    make = Maker(found, kept_channels(rules), sparse)
    for rule in rules.values():
        if not rule.knows_constants(make):
            for source in rule.sources:
                make.join(source)
        rule.build(make)
    read = [str(node.target) for node in found.graph.nodes if node.op == "get_attr"]
    tensors = {name: operator.attrgetter(name)(found.model) for name in read}
    network = CompiledGraph({**make.modules, **tensors}, make.graph, type(found.model).__name__)
    _set_modes(network, found.model)
    return Compact(
        network,
        _masks_left(network, found.model, masks, make.places),
        make.places,
        (_parameters(network), _parameters(found.model)),
        (_flops(found, network), _flops(found, found.model)),
        _obstacle(found, rules),
        found.draws,
    )


def _set_modes(network: nn.Module, full: nn.Module) -> None:
    """Put each module in the mode of its namesake, or in the mode of the whole if it has none."""
    modes = {name: module.training for name, module in full.named_modules()}
    for name, module in network.named_modules():
        module.training = modes.get(name, full.training)


def _masks_left(network: nn.Module, full: nn.Module, masks: Masks, places: Mapping[str, Tensor]) -> Masks:
    """The masks of what is left, by names in ``network``; a shared weight may have another than in ``full``."""
    first_names = {id(parameter): name for name, parameter in full.named_parameters()}
    aliases = dict(full.named_parameters(remove_duplicate=False))
    names = {first_names[id(aliases[name])]: name for name, _ in network.named_parameters()}
    left = {names[name]: mask for name, mask in masks.items() if name in names}
    parts = {n: mask.flatten()[places[n].to(mask.device)] if n in places else mask for n, mask in left.items()}
    return Masks({name: part for name, part in parts.items() if part.dim() > 1}, masks.left_out)  # not of sparse layers


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; a shared one appears under each of its names."""
    return dict([*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)])


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _flops(found: Traced, network: nn.Module) -> int:
    """FLOPs of the Linear and convolution layers of ``network``, which have as many places as in the full one."""
    total = 0
    for node in found.graph.nodes:
        full = found.module(node)
        if isinstance(full, PLAIN):
            places = math.prod(found.shapes[node][1:]) // len(full.weight)
            layer = network.get_submodule(str(node.target))
            total += 2 * places * getattr(layer, "multiplied", layer.get_parameter("weight").numel())
    return total


def _obstacle(found: Traced, rules: dict[fx.Node, Rule]) -> str | None:
    """The first operation around which all channels stay, except at the network's end."""
    for node, rule in rules.items():
        if type(rule) is Rule and node.op.startswith("call") and any(map(found.channels, rule.sources)):
            if all(user.op == "output" for user in node.users):
                continue
            return f"channels are not followed through {node.name!r} ({found.operation(node)})"
    return None
