"""Which inputs each network takes, and that it learns from them."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.errors import AutosparseError
from autosparse.masks import prunable
from autosparse.models import MODELS, build_model, find_model

SMALLEST = {
    "lenet-5": 16,
    "resnet20": 1,
    "resnet18": 1,
    "resnet50": 1,
    "resnet18-imagenet": 1,
    "resnet50-imagenet": 1,
    "vgg16": 16,
    "vgg19": 16,
    "vgg16-4096": 32,
    "vgg19-4096": 32,
    "mobilenet_v2": 1,
    "densenet121": 8,
    "vit-tiny": 4,
    "vit-tiny-12-heads": 4,
    "vit-tiny-6-layers": 4,
}
MULTIPLES = {name: 4 for name in SMALLEST if name.startswith("vit-")}
HUGE = {"vgg16-4096", "vgg19-4096"}  # 138 M weights: only their shapes are computed


def test_every_model_but_the_fully_connected_one_declares_its_smallest_side():
    assert set(MODELS) == {"lenet-300-100", *SMALLEST}


@pytest.mark.parametrize("name", sorted(set(SMALLEST) - HUGE))
def test_forward_and_backward_reach_every_weight(name):
    model = build_model(name, 7, (3, 32, 32), seed=1)
    draws = torch.Generator().manual_seed(0)
    logits = model(torch.randn(3, 3, 32, 32, generator=draws))
    assert logits.shape == (3, 7)
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.tensor([0, 3, 6])).backward()
    for name, weight in prunable(model).items():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@pytest.mark.slow
def test_forward_and_backward_through_the_4096_head():
    model = build_model("vgg16-4096", 7, (3, 32, 32))
    logits = model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    logits.logsumexp(1).sum().backward()
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in prunable(model).values())


@pytest.mark.parametrize("name", ["vgg16", "vgg16-4096", "mobilenet_v2", "densenet121", "vit-tiny"])
def test_nothing_in_a_registered_model_is_random(name):
    with torch.device("meta"):
        model = find_model(name)(10, (3, 32, 32))
    assert not any(isinstance(module, nn.Dropout) and module.p for module in model.modules())


@pytest.mark.parametrize("name", SMALLEST)
def test_prunable_finds_the_weight_of_every_linear_and_convolutional_layer(name):
    with torch.device("meta"):
        model = find_model(name)(10, (3, 32, 32))
    assert set(prunable(model)) == {n for n, p in model.named_parameters() if p.dim() > 1}


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_the_smallest_side_and_any_channels_are_taken(name, channels):
    side = SMALLEST[name]
    shape = (channels, side, side + MULTIPLES.get(name, 1))
    with torch.device("meta"):
        model = find_model(name)(10, shape)
        assert model(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("name", MULTIPLES)
@pytest.mark.parametrize("shape", [(1, 28, 30), (3, 33, 32), (3, 6, 6)])
def test_images_that_patches_do_not_divide_are_refused(name, shape):
    message = (
        f"model '{name}' does not take inputs of shape {shape}: its height and width must be multiples of 4 pixels"
    )
    with pytest.raises(AutosparseError, match=f"^{re.escape(message)}$"):
        build_model(name, 10, shape)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", [name for name, side in SMALLEST.items() if side > 1])
def test_images_below_the_smallest_side_could_not_be_computed(name):
    side, unchecked = SMALLEST[name], MODELS[name].__wrapped__
    with pytest.raises(RuntimeError), torch.device("meta"):
        unchecked(10, (3, side, side - 1))(torch.zeros(2, 3, side, side - 1))


@pytest.mark.parametrize(
    ("name", "shape", "needs"),
    [
        ("vgg16", (3, 8, 8), "at least 16 pixels"),
        ("vgg16-4096", (3, 64, 31), "at least 32 pixels"),
        ("lenet-5", (1, 8, 8), "at least 16 pixels"),
        ("densenet121", (1, 7, 8), "at least 8 pixels"),
        ("resnet18", (784,), "at least 1 pixel"),
        ("resnet20", (28, 28), "at least 1 pixel"),
        ("vit-tiny", (3, 3, 8), "at least 4 pixels"),
    ],
)
def test_other_shapes_are_refused_with_the_smallest_side(name, shape, needs):
    message = f"model '{name}' does not take inputs of shape {shape}: it needs images (channels, height, width)"
    with pytest.raises(AutosparseError, match=f"^{re.escape(message)} with sides of {needs}$"):
        build_model(name, 10, shape)


def test_resnet20_adds_the_shortcut_before_the_last_relu():
    block = build_model("resnet20", 10, (3, 32, 32)).eval().blocks[3]
    x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    norm = 1 / (1 + 1e-5) ** 0.5  # BatchNorm at initialisation
    hidden = (F.conv2d(x, block.conv1.weight, stride=2, padding=1) * norm).clamp(min=0)
    branch = F.conv2d(hidden, block.conv2.weight, padding=1) * norm
    shortcut = torch.einsum("oi,nihw->nohw", block.shortcut[0].weight[:, :, 0, 0], x[:, :, ::2, ::2]) * norm
    torch.testing.assert_close(block(x), (branch + shortcut).clamp(min=0))


def test_lenet_5_pools_and_has_its_one_relu_before_the_last_layer():
    model = build_model("lenet-5", 10, (1, 16, 16))
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    first = F.max_pool2d(F.conv2d(x, model.conv1.weight), 2)
    second = F.max_pool2d(F.conv2d(first, model.conv2.weight), 2).reshape(2, 50)
    torch.testing.assert_close(model(x), (second @ model.fc1.weight.T).clamp(min=0) @ model.fc2.weight.T)


def test_vgg_averages_its_last_feature_map():
    model = build_model("vgg16", 10, (3, 32, 32)).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), model.features(x).mean((2, 3)) @ model.classifier.weight.T)
