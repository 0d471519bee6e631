import math

import pytest
import torch
from builders import same_network
from torch import nn

from autosparse.masks import prunable
from autosparse.models import MODELS, build_model, kaiming_normal_
from autosparse.registry import first_line
from autosparse.seeds import generator

SHAPES = {
    "lenet-300-100": (1, 28, 28),
    "lenet-5": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "resnet18": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "mobilenet_v2": (3, 32, 32),
    "vit-tiny-6-layers": (3, 32, 32),
}
LAYERS = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@pytest.fixture(scope="module", params=SHAPES)
def model(request):
    return build_model(request.param, 10, SHAPES[request.param], seed=0)


def layers(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYERS)}


def test_weights_have_the_kaiming_standard_deviation(model):
    for name, weight in prunable(model).items():
        expected = math.sqrt(2 / (weight.numel() / len(weight)))
        five_sigma = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() / expected == pytest.approx(1, abs=five_sigma), name


def test_weights_are_those_that_torch_draws(model):
    """Earlier versions drew the weights in this way, and users have stored their results."""
    name = next(name for name in SHAPES if type(build_model(name, 10, SHAPES[name])) is type(model))
    draws = generator(0, "weights")
    for layer in layers(build_model(name, 10, SHAPES[name], seed=0)).values():
        expected = nn.init.kaiming_normal_(torch.empty_like(layer.weight), nonlinearity="relu", generator=draws)
        assert torch.equal(layer.weight, expected)


def test_weights_have_mean_zero(model):
    for name, weight in prunable(model).items():
        assert abs(weight.mean()) < 5 * weight.std() / math.sqrt(weight.numel()), name


def test_biases_are_zero(model):
    assert all((layer.bias == 0).all() for layer in layers(model).values() if layer.bias is not None)


def test_normalisation_is_the_identity_at_initialisation():
    norms = [m for m in build_model("resnet18", 10, (3, 32, 32)).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    for norm in norms:
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert (norm.running_mean == 0).all()
        assert (norm.running_var == 1).all()


@pytest.mark.parametrize("name", SHAPES)
def test_same_seed_gives_the_same_weights_bit_for_bit(name):
    assert same_network(build_model(name, 10, SHAPES[name], seed=3), build_model(name, 10, SHAPES[name], seed=3))


@pytest.mark.parametrize("name", SHAPES)
def test_weights_do_not_depend_on_the_global_generator(name):
    torch.manual_seed(1)
    first = build_model(name, 10, SHAPES[name], seed=3)
    torch.manual_seed(2)
    assert same_network(first, build_model(name, 10, SHAPES[name], seed=3))


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4)])
def test_parameters_that_a_factory_draws_itself_depend_on_the_seed_alone(monkeypatch, seeds):
    assert "noise" not in MODELS
    monkeypatch.setitem(MODELS._members, "noise", lambda classes, shape: nn.Embedding(classes, *shape))
    first, second = (build_model("noise", 5, (4,), seed=seed).weight for seed in seeds)
    assert torch.equal(first, second) is (seeds[0] == seeds[1])


def test_another_seed_gives_other_weights_in_every_layer():
    first, second = (build_model("lenet-300-100", 10, (1, 8, 8), seed=seed) for seed in (0, 1))
    assert not any(torch.equal(w, prunable(second)[name]) for name, w in prunable(first).items())


@pytest.mark.parametrize("name", SHAPES)
def test_building_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    build_model(name, 10, SHAPES[name])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("lenet-300-100", (1, 8, 8), 10), ("lenet-300-100", (3, 5, 7), 4), ("resnet18", (1, 16, 16), 7)],
)
def test_logits_have_one_column_per_class(name, shape, classes):
    assert build_model(name, classes, shape).eval()(torch.zeros(2, *shape)).shape == (2, classes)


def test_resnet_stem_keeps_the_resolution():
    model = build_model("resnet18", 10, (3, 32, 32)).eval()
    shapes = []
    model.layer1.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(1, 64, 32, 32)]


def test_lenet_computes_two_relu_layers_and_a_linear_one():
    model = build_model("lenet-300-100", 10, (1, 4, 4))
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    hidden = (x.reshape(3, 16) @ model.fc1.weight.T).clamp(min=0)
    expected = (hidden @ model.fc2.weight.T).clamp(min=0) @ model.fc3.weight.T
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("layer", [nn.Conv1d(20, 50, 5), nn.Conv3d(4, 40, 3, bias=False), nn.Linear(100, 50)])
def test_kaiming_uses_the_fan_in_of_every_kind_of_layer(layer):
    weight = kaiming_normal_(layer, torch.Generator().manual_seed(0)).weight
    expected = math.sqrt(2 / (weight.numel() / len(weight)))
    assert weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weight.numel()))


def test_every_listed_model_has_a_summary_of_one_line():
    for name in MODELS:
        assert 20 < len(first_line(MODELS[name])) <= 110, name
