"""Features by name; a criterion's name stands for its scores."""

from functools import partial

from torch import Tensor

from autosparse.criteria import CRITERIA, Criterion
from autosparse.criteria.features import FEATURES, Feature
from autosparse.criteria.features.state import State
from autosparse.errors import UnknownName


def find_feature(name: str) -> Feature:
    """The feature ``name``; if there is none, the scores of the criterion ``name``.

    :raises UnknownName: with the nearest known name.
    """
    if name in FEATURES:
        return FEATURES[name]
    if name in CRITERIA and _scores_alone(CRITERIA[name]):
        return Feature(name, partial(_scores, name), CRITERIA[name].needs & {"data"})
    raise UnknownName("feature", name, {*FEATURES, *filter(lambda found: _scores_alone(CRITERIA[found]), CRITERIA)})


def _scores_alone(criterion: Criterion) -> bool:
    """Whether it scores a network as it is, and needs at most data."""
    return "sparsity" not in criterion.options and set(criterion.options) == set(criterion.defaults)


def _scores(criterion: str, state: State, name: str) -> Tensor:
    """The criterion's scores of the network as masked so far, as a signed log."""
    return state.signed_log(criterion, state.scores(criterion), name)
