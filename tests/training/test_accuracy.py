"""The accuracy of a network, and what measuring it leaves alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from torch import nn

from autosparse.errors import AutosparseError
from autosparse.training import Recipe, accuracy, train

RECIPE = Recipe(epochs=2, batch_size=64)


@pytest.mark.parametrize("batch_size", [7, 90, 2000])
def test_accuracy_equals_a_count_one_by_one(tiny_digits, batch_size):
    model, split = lenet(), tiny_digits.test
    train(model, tiny_digits, RECIPE)
    right = sum(int(model(split.normalised(split.images[i : i + 1])).argmax()) == split.labels[i] for i in range(90))
    assert accuracy(model, split, batch_size) == pytest.approx(100 * right.item() / 90)


@pytest.mark.parametrize(("side", "expected"), [(8, 2000), (64, 2000), (224, 163), (5000, 1)])
def test_accuracy_takes_fewer_large_images_at_a_time(tiny_digits, side, expected):
    asked = []

    class Large(type(tiny_digits.test)):
        input_shape = (3, side, side)

        def batches(self, batch_size):
            asked.append(batch_size)
            return super().batches(batch_size)

    accuracy(lenet(), Large(**vars(tiny_digits.test)))
    assert asked == [expected]


@pytest.mark.parametrize("training", [True, False])
def test_accuracy_leaves_the_mode_of_each_layer_as_it_was(tiny_digits, training):
    model = lenet().train(training)
    model.fc2.train(not training)
    modes = [module.training for module in model.modules()]
    accuracy(model, tiny_digits.test)
    assert [module.training for module in model.modules()] == modes


def test_accuracy_is_measured_in_eval_mode_and_leaves_batchnorm_alone(tiny_digits):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    before = copy.deepcopy(model.state_dict())
    accuracy(model, tiny_digits.test)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class AlwaysDropping(nn.Module):
    """Drops out in evaluation mode too, as Monte Carlo dropout does."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(288, 10)

    def forward(self, x):
        return self.head(F.dropout(self.conv(x).flatten(1)))


def test_a_network_that_draws_in_evaluation_mode_draws_by_the_seed_of_its_training(tiny_digits):
    model, accuracies = AlwaysDropping(), []
    for elsewhere in (1, 2):
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        accuracies.append(train(copy.deepcopy(model), tiny_digits, RECIPE, seed=3).test_accuracy)
        assert torch.equal(torch.get_rng_state(), before)
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize("shape", [(1,), (), (10, 2)])
def test_outputs_that_are_no_logits_of_classes_have_no_accuracy(tiny_digits, shape):
    """The largest of one number is always the first: that would be the share of label 0."""

    class Other(nn.Module):
        def forward(self, x):
            return x.new_zeros(len(x), *shape)

    with pytest.raises(AutosparseError, match=r"Other returns \(200.*let it return one for each class"):
        accuracy(Other(), tiny_digits.train)
