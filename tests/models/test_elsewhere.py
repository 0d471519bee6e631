"""Networks of timm, and networks that give an object with logits."""

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import prunable
from autosparse.models import build_model, find_model
from autosparse.models.logits import Logits

pytestmark = pytest.mark.usefixtures("user_models_are_importable")


def linear(num_classes, input_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for timm that knows two networks, one with a size of its own, and notes how they are made."""
    module, asked = ModuleType("timm"), []

    def create_model(name, pretrained, num_classes, in_chans, **options):
        asked.append((name, pretrained, num_classes, in_chans, options))
        return linear(num_classes, (in_chans, 8, 8))

    module.create_model = create_model
    module.list_models = lambda: ["convnext_atto", "vit_tiny_patch16_224"]
    module.is_model = lambda name: name in module.list_models()
    module.models = SimpleNamespace(get_pretrained_cfg_value=lambda name, key: name.startswith("vit"))
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


def test_a_network_of_timm_is_made_untrained_for_the_classes_and_channels(timm):
    assert build_model("timm:convnext_atto", 5, (1, 8, 8))(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    assert timm == [("convnext_atto", False, 5, 1, {})]


def test_one_with_a_size_of_its_own_is_made_for_the_images(timm):
    build_model("timm:vit_tiny_patch16_224", 5, (1, 8, 8))
    assert timm == [("vit_tiny_patch16_224", False, 5, 1, {"img_size": (8, 8)})]


def test_a_network_that_timm_does_not_have_is_refused_with_the_nearest(timm):
    with pytest.raises(UnknownName, match=r"^unknown timm model 'convnext_ato': did you mean 'convnext_atto'\?$"):
        find_model("timm:convnext_ato")


def test_one_that_is_like_none_of_them_is_refused_without_the_whole_list(timm):
    with pytest.raises(AutosparseError, match=r"^unknown timm model '9z': timm\.list_models\(\) lists them$"):
        find_model("timm:9z")


def test_what_is_no_image_is_refused(timm):
    with pytest.raises(AutosparseError, match=re.escape("it takes images (channels, height, width)")):
        build_model("timm:convnext_atto", 5, (64,))


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AutosparseError, match=re.escape("needs the package timm: pip install 'autosparse[timm]'")):
        find_model("timm:convnext_atto")


def test_the_logits_of_an_output_are_taken(monkeypatch):
    import user_models

    class Classifier(nn.Module):
        def __init__(self, num_classes, input_shape):
            super().__init__()
            self.classifier = linear(num_classes, input_shape)

        def forward(self, pixel_values):
            return SimpleNamespace(loss=None, logits=self.classifier(pixel_values))

    monkeypatch.setattr(user_models, "classifier", Classifier, raising=False)
    model = build_model("user_models:classifier", 4, (1, 8, 8))
    assert isinstance(model, Logits)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert list(prunable(model)) == ["model.classifier.1.weight"]
    assert model.training


def test_arguments_of_timm_are_passed_on_but_not_those_that_the_data_set_gives(timm):
    build_model("timm:convnext_atto(drop_rate=0.1)", 5, (1, 8, 8))
    assert timm == [("convnext_atto", False, 5, 1, {"drop_rate": 0.1})]
    for name, reason in (("in_chans", "comes from the data set"), ("pretrained", "networks start untrained")):
        with pytest.raises(AutosparseError, match=rf"'{name}' is not an argument to set, \D*{reason}: leave it out$"):
            find_model(f"timm:convnext_atto({name}=3)")
