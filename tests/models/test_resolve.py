"""Names of networks from elsewhere: ``torchvision:NAME`` and ``package.module:factory``."""

import re

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.fields import ModelName
from autosparse.masks import prunable
from autosparse.models import MODELS, build_model, find_model

pytestmark = pytest.mark.usefixtures("user_models_are_importable")


def refused(name, reason, shape=(3, 8, 8), kind=AutosparseError):
    with pytest.raises(kind, match=reason):
        build_model(name, 10, shape)


def test_a_registered_name_is_its_factory():
    assert find_model("resnet18") is MODELS["resnet18"]


def test_torchvision_networks_get_the_number_of_classes():
    model = build_model("torchvision:squeezenet1_1", 7, (3, 32, 32))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert model.training


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvision_networks_with_auxiliary_outputs_have_one(name):
    with torch.device("meta"):
        model = find_model(f"torchvision:{name}")(10, (3, 96, 96))
        assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 10)


def test_every_classification_network_of_torchvision_is_found():
    from torchvision import models

    names = models.list_models(module=models)
    assert len(names) >= 80
    assert all(callable(find_model(f"torchvision:{name}")) for name in names)


def test_a_users_factory_is_built_and_initialised():
    model = build_model("user_models:tiny", 4, (1, 8, 8), seed=3)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert list(prunable(model)) == ["0.weight", "4.weight"]
    assert not model[0].bias.any()
    assert model.training


def test_a_users_factory_gives_the_same_weights_for_the_same_seed():
    first, second, other = (build_model("user_models:tiny", 4, (1, 8, 8), seed) for seed in (3, 3, 4))
    assert all(torch.equal(w, prunable(second)[name]) for name, w in prunable(first).items())
    assert not any(torch.equal(w, prunable(other)[name]) for name, w in prunable(first).items())


def test_trying_a_network_leaves_its_buffers_alone(monkeypatch):
    import user_models

    def with_norm(num_classes, input_shape):
        return nn.Sequential(nn.BatchNorm2d(3), user_models.tiny(num_classes, input_shape))

    monkeypatch.setattr(user_models, "tiny_with_norm", with_norm, raising=False)
    assert build_model("user_models:tiny_with_norm", 4, (3, 8, 8))[0].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet19", "unknown model 'resnet19': did you mean 'resnet18'?"),
        ("torchvision:resnet19", "unknown torchvision model 'resnet19': did you mean 'resnet18'?"),
        ("user_models:tinny", "unknown factory in user_models 'tinny': did you mean 'tiny'?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, reason):
    refused(name, f"^{re.escape(reason)}$", kind=UnknownName)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "no_such_module:net",
            "cannot import 'no_such_module' (ModuleNotFoundError: No module named 'no_such_module')",
        ),
        (":net", "cannot import '' (ValueError: Empty module name)"),
        ("user_models:WIDTH", "WIDTH is not a callable (num_classes, input_shape) -> nn.Module, but of type int"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(name, reason):
    refused(name, re.escape(f"model '{name}': {reason}"))


def test_a_module_that_fails_while_imported_is_refused_with_its_error(tmp_path, monkeypatch):
    (tmp_path / "broken_model.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    refused("broken_model:net", re.escape("cannot import 'broken_model' (ZeroDivisionError: division by zero)"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("user_models:without_classes", "gives (2, 192) for a batch of 2 inputs of shape (3, 8, 8) and 10 classes"),
        ("user_models:two_outputs", "gives a tuple for a batch of 2 inputs"),
        ("user_models:no_module", "TypeError: the factory returned a str, not an nn.Module"),
        ("user_models:no_arguments", "TypeError: no_arguments() takes 0 positional arguments but 2 were given"),
        ("torchvision:alexnet", "does not take inputs of shape (3, 8, 8) and 10 classes: RuntimeError"),
    ],
)
def test_networks_that_do_not_fit_the_data_are_refused_with_the_reason(name, reason):
    refused(name, re.escape(reason))


def test_grey_images_are_refused_by_a_torchvision_network():
    refused("torchvision:squeezenet1_1", "to have 3 channels, but got 1 channels", shape=(1, 32, 32))


@pytest.mark.parametrize("name", ["vgg19", "torchvision:resnet34", "user_models:tiny"])
def test_experiment_files_may_name_it(name):
    assert TypeAdapter(ModelName).validate_python(name) == name


@pytest.mark.parametrize("name", ["vgg18", "torchvision:resnet35", "user_models:tinny", "no_such_module:net"])
def test_experiment_files_may_not_name_what_is_not_there(name):
    with pytest.raises(ValidationError, match=r"unknown|cannot import"):
        TypeAdapter(ModelName).validate_python(name)
