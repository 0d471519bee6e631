"""What may be asked of iterative rewind pruning, and what is refused."""

from dataclasses import replace

import pytest
import torch
from builders import lenet, same_tensors
from torch import nn

from autosparse.errors import AutosparseError, NonFiniteLoss, UnknownName
from autosparse.irp import rewind_prune
from autosparse.training import Recipe

RECIPE = Recipe(lr=0.01, epochs=1, batch_size=50)
RUN = {"iterations": 3, "final_density": 0.1, "recipe": RECIPE, "seed": 5}


def test_another_seed_gives_other_survival(tiny_digits):
    first, other = (rewind_prune(lenet(), tiny_digits, **{**RUN, "seed": seed}).survived for seed in (5, 6))
    assert not same_tensors(first, other)


def test_global_generator_is_left_alone(tiny_digits):
    model, before = lenet(), torch.get_rng_state()
    rewind_prune(model, tiny_digits, **RUN)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_draws_anew_in_each_iteration(tiny_digits):
    """If all iterations shared one draw, two steps would end at the masks of one step to the same density."""
    one, two = (rewind_prune(lenet(), tiny_digits, "random", n, 0.25, recipe=RECIPE).masks(n) for n in (1, 2))
    assert one.kept == two.kept
    assert not same_tensors(dict(one), dict(two))


def test_random_scores_depend_on_the_seed_of_the_run(tiny_digits):
    first, again, other = (
        rewind_prune(lenet(), tiny_digits, "random", 1, 0.5, recipe=RECIPE, seed=seed).survived for seed in (0, 0, 1)
    )
    assert same_tensors(first, again)
    assert not same_tensors(first, other)


def test_options_reach_the_criterion(tiny_digits):
    cold, hot = (rewind_prune(lenet(), tiny_digits, "grasp", temperature=t, **RUN).survived for t in (1.0, 100.0))
    assert not same_tensors(cold, hot)


def test_divergence_is_reported(tiny_digits):
    with pytest.raises(NonFiniteLoss, match="epoch 1"):
        rewind_prune(lenet(), tiny_digits, recipe=replace(RECIPE, optimizer="sgd", lr=1e30))


def test_unknown_criterion_suggests_the_nearest(tiny_digits):
    with pytest.raises(UnknownName, match="did you mean 'snip'"):
        rewind_prune(lenet(), tiny_digits, "snp")


class WorkStarted(Exception):
    pass


@pytest.mark.parametrize("wrong", [{"final_density": 0}, {"schedule": "geo"}, {"tempo": 3}, {"iterations": 0}])
def test_wrong_arguments_are_refused_before_the_first_training(tiny_digits, wrong):
    def untrainable(logits, y):
        raise WorkStarted

    with pytest.raises(AutosparseError):
        rewind_prune(lenet(), tiny_digits, **{**RUN, "loss": untrainable, **wrong})


class Counting(nn.Module):
    """Counts its training batches in a buffer that state_dict leaves out."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("batches", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.batches += self.training
        return self.linear(x.flatten(1))


def test_buffers_outside_the_state_dict_are_rewound_too(tiny_digits):
    model = Counting()
    rewind_prune(model, tiny_digits, iterations=1, recipe=RECIPE)
    assert model.batches.item() == 0
