"""Batches can be gone through again: the same ones come, whatever was drawn in between."""

from functools import partial

import pytest
import torch

from autosparse.criteria import CRITERIA, Criterion, score
from autosparse.criteria.gradients import mean_gradient
from autosparse.errors import AutosparseError
from autosparse.models import build_model
from autosparse.seeds import generator


def same_batches(ones, others):
    ones, others = list(ones), list(others)
    return len(ones) == len(others) > 0 and all(
        torch.equal(a, b) for pair, other in zip(ones, others, strict=True) for a, b in zip(pair, other, strict=True)
    )


@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
def test_a_second_pass_gives_the_batches_of_the_first(tiny_digits, augmentation):
    draws = generator(3)
    batches = tiny_digits.train.batches(64, draws, augmentation, limit=150)
    first = list(batches)
    torch.rand(5, generator=draws)
    assert same_batches(first, batches)
    assert same_batches(first, batches)
    assert [len(x) for x, _ in first] == [64, 64, 22]
    assert len(batches) == 3
    assert same_batches(tiny_digits.train.batches(64), tiny_digits.train.batches(64))


def test_only_the_first_pass_moves_the_generator_on_and_the_next_pass_over_the_split_is_another(tiny_digits):
    draws, other = generator(3), generator(3)
    first = tiny_digits.train.batches(64, draws)
    seen = list(first)
    state = draws.get_state()
    list(first)
    assert torch.equal(draws.get_state(), state)
    torch.randperm(200, generator=other)
    assert torch.equal(draws.get_state(), other.get_state())
    assert not same_batches(seen, tiny_digits.train.batches(64, draws))
    assert same_batches(seen, first)


def test_two_passes_may_be_under_way_at_once(tiny_digits):
    batches = tiny_digits.train.batches(64, generator(3))
    assert all(torch.equal(x, again) for (x, _), (again, _) in zip(batches, batches, strict=True))


def test_next_takes_one_after_the_other_and_a_loop_starts_at_the_first(tiny_digits):
    batches = tiny_digits.train.batches(128, generator(3))
    first, second = next(batches), next(batches)
    assert same_batches([first, second], batches)
    with pytest.raises(StopIteration):
        next(batches)
    assert repr(batches) == "Pass(2 batches, in a random order)"


BY_DATA = [n for n in CRITERIA if "data" in CRITERIA[n].needs and not {"scorer", "training"} & set(CRITERIA[n].options)]


@pytest.mark.parametrize("name", BY_DATA)
def test_a_plain_generator_scores_as_a_list_does(tiny_digits, name):
    model = partial(build_model, "lenet-300-100", 10, tiny_digits.input_shape, seed=0)  # some change the weights
    options = {"sparsity": 0.5} if "sparsity" in CRITERIA[name].options else {}
    options |= {option: 2 for option in ("rounds", "steps") if CRITERIA[name].defaults.get(option)}
    batches = list(tiny_digits.train.batches(50, limit=100))
    wanted = score(model(), name, batches, **options)
    given = score(model(), name, (batch for batch in batches), **options)
    again = score(model(), name, tiny_digits.train.batches(50, limit=100), **options)
    assert all(torch.equal(wanted[layer], given[layer]) for layer in wanted)
    assert all(torch.equal(wanted[layer], again[layer]) for layer in wanted)


def test_a_criterion_that_goes_twice_over_an_iterator_is_refused_in_one_line(tiny_digits, monkeypatch):
    def twice(model, batches, loss):
        """|g| + |g|, by two passes."""
        first = mean_gradient(model, batches, loss)
        return {name: g.abs() + first[name].abs() for name, g in mean_gradient(model, batches, loss).items()}

    monkeypatch.setitem(CRITERIA._members, "twice", Criterion("twice", twice, frozenset({"data"}), paper=""))
    model = build_model("lenet-300-100", 10, tiny_digits.input_shape, seed=0)
    assert score(model, "twice", tiny_digits.train.batches(50))
    with pytest.raises(AutosparseError, match=r"more than once, .* only once: pass list\(batches\)$"):
        score(model, "twice", (batch for batch in tiny_digits.train.batches(50)))
