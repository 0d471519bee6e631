"""Precision: what it comes to on which device, and what it touches."""

import pytest
import torch
import torch.nn.functional as F
from conv_nets import fresh

from autosparse.criteria import score
from autosparse.errors import AutosparseError, UnknownName
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.training import Execution, Recipe, Trainer, execution, train

RECIPE = Recipe(epochs=3, batch_size=20, lr=2e-3)
HALF = Execution("bfloat16")


def test_an_unknown_precision_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown precision 'bfloat': did you mean 'bfloat16'\?"):
        Execution("bfloat")


@pytest.mark.parametrize(
    ("asked", "device", "has_it", "expected"),
    [
        ("auto", "cpu", True, "float32"),
        ("float32", "cpu", True, "float32"),
        ("bfloat16", "cpu", True, "bfloat16"),
        ("auto", "cuda", True, "bfloat16"),
        ("auto", "cuda", False, "float32"),
        ("float32", "cuda", True, "float32"),
        ("bfloat16", "cuda", True, "bfloat16"),
    ],
)
def test_what_a_precision_comes_to(monkeypatch, asked, device, has_it, expected):
    monkeypatch.setattr(execution, "_has_bfloat16", lambda device: has_it)
    assert Execution(asked).precision_on(device) == expected


def test_bfloat16_on_a_gpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(execution, "_has_bfloat16", lambda device: False)
    with pytest.raises(AutosparseError, match="'cuda:1' has no bfloat16: take precision float32 or auto"):
        HALF.precision_on("cuda:1")


def test_on_a_cpu_the_default_is_float32_bit_for_bit(tiny_digits):
    models = [fresh(), fresh()]
    for model, chosen in zip(models, (None, Execution("float32")), strict=True):
        train(model, tiny_digits, RECIPE, execution=chosen)
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in models), strict=True))


def test_bfloat16_learns_like_float32(tiny_digits):
    single, half = (train(fresh(), tiny_digits, RECIPE, execution=chosen) for chosen in (None, HALF))
    assert half.train_loss != single.train_loss
    assert half.train_loss == pytest.approx(single.train_loss, rel=0.05)
    assert half.last == pytest.approx(single.last, abs=8)


def test_in_bfloat16_weights_and_loss_stay_float32(tiny_digits):
    model, dtypes = fresh(), set()

    def loss(logits, y):
        dtypes.add(logits.dtype)
        return F.cross_entropy(logits, y)

    train(model, tiny_digits, RECIPE, loss=loss, execution=HALF)
    assert dtypes == {torch.float32}
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_in_bfloat16_only_training_computes_so_and_the_accuracy_is_float32(tiny_digits):
    model, dtypes = fresh(), {True: set(), False: set()}
    model.conv2.register_forward_hook(lambda m, _, out: dtypes[m.training].add(out.dtype))
    train(model, tiny_digits, RECIPE, execution=HALF)
    assert dtypes == {True: {torch.bfloat16}, False: {torch.float32}}  # the trial of the layout is in eval mode, too


def test_in_bfloat16_masks_hold(tiny_digits):
    model = fresh()
    masks = Masks.from_scores(score(model, "random"), 0.8)
    train(model, tiny_digits, RECIPE, masks, execution=HALF)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name) != 0, mask), name


def test_a_trainer_trains_as_it_is_told_on_the_way_and_at_the_end(tiny_digits):
    recipe = Recipe(epochs=1, batch_size=50)
    expected, on_the_way, at_the_end = (build_model("lenet-300-100", 10, (1, 8, 8)) for _ in range(3))
    train(expected, tiny_digits, recipe, execution=HALF)
    trainer = Trainer(tiny_digits, recipe, execution=HALF)
    trainer(on_the_way, None)
    trainer.finish(at_the_end, None)
    for model in (on_the_way, at_the_end):
        assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), model.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_auto_computes_in_bfloat16_where_it_can(tiny_digits):
    model, dtypes = fresh().cuda(), set()
    model.conv2.register_forward_hook(lambda m, _, out: dtypes.add(out.dtype) if m.training else None)
    history = train(model, tiny_digits.to("cuda"), RECIPE)
    expected = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    assert dtypes == {expected}
    assert history.train_loss == pytest.approx(train(fresh(), tiny_digits, RECIPE).train_loss, rel=0.05)
