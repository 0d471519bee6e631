"""Pruning in rounds by features of what is left: what formulas and learned scorers share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.criteria.briefly import Steps, in_pieces
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.features.state import State
from autosparse.criteria.gradients import prunable_or_fail
from autosparse.criteria.rounds import geometric_sparsities, prune_in_rounds, weights_of
from autosparse.criteria.types import Batches, Loss
from autosparse.errors import AutosparseError
from autosparse.masks import Masks, Scores

Judge = Callable[[str, int, dict[str, Tensor]], Tensor]
"""``(name of a weight tensor, round from 1, features of n of its weights, each (n,)) -> their scores (n,)``."""


@dataclass(frozen=True)
class InRounds:
    """How a network is pruned in rounds, by features of the network as masked so far."""

    rounds: int = 10
    steps: Steps = field(default_factory=lambda: Steps(0))
    """How it is trained in each round before the features that are taken after training; then it is set back."""
    examples: int | None = None
    """Number of examples for gradients and activations, from the first on; None: all."""
    revive: bool = False
    """Whether a pruned weight may come back."""


def exchanged(values: Tensor, draws: torch.Generator) -> Tensor:
    """The values (n,) in a random order, which the CPU generator ``draws`` gives."""
    return values[torch.randperm(len(values), generator=draws).to(values.device)]


def in_rounds_from(values: Mapping[str, Any]) -> InRounds:
    """Rebuild :class:`InRounds` from its :func:`dataclasses.asdict`; raise KeyError, TypeError or ValueError."""
    steps = Steps(**values["steps"])
    how = InRounds(**{**values, "steps": steps})
    counts = (how.rounds, steps.batch_size, 1 if how.examples is None else how.examples)
    if min(counts) < 1 or steps.count < 0 or not isinstance(how.revive, bool):
        raise ValueError(f"these do not describe rounds of pruning: {dict(values)}")
    return how


def prune_by_features(
    model: nn.Module,
    batches: Batches | None,
    loss: Loss,
    sparsity: float,
    features: Sequence[str],
    judge: Judge,
    how: InRounds,
    whose: str,
    permute: str | None = None,
    draws: torch.Generator | None = None,
    on_round: Callable[[Masks], None] | None = None,
) -> Scores:
    """Score what is left by its features and prune a little, in ``how.rounds`` rounds; the schedule is geometric.

    One layer is judged at a time, so that memory does not grow with the network. Gradients and activations are taken in
    the mode that the model is in; it is left as it was.

    :param features: names, see :func:`autosparse.criteria.features.find.find_feature`.
    :param whose: who reads the features, for messages.
    :param permute: a feature whose values are :func:`exchanged` by ``draws`` between all weights that are left, in each
        round, so that they say nothing.
    :param on_round: called before each round with the masks so far.
    :return: the last round's scores of what stays, -inf elsewhere.
    :raises AutosparseError: if a feature needs data or steps that are not given, or steps are given that none needs.
    """
    found = {name: find_feature(name) for name in features}
    for name, feature in found.items():
        if "steps" in feature.needs and not how.steps.count:
            raise AutosparseError(
                f"{whose} reads {name!r}, a feature measured after training steps: set steps to 1 or more"
            )
        if "data" in feature.needs and batches is None:
            raise AutosparseError(f"{whose} reads {name!r}, which needs data: pass batches, an iterable of (x, y)")
    if how.steps.count and not any("steps" in feature.needs for feature in found.values()):
        raise AutosparseError(f"{whose} reads no feature measured after training steps: leave steps out")
    whole = None if batches is None else list(batches)
    pieces = None if whole is None else in_pieces(whole, how.steps.batch_size)
    examples = None if whole is None else first_examples(whole, how.examples)
    device = next(iter(prunable_or_fail(model).values())).device
    weights = weights_of(model) if how.revive else None
    reads_units = any(feature.reads_units for feature in found.values())
    steps: Steps | None = how.steps

    def score_round(i: int, masks: Masks) -> Scores:
        nonlocal steps
        if on_round:
            on_round(masks)
        state = State(
            model, masks, examples, loss, steps=steps, pieces=pieces, unmasked=weights, reads_units=reads_units
        )
        judged = {name: torch.ones_like(mask) if how.revive else mask for name, mask in masks.items()}

        def values(feature: str, name: str) -> Tensor:
            computed = found[feature].compute(state, name).to(device)
            return computed.expand(masks[name].shape)[judged[name]]

        permuted: dict[str, Tensor] = {}
        if permute is not None and draws is not None:
            parts = [values(permute, name) for name in masks]
            joined = exchanged(torch.cat(parts), draws)
            permuted = dict(zip(masks, joined.split([len(part) for part in parts]), strict=True))
        scores = {}
        for name, mask in masks.items():
            columns = {n: permuted[name] if n == permute else values(n, name) for n in found}
            result = judge(name, i + 1, columns)
            zeros = torch.zeros(mask.shape, dtype=result.dtype, device=device)
            # what is not judged scores 0: its features need not be finite, and it does not come back
            scores[name] = zeros.masked_scatter(judged[name], result)
        steps = state.steps  # with a smaller learning rate, if this round's was too high
        return scores

    return prune_in_rounds(model, geometric_sparsities(sparsity, how.rounds), score_round, how.revive)


def first_examples(batches: Sequence[tuple[Tensor, Tensor]], count: int | None) -> list[tuple[Tensor, Tensor]]:
    """The first ``count`` examples (None: all) in the given batches, the last of which may be cut."""
    if count is None:
        return list(batches)
    kept, left = [], count
    for x, y in batches:
        if left <= 0:
            break
        kept.append((x[:left], y[:left]))
        left -= len(x)
    return kept
