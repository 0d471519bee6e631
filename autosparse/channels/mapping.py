"""Which channels of a network stay or go together, read off the graph of its forward."""

from dataclasses import dataclass, field, replace

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autosparse.channels.operations import ELEMENTWISE, KEPT_WHOLE, arguments, averaged_places, pools_places
from autosparse.errors import AutosparseError

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(eq=False)
class Group:
    """Channels that stay or go together, and the layers, by their name in the model, that hold a part of each.

    After a flatten several adjacent entries belong to one channel: channel j of n owns the columns j * w to
    (j + 1) * w - 1 of a Linear with n * w inputs.
    """

    size: int
    """Number of channels."""
    rows: list[str] = field(default_factory=list)
    """Conv and Linear layers that compute them (several if a sum ties them), and depthwise convolutions on them."""
    norms: list[str] = field(default_factory=list)
    """BatchNorm layers on them."""
    columns: list[str] = field(default_factory=list)
    """Conv and Linear layers that read them."""
    fixed: bool = False
    """Whether they reach the network's input or output, and so cannot be removed."""


def channel_groups(model: nn.Module) -> list[Group]:
    """The groups of channels that can be removed from ``model``, in the order of its forward.

    The forward is traced symbolically (:mod:`torch.fx`) and needs no data. Channels are followed through Linear layers,
    convolutions (depthwise ones too), BatchNorm, pooling, mean over space, flatten, and elementwise operations, which
    tie the channels of the tensors that they take (residual sums). Channels of the input and of the last layer are in
    no group.

    :raises AutosparseError: naming the operation through which channels cannot be followed, e.g. ``torch.cat``, or
        the reason why the forward cannot be traced; also if there is no channel to remove.
    """
    groups = [group for group in all_groups(model)[0] if group.rows and group.columns and not group.fixed]
    if not groups:
        raise _refused(model, "none of its channels lies between two Conv or Linear layers")
    return groups


def all_groups(model: nn.Module) -> tuple[list[Group], list[str]]:
    """All groups of channels, the input's first and the output's included, and the order of the layers.

    The order holds the names of Conv and Linear layers as the forward calls them. Channels are followed, and
    errors raised, as by :func:`channel_groups`.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:  # whatever a forward raises on symbols
        reason = str(error).split("\n")[0]
        raise _refused(model, f"its forward cannot be traced ({type(error).__name__}: {reason})") from error
    follower = _Follower(model)
    for node in graph.nodes:
        follower.follow(node)
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    return follower.groups, [name for name in called if isinstance(model.get_submodule(name), Weighted)]


def _refused(model: nn.Module, reason: str) -> AutosparseError:
    return AutosparseError(
        f"no channel mapping for {type(model).__name__}: {reason}. Whole channels are followed through Conv, Linear, "
        f"BatchNorm, elementwise operations, pooling and flatten; for other models take an unstructured criterion"
    )


@dataclass(frozen=True)
class _Signal:
    """What flows along an edge of the graph: a tensor (batch, channels, ...)."""

    group: Group
    dims: int = 0
    """How many dimensions the tensor has; 0: unknown."""
    flat: bool = False
    """Whether its second dimension holds several entries per channel, one for each place."""


class _Follower:
    """Follows channels from node to node, and merges the groups of those that an operation ties."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.inputs = Group(0, fixed=True)
        self.groups: list[Group] = [self.inputs]
        self.signals: dict[fx.Node, _Signal] = {}
        self.shapes: set[fx.Node] = set()
        self.batch_sizes: set[fx.Node] = set()
        self.seen: set[int] = set()

    def follow(self, node: fx.Node) -> None:
        """Give ``node`` its signal, computed from the signals of the nodes before it."""
        if node.op in ("placeholder", "get_attr"):
            self.signals[node] = _Signal(self.inputs)
        elif node.op == "output":
            for source in node.all_input_nodes:
                self._signal(node, source).group.fixed = True
        elif not self._is_shape(node):
            module = self.model.get_submodule(str(node.target)) if node.op == "call_module" else None
            self.signals[node] = self._through(node, module)

    def _through(self, node: fx.Node, module: nn.Module | None) -> _Signal:
        name = type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))
        operation = name.lower().replace("_", "")
        signal = self._signal(node, node.all_input_nodes[0]) if node.all_input_nodes else _Signal(self.inputs)
        if isinstance(module, Weighted | _BatchNorm):
            return self._through_layer(node, module, signal)
        if operation in ELEMENTWISE and node.all_input_nodes:
            return self._tied(node)
        if all(self._signal(node, source).group is self.inputs for source in node.all_input_nodes):
            return _Signal(self.inputs)
        if pools_places(operation, signal.dims):
            return signal
        viewed = operation in ("view", "reshape") and self._keeps_batch(node)
        if viewed or (operation == "flatten" and _flattens_all(node, module)):
            return replace(signal, dims=2, flat=signal.flat or signal.dims > 2)
        if operation == "mean" and (left := _dims_after_mean(node, signal.dims)):
            return replace(signal, dims=left)
        if operation in KEPT_WHOLE:
            signal.group.fixed = True
            return signal
        raise self._lost(node, "channels cannot be followed through it")

    def _through_layer(self, node: fx.Node, module: Weighted | _BatchNorm, signal: _Signal) -> _Signal:
        layer, group = str(node.target), signal.group
        identity = id(module if isinstance(module, _BatchNorm) else module.weight)
        if identity in self.seen:
            raise self._lost(node, "its weights are used more than once")
        self.seen.add(identity)
        if isinstance(module, _BatchNorm):
            self._check_width(node, signal, module.num_features)
            group.norms.append(layer)
            return signal
        dims, outputs = module.weight.dim(), module.weight.shape[0]
        if not group.fixed and signal.dims != dims:
            raise self._lost(node, f"it reads a tensor of {signal.dims} dimensions, whose channels are not its inputs")
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        self._check_width(node, signal, module.weight.shape[1] * groups)
        if groups > 1 and groups == outputs == module.weight.shape[1] * groups:
            group.rows.append(layer)
            return replace(signal, dims=dims)
        if groups > 1:
            raise self._lost(node, f"it is a convolution in {groups} groups that is not depthwise")
        group.columns.append(layer)
        self.groups.append(Group(outputs, rows=[layer]))
        return _Signal(self.groups[-1], dims)

    def _tied(self, node: fx.Node) -> _Signal:
        """Tie the channels of all tensors that an elementwise operation takes."""
        first, *others = [self._signal(node, source) for source in node.all_input_nodes]
        for other in others:
            alike = (first.group.size, first.dims, first.flat) == (other.group.size, other.dims, other.flat)
            if not (alike or first.group.fixed or other.group.fixed):
                raise self._lost(node, "it takes tensors of different channels or dimensions")
            if first.group is not other.group:
                first = self._merged(first, other)
        return first

    def _merged(self, signal: _Signal, other: _Signal) -> _Signal:
        """Merge both groups; leave the input's as it is, since all of its channels are kept anyway."""
        if signal.group is self.inputs:
            signal, other = other, signal
        into, gone = signal.group, other.group
        into.fixed |= gone.fixed
        if gone is not self.inputs:
            into.rows += gone.rows
            into.norms += gone.norms
            into.columns += gone.columns
            self.groups.remove(gone)
            for node, known in self.signals.items():
                if known.group is gone:
                    self.signals[node] = replace(known, group=into)
        return signal

    def _is_shape(self, node: fx.Node) -> bool:
        """Whether ``node`` is a shape or batch size, as in ``x.view(x.size(0), -1)``; if so, it is noted."""
        source, *rest = node.args or (None,)
        if source in self.shapes or (node.op == "call_method" and node.target == "size"):
            (self.batch_sizes if rest == [0] else self.shapes).add(node)
            return not rest or rest == [0]
        if node.target is getattr and rest == ["shape"]:
            self.shapes.add(node)
        return node in self.shapes

    def _keeps_batch(self, node: fx.Node) -> bool:
        return len(node.args) == 3 and node.args[1] in self.batch_sizes and node.args[2:] == (-1,)

    def _check_width(self, node: fx.Node, signal: _Signal, width: int) -> None:
        size = signal.group.size
        if signal.group.fixed or width == size or (signal.flat and width % size == 0):
            return
        raise self._lost(node, f"it takes {width} inputs, which do not belong to {size} channels")

    def _signal(self, node: fx.Node, source: fx.Node) -> _Signal:
        if source not in self.signals:
            raise self._lost(node, "it computes with the shape of a tensor")
        return self.signals[source]

    def _lost(self, node: fx.Node, reason: str) -> AutosparseError:
        module = f" ({type(self.model.get_submodule(str(node.target))).__name__})" if node.op == "call_module" else ""
        name = getattr(node.target, "__name__", str(node.target))
        return _refused(self.model, f"at {name!r}{module}, {reason}")


def _flattens_all(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a flatten leaves only the batch dimension as it is."""
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    given = arguments(node, "start_dim", "end_dim")
    return bool(given.get("start_dim", 0) == 1 and given.get("end_dim", -1) == -1)


def _dims_after_mean(node: fx.Node, dims: int) -> int:
    """How many dimensions a mean over space leaves; 0 if the mean is over other dimensions."""
    places = averaged_places(node, dims)
    if not places:
        return 0
    return dims if arguments(node, "dim", "keepdim").get("keepdim", False) else dims - len(places)
