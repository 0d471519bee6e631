import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from torch import nn

from autosparse.errors import NonFiniteLoss
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.training import Execution, Member, Recipe, train, train_together

RECIPE = Recipe(epochs=2, batch_size=64)
SGD = Recipe(optimizer="momentum", lr=0.05, epochs=2, batch_size=48, milestones=(1,), augmentation="crop-flip")
SPARSITIES = (0.0, 0.5, 0.9, 0.98)


class Odd(nn.Sequential):
    """Layers, one without a bias, whose sizes fill no vector register."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 37, bias=False), nn.ReLU(), nn.Linear(37, 10))


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 37), nn.BatchNorm1d(37), nn.ReLU(), nn.Linear(37, 10))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=2)
        )
        self.classifier = nn.Linear(12, 10)

    def forward(self, x):
        return self.classifier(self.features(x).relu().mean((2, 3)))


class Tokens(nn.Module):
    """A linear layer on a sequence: (batch, tokens, width)."""

    def __init__(self):
        super().__init__()
        self.each = nn.Linear(4, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.each(x.reshape(len(x), 16, 4)).relu().mean(1))


def members(make, count=4):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        model = make()
        draws = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data.uniform_(-0.2, 0.2, generator=draws)
        scores = {n: p.detach().abs() for n, p in model.named_parameters() if p.dim() > 1}
        masks = Masks.from_scores(scores, SPARSITIES[seed % 4]) if seed else None
        made.append(Member(model, masks, seed))
    return made


def alone(member, data, recipe, **options):
    model = copy.deepcopy(member.model)
    history = train(model, data, recipe, member.masks, member.seed, **options)
    return model.state_dict(), history


@pytest.mark.parametrize("make", [lenet, Odd])
@pytest.mark.parametrize("recipe", [RECIPE, SGD, replace(SGD, optimizer="sgd")], ids=["adam", "momentum", "sgd"])
def test_linear_networks_come_out_bit_for_bit_as_alone(tiny_digits, make, recipe):
    packed = members(make)
    expected = [alone(member, tiny_digits, recipe) for member in packed]
    for member, history, (state, lonely) in zip(
        packed, train_together(packed, tiny_digits, recipe), expected, strict=True
    ):
        assert history == lonely
        assert all(torch.equal(value, state[name]) for name, value in member.model.state_dict().items())


@pytest.mark.parametrize("make", [lenet, Odd, Normed, Convolutional])
def test_networks_come_out_as_alone_within_noise_under_bfloat16(tiny_digits, make):
    execution, noise = Execution("bfloat16"), 2e-2
    packed = members(make)
    expected = [alone(member, tiny_digits, SGD, execution=execution) for member in packed]
    together = train_together(packed, tiny_digits, SGD, execution=execution)
    for member, history, (state, lonely) in zip(packed, together, expected, strict=True):
        torch.testing.assert_close(history.train_loss, lonely.train_loss, rtol=noise, atol=noise)
        for name, value in member.model.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=noise, atol=noise)


def test_a_members_result_does_not_depend_on_its_company(tiny_digits):
    one, few, many = (train_together(members(lenet, count), tiny_digits, RECIPE) for count in (1, 2, 7))
    assert one == few[:1]
    assert few == many[:2]


@pytest.mark.parametrize("make", [Convolutional, Normed, Tokens])
@pytest.mark.parametrize(("recipe", "noise"), [(RECIPE, 5e-3), (SGD, 1e-4)], ids=["adam", "momentum"])
def test_other_networks_come_out_as_alone_within_noise(tiny_digits, make, recipe, noise):
    """Adam's first steps are as large for a gradient that is noise as for any other."""
    packed = members(make)
    expected = [alone(member, tiny_digits, recipe) for member in packed]
    for member, history, (state, lonely) in zip(
        packed, train_together(packed, tiny_digits, recipe), expected, strict=True
    ):
        torch.testing.assert_close(history.train_loss, lonely.train_loss, rtol=1e-3, atol=1e-4)
        for name, value in member.model.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=1e-3, atol=noise)


def test_resnet20_can_be_stacked_whole(tiny_digits):
    torch.manual_seed(0)
    images = F.interpolate(tiny_digits.train.images.float(), 32).byte().expand(-1, 3, -1, -1)[:16]
    split = replace(
        tiny_digits.train, images=images.contiguous(), labels=tiny_digits.train.labels[:16],
        mean=torch.zeros(3), std=torch.ones(3),
    )  # fmt: skip
    data = replace(tiny_digits, train=split, test=split)
    packed = [Member(build_model("resnet20", 10, (3, 32, 32), seed), seed=seed) for seed in range(2)]
    recipe = Recipe(epochs=1, batch_size=8, lr=1e-4)
    expected = [alone(member, data, recipe)[1] for member in packed]
    together = train_together(packed, data, recipe)
    for history, lonely in zip(together, expected, strict=True):
        torch.testing.assert_close(history.train_loss, lonely.train_loss, rtol=1e-3, atol=1e-3)


def test_pruned_weights_stay_exactly_zero_and_others_move(tiny_digits):
    packed = members(lenet)
    before = [copy.deepcopy(member.model.state_dict()) for member in packed]
    train_together(packed, tiny_digits, SGD)
    for member, old in zip(packed, before, strict=True):
        for name, mask in (member.masks or {}).items():
            weight = member.model.state_dict()[name]
            assert not weight[~mask].any()
            assert (weight[mask] != old[name][mask]).any()


def test_steps_within_a_training_are_those_of_the_whole(tiny_digits):
    packed = members(lenet)
    expected = [alone(member, tiny_digits, RECIPE, start=3) for member in packed]
    assert train_together(packed, tiny_digits, RECIPE, start=3) == [history for _, history in expected]


def test_a_member_that_diverges_leaves_the_others_as_they_were(tiny_digits):
    packed = members(lenet, 3)
    expected = [alone(member, tiny_digits, RECIPE)[1] for member in packed]
    packed[1].model.fc1.bias.data[0] = torch.inf
    outcomes = train_together(packed, tiny_digits, RECIPE)
    assert isinstance(outcomes[1], NonFiniteLoss)
    assert "epoch 1" in str(outcomes[1])
    assert [outcomes[0], outcomes[2]] == [expected[0], expected[2]]
