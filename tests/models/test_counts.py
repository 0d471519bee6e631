"""Parameter counts and layer shapes against published ones; on the meta device, so that no weight is drawn."""

import pytest
import torch
from torch import nn

from autosparse.masks import prunable
from autosparse.models import find_model

CIFAR, MNIST, IMAGENET = (10, (3, 32, 32)), (10, (1, 28, 28)), (1000, (3, 224, 224))


def build(name, num_classes, input_shape):
    with torch.device("meta"):
        return find_model(name)(num_classes, input_shape)


def weight_shapes(name, task=CIFAR):
    return [tuple(weight.shape) for weight in prunable(build(name, *task)).values()]


PUBLISHED = [
    ("lenet-300-100", MNIST, 266_610),  # LeCun et al. 1998; Han et al. 2015
    ("lenet-5", MNIST, 431_080),  # Caffe; Lee et al. 2019: 431K
    ("resnet20", CIFAR, 269_722 + 2_752),  # He et al. 2016: 0.27 M, and two 1x1 shortcuts with BatchNorm (option B)
    ("resnet18", CIFAR, 11_173_962),  # github.com/kuangliu/pytorch-cifar, as are the next five
    ("resnet50", CIFAR, 23_520_842),
    ("vgg16", CIFAR, 14_728_266),
    ("vgg19", CIFAR, 20_040_522),  # GraSP and ProsPr: 20.0 M
    ("densenet121", CIFAR, 6_956_298 + 128),  # and the BatchNorm of torchvision's stem
    ("mobilenet_v2", CIFAR, 3_504_872 - 990 * 1281),  # torchvision's with 10 classes: strides have no weights
    # timm's vit_tiny_patch16_224 with the patches and classes of CIFAR-10, without class token and learned positions
    ("vit-tiny", CIFAR, 5_717_416 - (768 - 48) * 192 - 192 - 197 * 192 - 193 * 990),
    ("vit-tiny-12-heads", CIFAR, 5_350_090),
    ("vit-tiny-6-layers", CIFAR, 2_680_906),
    ("resnet18-imagenet", IMAGENET, 11_689_512),  # torchvision's tables, as all that follow
    ("resnet50-imagenet", IMAGENET, 25_557_032),
    ("vgg16-4096", IMAGENET, 138_365_992),
    ("vgg19-4096", IMAGENET, 143_678_248),
    ("mobilenet_v2", IMAGENET, 3_504_872),
    ("torchvision:mobilenet_v2", IMAGENET, 3_504_872),
    ("torchvision:densenet121", IMAGENET, 7_978_856),
]


@pytest.mark.parametrize(("name", "task", "count"), PUBLISHED)
def test_parameter_count_is_the_published_one(name, task, count):
    assert sum(p.numel() for p in build(name, *task).parameters()) == count


@pytest.mark.parametrize(
    ("name", "task", "count"), [("lenet-300-100", MNIST, 266_200), ("resnet18", CIFAR, 11_164_352)]
)
def test_prunable_count(name, task, count):
    assert sum(w.numel() for w in prunable(build(name, *task)).values()) == count


VGG16 = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), *[(256, 256)] * 2, (512, 256), *[(512, 512)] * 5]
VGG19 = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), *[(256, 256)] * 3, (512, 256), *[(512, 512)] * 7]
WIDE_HEAD = [(4096, 512 * 7 * 7), (4096, 4096), (10, 4096)]


@pytest.mark.parametrize(
    ("name", "channels", "head"),
    [
        ("vgg16", VGG16, [(10, 512)]),
        ("vgg19", VGG19, [(10, 512)]),
        ("vgg16-4096", VGG16, WIDE_HEAD),
        ("vgg19-4096", VGG19, WIDE_HEAD),
    ],
)
def test_vgg_has_the_layers_of_its_paper(name, channels, head):
    assert weight_shapes(name) == [(*pair, 3, 3) for pair in channels] + head


def test_lenet_5_has_the_layers_of_snip():
    assert weight_shapes("lenet-5", MNIST) == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]


def test_resnet20_has_19_layers_of_3x3_two_projections_and_a_linear_one():
    stage1 = [(16, 3, 3, 3), *[(16, 16, 3, 3)] * 6]
    stage2 = [(32, 16, 3, 3), (32, 32, 3, 3), (32, 16, 1, 1), *[(32, 32, 3, 3)] * 4]
    stage3 = [(64, 32, 3, 3), (64, 64, 3, 3), (64, 32, 1, 1), *[(64, 64, 3, 3)] * 4]
    assert weight_shapes("resnet20") == [*stage1, *stage2, *stage3, (10, 64)]


@pytest.mark.parametrize(
    ("name", "layers"),  # projections included
    [("resnet18", 21), ("resnet50", 54), ("mobilenet_v2", 53), ("densenet121", 121)],
)
def test_number_of_layers(name, layers):
    assert len(weight_shapes(name)) == layers


@pytest.mark.parametrize(
    ("name", "shape", "channels", "height", "width"),  # of the last feature map
    [
        ("lenet-5", (1, 28, 28), 50, 4, 4),
        ("resnet20", (3, 32, 32), 64, 8, 8),
        ("resnet18", (3, 32, 32), 512, 4, 4),
        ("resnet50", (3, 64, 64), 2048, 8, 8),
        ("resnet18-imagenet", (3, 224, 224), 512, 7, 7),
        ("resnet50-imagenet", (3, 224, 224), 2048, 7, 7),
        ("vgg16", (3, 32, 32), 512, 2, 2),
        ("vgg19", (3, 64, 32), 512, 4, 2),
        ("vgg16-4096", (3, 32, 32), 512, 1, 1),
        ("vgg19-4096", (3, 224, 224), 512, 7, 7),
        ("mobilenet_v2", (3, 32, 32), 1280, 4, 4),
        ("densenet121", (3, 32, 32), 1024, 4, 4),
    ],
)
def test_stem_and_strides_lead_to_the_known_last_feature_map(name, shape, channels, height, width):
    model, maps = build(name, 10, shape), []
    for module in model.modules():
        if not isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda module, inputs, output: maps.append(tuple(output.shape)))
    model.eval()(torch.zeros(1, *shape, device="meta"))
    assert [shape for shape in maps if len(shape) == 4][-1] == (1, channels, height, width)
