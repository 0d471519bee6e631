"""Refining a scorer: its coefficients evolve towards masks that train well, judged on validation images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from autosparse.autos.backbones.linear import Linear
from autosparse.autos.scorer import Scorer
from autosparse.criteria import prune
from autosparse.data.split import Batch, Dataset
from autosparse.data.validation import HELD_OUT, with_validation
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.seeds import derive_seed, generator
from autosparse.training.ensemble import train_together
from autosparse.training.execution import Execution
from autosparse.training.group_size import group_size
from autosparse.training.loop import History, train
from autosparse.training.recipe import Recipe
from autosparse.training.stackable import Member

ERROR_FLOOR = 0.5
"""Percent, added to the error before its logarithm, so that differences far below it hardly count."""


@dataclass(frozen=True)
class Refinement:
    """A search by CMA-ES (Hansen 2016, arXiv:1604.00772) for the coefficients whose masks train best."""

    generations: int = 10
    population: int = 12
    """Candidates in each generation."""
    sparsities: tuple[float, ...] = (0.95, 0.99, 0.99)
    """Each candidate prunes one network to each of them."""
    epochs: int = 1
    """How long each of these networks is trained."""
    spread: float = 0.1
    """Standard deviation of the first candidates' coefficients, relative to the norm of those they start from."""


@dataclass(frozen=True)
class Generation:
    """How the candidates of one generation did."""

    number: int
    """From 1."""
    values: Tensor
    """(population + 1,) float64: mean log error on validation images of each candidate and, last, the search's mean."""
    accuracy: float
    """Mean accuracy, in percent on validation images, of the networks that the search's mean prunes."""
    images: int
    """How many images all trainings so far have seen."""


def refine(
    scorer: Scorer,
    make: Callable[[int], nn.Module],
    dataset: Dataset,
    recipe: Recipe,
    how: Refinement,
    score_examples: int | None,
    seed: int = 0,
    execution: Execution | None = None,
    share: float = 1.0,
    on_generation: Callable[[Generation], None] | None = None,
    known: Sequence[Tensor] = (),
) -> Scorer:
    """A scorer with better coefficients, found by pruning with them and training what is left.

    In each generation all candidates prune the same freshly drawn networks, so that they differ in nothing but their
    coefficients, and each network is trained by ``recipe`` for ``how.epochs``. The outcome is the mean of the last
    generation. The test images are never used.

    :param scorer: with a linear backbone; left as it is.
    :param make: builds the network of a seed, on the data set's device.
    :param score_examples: see :meth:`Dataset.scoring_batches`.
    :param known: ``values`` of the generations that are done; the same search continues after them.
    :raises AutosparseError: if the scorer has no coefficients, or all of them are 0.
    """
    from cmaes import CMA  # here: only this needs it

    if not isinstance(scorer.network, Linear):
        raise AutosparseError(f"backbone {scorer.backbone!r} has no coefficients to refine: use backbone 'linear'")
    start = scorer.network.coefficients.cpu().numpy()
    norm = float(np.linalg.norm(start))
    if norm == 0:
        raise AutosparseError("all coefficients of the scorer are 0: there is nothing to start a refinement from")
    search = CMA(mean=start / norm, sigma=how.spread, seed=derive_seed(seed, "refine"), population_size=how.population)
    judge = _Judge(scorer, make, with_validation(dataset, HELD_OUT, seed), recipe.lasting(how.epochs),
                   how, score_examples, seed, execution or Execution(), share)  # fmt: skip
    for number in range(1, how.generations + 1):
        candidates = [search.ask() for _ in range(how.population)]
        if number <= len(known):
            values = known[number - 1]
        else:
            values, accuracy = judge([*candidates, search.mean], number)
        search.tell(list(zip(candidates, values.tolist(), strict=False)))
        if number > len(known) and on_generation:
            on_generation(Generation(number, values, accuracy, judge.images * number))
    return with_coefficients(scorer, search.mean * norm)


def with_coefficients(scorer: Scorer, coefficients: np.ndarray) -> Scorer:
    """The same scorer with other coefficients."""
    network = Linear(len(scorer.inputs), 0)
    assert isinstance(scorer.network, Linear)
    network.load_state_dict(scorer.network.state_dict())
    network.coefficients.copy_(torch.from_numpy(coefficients))
    return replace(scorer, network=network.eval())


@dataclass
class _Judge:
    scorer: Scorer
    make: Callable[[int], nn.Module]
    dataset: Dataset
    recipe: Recipe
    how: Refinement
    score_examples: int | None
    seed: int
    execution: Execution
    share: float

    @property
    def images(self) -> int:
        """How many images the trainings of one generation see."""
        networks = (self.how.population + 1) * len(self.how.sparsities)
        return networks * self.recipe.epochs * len(self.dataset.train)

    def __call__(self, candidates: Sequence[np.ndarray], generation: int) -> tuple[Tensor, float]:
        """Mean log error of each, and the mean accuracy of the last, in percent.

        A network that cannot be pruned, or whose training diverges, has an accuracy of 0.

        :raises AutosparseError: if none can be pruned.
        """
        seeds = [derive_seed(self.seed, "refine", generation, i) for i in range(len(self.how.sparsities))]
        networks = list(zip(self.how.sparsities, seeds, map(self._batches, seeds), strict=True))
        pruned = [
            self._pruned(with_coefficients(self.scorer, candidate), *network)
            for candidate in candidates
            for network in networks
        ]
        members = [member for member in pruned if isinstance(member, Member)]
        if not members:
            raise next(member for member in pruned if isinstance(member, AutosparseError))
        trained = iter(self._trained(members))
        found = [next(trained) if isinstance(member, Member) else 0.0 for member in pruned]
        accuracy = torch.tensor(found, dtype=torch.float64).view(len(candidates), -1)
        return (100 + ERROR_FLOOR - accuracy).log().mean(1), float(accuracy[-1].mean())

    def _batches(self, seed: int) -> list[Batch]:
        return list(self.dataset.scoring_batches(generator(seed, "score"), limit=self.score_examples))

    def _pruned(self, scorer: Scorer, sparsity: float, seed: int, batches: list[Batch]) -> Member | AutosparseError:
        model = self.make(seed)
        try:
            return Member(model, prune(model, "autos", sparsity, batches, scorer=scorer), seed)
        except AutosparseError as error:
            return error

    def _trained(self, members: Sequence[Member]) -> list[float]:
        """Accuracy of each on the validation images; 0 if its training diverges."""
        data, recipe, execution = self.dataset, self.recipe, self.execution
        together = group_size(self.make, data, recipe, execution, self.share, len(members))
        found: list[float] = []
        for start in range(0, len(members), together):
            pack = members[start : start + together]
            if len(pack) > 1:
                outcomes = train_together(pack, data, recipe, execution=execution)
            else:
                outcomes = [_alone(member, data, recipe, execution) for member in pack]
            found += [0.0 if isinstance(outcome, NonFiniteLoss) else outcome.last for outcome in outcomes]
        return found


def _alone(member: Member, dataset: Dataset, recipe: Recipe, execution: Execution) -> History | NonFiniteLoss:
    try:
        return train(member.model, dataset, recipe, member.masks, member.seed, execution=execution)
    except NonFiniteLoss as error:
        return error
