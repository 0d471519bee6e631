"""Random walks between the inputs and outputs of a network, along its weights."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor, nn

from autosparse.channels.mapping import all_groups
from autosparse.weights import prunable

TINY = 1e-300
"""Added to the strength of each layer at a unit: if all are 0, each layer is equally likely."""


class Edges:
    """A layer as edges between units: channels or features. Several edges may join the same two units."""

    def __init__(self, weight: Tensor, start: int, inputs: int | None, reads: int, writes: int):
        """
        :param start: the number of its first weight, counted over the whole network.
        :param inputs: how many units it reads; None: it is a depthwise convolution, which leads each unit to itself.
        :param reads, writes: the numbers of the groups of units that it reads and writes.
        """
        self.start, self.reads, self.writes = start, reads, writes
        self.depthwise = inputs is None
        self.strength = weight.detach().abs().double().cpu().reshape(len(weight), inputs or 1, -1)
        """(outputs, inputs, places): places in a kernel or, behind a flatten, the columns of one channel."""

    @cached_property
    def ways(self) -> dict[bool, "Ways"]:
        """The ways out of each unit that the layer reads (True: forward) or writes (False: backward)."""
        numbers = self.start + torch.arange(self.strength.numel()).view_as(self.strength)
        back = Ways(self.strength.flatten(1), numbers.flatten(1))
        if self.depthwise:
            return {True: back, False: back}
        return {True: Ways(self.strength.movedim(1, 0).flatten(1), numbers.movedim(1, 0).flatten(1)), False: back}

    def ends(self, numbers: Tensor, forward: bool) -> Tensor:
        """The unit to which each weight leads."""
        _, inputs, places = self.strength.shape
        at = (numbers - self.start) // places
        return at // inputs if forward or self.depthwise else at % inputs


class Ways:
    """The ways out of units, each taken with a probability in proportion to its strength."""

    def __init__(self, strengths: Tensor, numbers: Tensor):
        """:param strengths, numbers: the strength and the weight's number of each unit's ways, (units, ways)."""
        self.totals = strengths.sum(1)
        self.count = strengths.shape[1]
        self._numbers = numbers.flatten()
        all_zero = self.totals[:, None] == 0  # every way is then equally likely
        self._bounds = torch.where(all_zero, torch.ones_like(strengths), strengths).flatten().cumsum(0)

    def drawn(self, units: Tensor, random: torch.Generator) -> Tensor:
        """The numbers of the weights along which walks (n,) leave their ``units`` (n,)."""
        first = units * self.count
        last = first + self.count - 1
        low = torch.where(first > 0, self._bounds[first - 1], 0.0)
        aim = low + torch.rand(len(units), generator=random, dtype=torch.float64) * (self._bounds[last] - low)
        return self._numbers[torch.searchsorted(self._bounds, aim, right=True).clamp(first, last)]


class Walker:
    """Walks through a network: each step goes along a weight, with a probability in proportion to its magnitude.

    Between layers a walk goes on with any later layer that reads the same channels, as after a residual sum; all
    weights by which these layers leave the unit compete. A walk goes through a depthwise convolution, never past it.

    :raises AutosparseError: if the channels of the network cannot be followed.
    """

    def __init__(self, model: nn.Module, random: torch.Generator):
        """:param random: a CPU generator."""
        self.random, self.layers = random, list(edges_of(model))
        self.begun = {True: 0, False: 0}
        self.starts = {forward: self._starts(forward) for forward in (True, False)}

    def walk(self, count: int, forward: bool) -> tuple[Tensor, Tensor]:
        """Take ``count`` walks from the inputs (or outputs) in turn; later calls go on with the next inputs.

        :return: the walk of each step (n,), and its weight (n,). The steps of one walk are in its order.
        """
        layers, units = self.starts[forward]
        begin = (self.begun[forward] + torch.arange(count)) % len(layers)
        self.begun[forward] += count
        layer, unit = layers[begin], units[begin]
        walks, weights = [], []
        order = range(len(self.layers)) if forward else reversed(range(len(self.layers)))
        for i in order:
            here = (layer == i).nonzero().squeeze(1)
            if not len(here):
                continue
            numbers = self.layers[i].ways[forward].drawn(unit[here], self.random)
            unit[here] = self.layers[i].ends(numbers, forward)
            layer[here] = self._chosen(i, unit[here], forward)
            walks.append(here)
            weights.append(numbers)
        return torch.cat(walks), torch.cat(weights)

    def _chosen(self, i: int, units: Tensor, forward: bool) -> Tensor:
        """Draw the next layer of each walk that layer ``i`` has led to ``units``; -1 if the walk ends there."""
        onward = self._onward(i, forward)
        if not onward:
            return torch.full_like(units, -1)
        totals = torch.stack([self.layers[j].ways[forward].totals[units] for j in onward], 1) + TINY
        chosen = torch.multinomial(totals, 1, generator=self.random).squeeze(1)
        return torch.tensor(onward)[chosen]

    def _onward(self, i: int, forward: bool) -> list[int]:
        group = self.layers[i].writes if forward else self.layers[i].reads
        found = []
        for j in range(i + 1, len(self.layers)) if forward else range(i - 1, -1, -1):
            if (self.layers[j].reads if forward else self.layers[j].writes) == group:
                found.append(j)
                if self.layers[j].depthwise:
                    break
        return found

    def _starts(self, forward: bool) -> tuple[Tensor, Tensor]:
        """The layer and unit at which walks start.

        They are units that no earlier layer writes (backward: that no later layer reads).
        """
        outermost = [i for i in range(len(self.layers)) if not self._onward(i, not forward)]
        sizes = [len(self.layers[i].ways[forward].totals) for i in outermost]
        layers = [torch.full((size,), i) for i, size in zip(outermost, sizes, strict=True)]
        return torch.cat(layers), torch.cat([torch.arange(size) for size in sizes])


def edges_of(model: nn.Module) -> Iterator[Edges]:
    """The layers as edges, in the order of the forward; weights are numbered in the order of the prunable ones."""
    groups, order = all_groups(model)
    reads = {layer: i for i, group in enumerate(groups) for layer in group.columns}
    writes = {layer: i for i, group in enumerate(groups) for layer in group.rows}
    start, starts = 0, {}
    for name, weight in prunable(model).items():
        starts[name] = start
        start += weight.numel()
    for layer in order:
        name = f"{layer}.weight"
        weight = model.get_parameter(name)
        inputs = None
        if layer in reads:
            inputs = groups[reads[layer]].size or weight.shape[1]  # the group of the network's input has size 0
        yield Edges(weight, starts[name], inputs, reads.get(layer, writes[layer]), writes[layer])
