"""Arguments in the names of models: how they are written, read, checked and bound."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.errors import AutosparseError
from autosparse.masks import prunable
from autosparse.models import MODELS, build_model, checked_name, find_model, register_model
from autosparse.models.arguments import name_from, parse_name, written_name
from autosparse.models.signature import defaults_of
from autosparse.plugins import withholding

pytestmark = pytest.mark.usefixtures("user_models_are_importable")

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
NAMES = st.from_regex(r"arg_[a-z0-9_]{0,6}", fullmatch=True)


def parameters(name, shape=(3, 32, 32)):
    with torch.device("meta"):
        return sum(p.numel() for p in find_model(name)(10, shape).parameters())


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_name_that_is_written_reads_as_what_it_was_written_from_and_is_written_the_same_again(arguments):
    name = written_name("net", arguments)
    bare, found = parse_name(name)
    assert (bare, found) == ("net", arguments)
    assert [type(found[key]) for key in arguments] == [type(value) for value in arguments.values()]
    assert written_name(bare, found) == name


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet20", {}),
        ("resnet20()", {}),
        ("resnet20 ( width = 32 , )", {"width": 32}),
        ("a.b:c(x=-1.5, y='q', z=(1, [2]))", {"x": -1.5, "y": "q", "z": [1, [2]]}),
        ("net(a=true, b=false, c=null, d=True, e=None)", {"a": True, "b": False, "c": None, "d": True, "e": None}),
    ],
)
def test_names_are_read_as_python_and_yaml_write_them(name, arguments):
    assert parse_name(name)[1] == arguments


@pytest.mark.parametrize(
    "inside",
    [
        *("8", "width=8", "width=8))", "width=8)+f(", "width=__import__('os'))", "width=8, width=9)", "*[8])"),
        *("**{'width': 8})", "width={1: 2})", "width=1e999)", "width=2j)", "width=b'a')", "width=9)(x=1)"),
        *("width=[width])", "width=1 if 2 else 3)", "lambda=3)", "width=99999999999999999999)"),
        f"width={'(' * 230}{')' * 230})",
    ],
)
def test_what_is_no_argument_is_refused_in_a_line_with_an_example(inside):
    with pytest.raises(AutosparseError, match=r"write its arguments as in resnet20\(width=32\)") as told:
        build_model(f"resnet20({inside}", 10, (1, 8, 8))
    assert "\n" not in str(told.value)


def test_a_name_too_long_for_a_record_is_refused():
    with pytest.raises(AutosparseError, match="more than 500 characters"):
        find_model(f"resnet20(width={'1' * 500})")


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ({"name": "resnet20"}, "resnet20"),
        ({"width": 32, "name": "resnet20", "blocks": 5}, "resnet20(blocks=5, width=32)"),
        ({"name": "m:f", "act": "relu", "bias": True, "p": None}, 'm:f(act="relu", bias=True, p=None)'),
        ({"name": "m:f", "p": -0.0}, "m:f(p=0.0)"),
    ],
)
def test_a_mapping_has_one_name(mapping, name):
    assert name_from(mapping) == name


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"width": 32}, "a model with arguments is written {name: resnet20, width: 32}"),
        ({"name": 3}, "is written {name: resnet20, width: 32}"),
        ({"name": "resnet20(width=8)", "blocks": 2}, "write all arguments in its name, or all as keys"),
        ({"name": "resnet20", "two words": 2}, "'two words' is not the name of an argument"),
        ({"name": "resnet20", "class": 2}, "'class' is not the name of an argument"),
        ({"name": "resnet20", 3: 2}, "3 is not the name of an argument"),
        ({"name": "resnet20", "width": {"a": 1}}, "'width' must be a number, a text, true, false, null, or a list"),
        ({"name": "resnet20", "width": float("inf")}, "'width' must be a number"),
        ({"name": "resnet20", "width": "\ud800"}, "'width' must be a number"),
    ],
)
def test_a_mapping_that_is_no_model_is_refused_with_the_reason(mapping, reason):
    with pytest.raises(AutosparseError, match=re.escape(reason)):
        name_from(mapping)


@pytest.mark.parametrize(
    ("name", "smaller", "larger"),
    [
        ("lenet-300-100", "hidden=[30]", "hidden=[300, 300, 100]"),
        ("lenet-5", "conv1=4, conv2=5, fc=6", "fc=501"),
        ("resnet20", "width=8", "blocks=5"),
        ("resnet18", "width=8", "width=65"),
        ("resnet50", "width=8", "width=65"),
        ("resnet18-imagenet", "width=8", "width=65"),
        ("resnet50-imagenet", "width=8", "width=65"),
        ("vgg16", "width=8", "width=65"),
        ("vgg19", "width=8", "width=65"),
        ("mobilenet_v2", "width=0.5", "width=2"),
        ("densenet121", "growth=8", "growth=33"),
        ("vit-tiny", "depth=2, width=24", "depth=13"),
    ],
)
def test_arguments_make_our_networks_smaller_and_larger(name, smaller, larger):
    assert parameters(f"{name}({smaller})") < parameters(name) < parameters(f"{name}({larger})")
    with torch.device("meta"):
        assert find_model(f"{name}({smaller})")(7, (1, 32, 32))(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_every_argument_of_ours_is_tried_above_and_the_published_depths_have_their_weights():
    with_arguments = {name for name in MODELS if defaults_of(MODELS[name])}
    assert set(MODELS) - with_arguments == {"vgg16-4096", "vgg19-4096", "vit-tiny-6-layers", "vit-tiny-12-heads"}
    assert len(prunable(find_model("resnet20(blocks=9)")(10, (3, 8, 8)))) == 56 + 2  # 1x1 shortcuts
    assert parameters("vit-tiny(depth=6)") == parameters("vit-tiny-6-layers")


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("resnet20(width=16)", "resnet20"),
        ("resnet20(width=32,blocks=3)", "resnet20(width=32)"),
        ("lenet-300-100(hidden=(300, 100))", "lenet-300-100"),
        ("mobilenet_v2(width=1)", "mobilenet_v2"),
        ("mobilenet_v2(width=2)", "mobilenet_v2(width=2.0)"),
        ("user_models:sized(width=8, bias=False)", "user_models:sized(bias=False, width=8)"),
        ("torchvision:resnet18(groups=1)", "torchvision:resnet18(groups=1)"),
    ],
)
def test_a_network_has_one_name_and_that_of_ours_leaves_out_defaults(name, one):
    assert checked_name(name) == one
    assert checked_name(one) == one


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet20(widht=8)", "model 'resnet20' has no argument 'widht'; it takes width, blocks"),
        ("resnet20(width='8')", "model 'resnet20': 'width' must be a whole number at least 1, got '8'"),
        ("resnet20(width=True)", "'width' must be a whole number at least 1, got True"),
        ("lenet-300-100(hidden=8)", "'hidden' must be a list, each item a whole number at least 1, got 8"),
        ("lenet-300-100(hidden=[8, 0])", "'hidden' must be a list, each item a whole number at least 1"),
        (
            "resnet20(num_classes=3)",
            "'num_classes' is not an argument to set, it comes from the data set: leave it out",
        ),
        ("vgg16-4096(width=8)", "model 'vgg16-4096' takes no arguments: leave out 'width'"),
        ("vit-tiny(width=30)", "width 30 with 3 heads"),
        ("torchvision:resnet18(witdh=8)", "has no argument 'witdh'; it takes zero_init_residual, groups"),
        ("torchvision:resnet18(groups='a')", "'groups' must be a whole number, got 'a'"),
        ("torchvision:resnet18(weights='DEFAULT')", "'weights' is not an argument to set, networks start untrained"),
        ("torchvision:googlenet(aux_logits=True)", "'aux_logits' is not an argument to set"),
        ("user_models:tiny(width=8)", "takes no arguments: leave out 'width', or let its factory have it after the"),
        ("user_models:sized(depth=2, width=3)", "has no argument 'depth'; it takes width, bias"),
        ("user_models:sized(width=2.5)", "'width' must be a whole number, got 2.5"),
        ("user_models:sized(bias=True)", "needs the argument 'width', too"),
        ("user_models:sized(input_shape=[1], width=3)", "'input_shape' is not an argument to set"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(name, reason):
    with pytest.raises(AutosparseError, match=re.escape(reason)) as told:
        build_model(name, 10, (3, 8, 8))
    assert "\n" not in str(told.value)


def test_arguments_of_the_users_factory_are_passed_on():
    assert build_model("user_models:sized(width=5)", 4, (1, 8, 8))[1].weight.shape == (5, 64)
    assert build_model("user_models:sized(width=5, bias=True)", 4, (1, 8, 8))[1].bias is not None
    assert build_model("user_models:with_options(width=6, other='a')", 4, (1, 8, 8))[1].weight.shape == (6, 64)


def test_a_factory_that_changes_its_argument_changes_no_other_network():
    name = "user_models:changing(hidden=[3, 5])"
    factory = find_model(name)
    shapes = [
        [tuple(w.shape) for w in prunable(make(4, (8,))).values()] for make in (factory, factory, find_model(name))
    ]
    assert shapes == [[(5, 8), (3, 5), (4, 3)]] * 3


def test_arguments_of_torchvision_are_passed_on():
    model = build_model("torchvision:resnet18(zero_init_residual=true)", 10, (3, 32, 32))
    assert not model.layer1[0].bn2.weight.any()


def test_code_that_is_withheld_is_not_imported_for_its_arguments_and_keeps_its_name():
    with withholding() as record:
        record.plugins.add("their_plugin")
        assert checked_name("no_such_module:net(width=8)") == "no_such_module:net(width=8)"
        assert checked_name("theirs(b=2, a=1)") == "theirs(a=1, b=2)"
    assert record.code == ["no_such_module:net", "their_plugin"]
    assert record.trusted == {"model theirs"}


def test_a_model_with_parentheses_in_its_registered_name_is_refused():
    with pytest.raises(AutosparseError, match="parentheses hold arguments"):
        register_model("net(8)")(lambda num_classes, input_shape: None)
