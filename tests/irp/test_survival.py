import pytest
import torch
from torch import tensor

from autosparse.errors import AutosparseError
from autosparse.irp import Survival

PARAM = {"b.weight": tensor([[1.0, -2.0], [3.0, 4.0]]), "a.weight": tensor([5.0])}
GRAD = {"b.weight": tensor([[0.1, 0.2], [0.3, 0.4]]), "a.weight": tensor([0.5])}
COUNTS = {
    "b.weight": tensor([[0, 1], [2, 4]], dtype=torch.int32),
    "a.weight": tensor([3], dtype=torch.int32),
}


@pytest.fixture
def survival():
    return Survival(PARAM, GRAD, COUNTS, {"iterations": 4})


def test_size(survival):
    assert (survival.rows, survival.iterations) == (5, 4)


@pytest.mark.parametrize(
    ("iteration", "kept"),
    [(0, [[1, 1], [1, 1]]), (1, [[0, 1], [1, 1]]), (2, [[0, 0], [1, 1]]), (4, [[0, 0], [0, 1]])],
)
def test_masks_after_an_iteration_hold_what_survived_it(survival, iteration, kept):
    assert survival.masks(iteration)["b.weight"].int().tolist() == kept


def test_scores_are_the_share_of_iterations_survived(survival):
    scores = survival.scores()
    assert (scores["b.weight"].tolist(), scores["a.weight"].tolist()) == ([[0.0, 0.25], [0.5, 1.0]], [0.75])


def test_scores_are_float32(survival):
    assert {s.dtype for s in survival.scores().values()} == {torch.float32}


def test_flat_joins_the_layers_in_their_order(survival):
    features, scores = survival.flat()
    assert features["param"].tolist() == [1.0, -2.0, 3.0, 4.0, 5.0]
    assert features["grad"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert scores.tolist() == [0.0, 0.25, 0.5, 1.0, 0.75]


@pytest.mark.parametrize("per_layer", [1, 3, 4, 100])
def test_sample_has_distinct_ascending_positions_of_each_layer(survival, per_layer):
    for name, positions in survival.sample(per_layer).items():
        size = PARAM[name].numel()
        assert len(positions) == min(per_layer, size)
        assert positions.tolist() == sorted(set(positions.tolist()) & set(range(size)))


def test_sample_is_drawn_once_and_for_all(survival):
    other = Survival(PARAM, GRAD, {n: c * 0 for n, c in COUNTS.items()}, {"iterations": 9})
    assert survival.sample(2)["b.weight"].tolist() == other.sample(2)["b.weight"].tolist()


@pytest.mark.parametrize("wrong", [{}, {**GRAD, "b.weight": torch.zeros(4)}])
def test_gradients_that_do_not_fit_are_refused(wrong):
    with pytest.raises(AutosparseError, match=r"survived of 'b\.weight' are missing or differ in shape"):
        Survival(PARAM, wrong, COUNTS, {"iterations": 4})


@pytest.mark.parametrize("wrong", [{}, {**COUNTS, "a.weight": torch.zeros(2)}])
def test_counts_that_do_not_fit_are_refused(wrong):
    with pytest.raises(AutosparseError, match="are missing or differ in shape"):
        Survival(PARAM, GRAD, wrong, {"iterations": 4})
