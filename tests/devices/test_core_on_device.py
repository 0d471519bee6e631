"""Criteria, models, training alone and in packs, IRP: on the emulated device as on the CPU."""

import copy

import emulated
import pytest
import torch
import torch.nn.functional as F
from builders import lenet
from torch import nn

from autosparse.autos import fit_scorer
from autosparse.criteria import CRITERIA, prune, score
from autosparse.criteria.features import FEATURES
from autosparse.irp import rewind_prune
from autosparse.masks import Masks
from autosparse.models import build_model, kaiming_normal_
from autosparse.seeds import generator
from autosparse.training import Execution, Member, Recipe, Trainer, train, train_together
from autosparse.training import group_size as group_size_module
from autosparse.training.group_size import group_size

HERE = emulated.NAME
RECIPE = Recipe(epochs=2, batch_size=64, augmentation="crop-flip", lr=2**-7)
FLOAT32 = Execution("float32")


class Net(nn.Sequential):
    """Convolution, BatchNorm, dropout and linear layers; one that criteria of channels can follow."""

    def __init__(self, dropout=0.0):
        super().__init__(
            nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 10),
        )  # fmt: skip


def network(device, seed=0, dropout=0.0):
    return kaiming_normal_(Net(dropout), generator(seed)).to(device)


def state(model):
    return {name: value.cpu() for name, value in model.state_dict().items()}


def assert_close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, **tolerance)


@pytest.fixture(scope="module")
def survival_of_cpu(tiny_digits):
    return rewind_prune(network("cpu"), tiny_digits, iterations=2, recipe=RECIPE)


def options(name, data, survival):
    known = {
        "scorer": lambda: fit_scorer(survival, epochs=1),
        "training": lambda: Trainer(data, RECIPE, execution=FLOAT32),
        "rounds": lambda: 2,
        "steps": lambda: 3,
        "every": lambda: 2,
        "expression": lambda: "trained + log_product",
    }
    taken = [option for option in known if option in CRITERIA[name].options]
    if name == "autos":  # this scorer is the paper's
        taken.remove("steps")
    return {option: known[option]() for option in taken}


@pytest.mark.parametrize("name", list(CRITERIA))
def test_a_criterion_prunes_there_as_it_does_on_the_cpu(device, tiny_digits, survival_of_cpu, name):
    def masks(where):
        data = tiny_digits.to(where)
        batches = list(data.scoring_batches(generator("score"), limit=64))
        return prune(network(where), name, 0.7, batches, **options(name, data, survival_of_cpu))

    expected, found = masks("cpu"), masks(HERE)
    assert all(mask.device.type == HERE for mask in found.values())
    assert found.kept == expected.kept
    same = sum(int((found[n].cpu() == mask).sum()) for n, mask in expected.items())
    assert same >= 0.99 * expected.total  # float noise may swap weights of nearly the same score


@pytest.mark.parametrize("name", list(FEATURES))
def test_a_feature_is_there_what_it_is_on_the_cpu(device, tiny_digits, name):
    def scores(where):
        batches = list(tiny_digits.to(where).scoring_batches(generator("score"), limit=64))
        brief = {"steps": 2, "batch_size": 16} if "steps" in FEATURES[name].needs else {}
        return score(network(where), "formula", batches, expression=f"{name} + 1e-3 * param", sparsity=0.0, **brief)

    found = scores(HERE)
    assert all(own.device.type == HERE for own in found.values())
    assert_close(found, scores("cpu"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["random", "snip", "grasp"])
def test_scoring_seeds_no_generator_of_another_device(device, tiny_digits, name):
    score(network("cpu", dropout=0.5), name, list(tiny_digits.scoring_batches(generator("score"), limit=64)))
    assert device.seeded == 0


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_dropout_draws_the_same_each_time_and_leaves_the_devices_generator_as_it_was(device, tiny_digits, name):
    model = network(HERE, dropout=0.5)
    batches = list(tiny_digits.to(HERE).scoring_batches(generator("score"), limit=64))
    before = device.get_rng_state()
    first, again = (score(model, name, batches) for _ in range(2))
    assert all(torch.equal(first[n], s) for n, s in again.items())
    assert torch.equal(device.get_rng_state(), before)


@pytest.mark.parametrize("name", ["lenet-300-100", "resnet20"])
def test_building_a_model_seeds_no_device(device, name):
    before = torch.get_rng_state()
    build_model(name, 10, (3, 32, 32))
    assert device.seeded == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_built_on_the_cpu_also_where_the_device_is_the_default(device):
    expected = state(lenet())
    with torch.device(HERE):
        built = lenet()
    assert {parameter.device.type for parameter in built.parameters()} == {"cpu"}
    assert_close(state(built), expected, rtol=0, atol=0)


def test_weights_drawn_on_the_device_are_those_drawn_on_the_cpu(device):
    drawn = kaiming_normal_(Net().to(HERE), generator(0))
    assert_close(state(drawn), state(network("cpu")), rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "momentum", "sgd"])
def test_a_training_there_is_the_one_on_the_cpu(device, tiny_digits, optimizer):
    def trained(where):
        model = network(where)
        masks = Masks.from_scores(score(model, "random"), 0.8)
        recipe = Recipe(epochs=2, batch_size=64, optimizer=optimizer, augmentation="crop-flip", lr=2**-9)
        return model, train(model, tiny_digits.to(where), recipe, masks, execution=FLOAT32)

    (expected, history), (found, own) = trained("cpu"), trained(HERE)
    assert own.train_loss == pytest.approx(history.train_loss, rel=1e-2)
    assert_close(state(found), state(expected), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_a_pack_trains_there_as_its_members_do_alone(device, tiny_digits, precision):
    data, execution = tiny_digits.to(HERE), Execution(precision)
    recipe = Recipe(epochs=2, batch_size=64, optimizer="momentum", lr=2**-6)
    members = [Member(network(HERE, seed), None, seed) for seed in range(3)]
    alone = [copy.deepcopy(member) for member in members]
    together = train_together(members, data, recipe, execution=execution)
    for member, own, outcome in zip(alone, members, together, strict=True):
        history = train(member.model, data, recipe, seed=member.seed, execution=execution)
        tolerance = 1e-3 if precision == "float32" else 5e-2
        assert outcome.train_loss == pytest.approx(history.train_loss, rel=tolerance)
        assert_close(state(own.model), state(member.model), rtol=10 * tolerance, atol=tolerance)


def test_auto_is_bfloat16_where_the_device_has_it(device):
    assert Execution().precision_on(HERE) == "bfloat16"


def test_dropout_of_a_training_draws_from_its_seed(device, tiny_digits):
    def trained():
        model = network(HERE, dropout=0.5)
        train(model, tiny_digits.to(HERE), RECIPE, seed=3, execution=FLOAT32)
        return state(model)

    before = device.get_rng_state()
    first = trained()
    assert torch.equal(device.get_rng_state(), before)
    F.dropout(torch.ones(5, device=HERE))
    assert_close(trained(), first, rtol=0, atol=0)


class Trials:
    """Trials of packs in which ``fitting`` networks fit, and each pack pays; a network takes a mebibyte."""

    def __init__(self, monkeypatch, device, data, fitting=32):
        self.counts, self.data, self.fitting = [], data, fitting
        device.free = 1 << 34
        monkeypatch.setattr(group_size_module, "_seconds", self.seconds)

    def seconds(self, make, count, *given):
        self.counts.append(count)
        if count > self.fitting:
            raise torch.OutOfMemoryError("planted")
        return 1.0

    def group_size(self, **options):
        return group_size(lambda seed: network(HERE, seed), self.data, RECIPE, Execution(), **options)


@pytest.fixture
def trials(device, tiny_digits, monkeypatch):
    return Trials(monkeypatch, device, tiny_digits.to(HERE))


def test_no_more_networks_are_tried_than_there_are(trials):
    assert trials.group_size(most=2) == 2
    assert trials.counts == [1, 2]


def test_one_network_needs_no_trial(trials):
    assert trials.group_size(most=1) == 1
    assert trials.counts == []


def test_memory_is_planned_by_the_jobs_share_of_the_device(trials, device):
    device.total = device.free = 32 << 20
    assert trials.group_size() == 16
    assert trials.group_size(share=0.25) == 4
    device.free = 6 << 20  # the jobs beside it have taken theirs
    assert trials.group_size(share=0.25) == 3


def test_a_pack_that_does_not_fit_in_memory_is_tried_at_half_its_size(trials):
    trials.fitting = 10
    assert trials.group_size() == 8
    assert trials.counts == [1, 32, 16, 8]
    trials.fitting = 1
    assert trials.group_size() == 1


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_trial_of_a_pack_runs_there(device, tiny_digits, precision):
    seconds = group_size_module._seconds(
        lambda seed: network(HERE, seed), 3, tiny_digits.to(HERE), RECIPE, Execution(precision)
    )
    assert seconds > 0


def test_irp_there_gives_the_survival_data_of_the_cpu(device, tiny_digits, survival_of_cpu):
    found = rewind_prune(network(HERE), tiny_digits.to(HERE), iterations=2, recipe=RECIPE, execution=FLOAT32)
    assert_close(found.param, survival_of_cpu.param, rtol=0, atol=0)
    assert_close(found.grad, survival_of_cpu.grad)
    same = sum(int((found.survived[n] == count).sum()) for n, count in survival_of_cpu.survived.items())
    assert same > 0.9 * sum(count.numel() for count in survival_of_cpu.survived.values())
