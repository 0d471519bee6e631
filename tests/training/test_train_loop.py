from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import lenet, same_tensors, state
from torch import nn

from autosparse.criteria import score
from autosparse.errors import NonFiniteLoss
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.training import History, Recipe, accuracy, train

RECIPE = Recipe(epochs=2, batch_size=64)
FROZEN = Recipe(optimizer="sgd", lr=1e-30, weight_decay=0.0, epochs=1, batch_size=64)  # a step that changes nothing


def trained(data, recipe=RECIPE, **options):
    model = lenet()
    train(model, data, recipe, **options)
    return state(model)


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, optimizer="momentum", lr=0.05, augmentation="crop-flip")])
def test_same_seed_gives_the_same_weights_bit_for_bit(tiny_digits, recipe):
    assert same_tensors(trained(tiny_digits, recipe, seed=3), trained(tiny_digits, recipe, seed=3))


def test_another_seed_gives_other_weights(tiny_digits):
    assert not same_tensors(trained(tiny_digits, seed=3), trained(tiny_digits, seed=4))


def test_weights_do_not_depend_on_the_global_generator(tiny_digits):
    torch.manual_seed(1)
    first = trained(tiny_digits)
    torch.manual_seed(2)
    assert same_tensors(first, trained(tiny_digits))


def test_each_epoch_has_an_order_of_its_own(tiny_digits):
    labels = []

    def spying(logits, y):
        labels.extend(y.tolist())
        return F.cross_entropy(logits, y)

    train(lenet(), tiny_digits, RECIPE, loss=spying)
    assert sorted(labels[:200]) == sorted(labels[200:]) == sorted(tiny_digits.train.labels.tolist())
    assert labels[:200] != labels[200:]


def test_one_step_of_sgd_by_hand(tiny_digits):
    model, x, y = lenet(), *next(tiny_digits.train.batches(200))
    F.cross_entropy(model(x), y).backward()
    expected = {name: p.detach() - 0.5 * (p.grad + 0.01 * p.detach()) for name, p in model.named_parameters()}
    recipe = Recipe(optimizer="sgd", lr=0.5, weight_decay=0.01, epochs=1, batch_size=200)
    torch.testing.assert_close(trained(tiny_digits, recipe), expected, rtol=1e-5, atol=1e-6)


def test_augmentation_reaches_the_training_images_only(tiny_digits):
    stored = {tuple(image.flatten().tolist()) for x, _ in tiny_digits.train.batches(200) for image in x}
    tested = {tuple(image.flatten().tolist()) for x, _ in tiny_digits.test.batches(200) for image in x}
    model, seen = lenet(), {True: [], False: []}
    model.register_forward_pre_hook(lambda m, inputs: seen[m.training].extend(inputs[0].flatten(1).tolist()))
    train(model, tiny_digits, replace(RECIPE, augmentation="crop-flip"))
    assert sum(tuple(image) in stored for image in seen[True]) < 20
    assert all(tuple(image) in tested for image in seen[False])


def test_learning_rate_drops_after_the_milestone(tiny_digits):
    after = {}
    model = lenet()
    recipe = Recipe(optimizer="sgd", lr=0.1, milestones=(2,), drop=1e-30, weight_decay=0.0, epochs=3, batch_size=64)
    train(model, tiny_digits, recipe, on_epoch=lambda epoch, _: after.update({epoch: state(model)}))
    assert not same_tensors(after[1], after[2])
    assert same_tensors(after[2], after[3])


def test_nan_loss_is_reported_with_its_epoch_and_the_learning_rate(tiny_digits):
    calls = []

    def loss(logits, y):
        calls.append(len(y))
        return F.cross_entropy(logits, y) * (1.0 if sum(calls) <= 200 else torch.nan)

    with pytest.raises(
        NonFiniteLoss, match=r"loss became nan in epoch 2: lower the learning rate \(lr 0\.0012, adam\)"
    ):
        train(lenet(), tiny_digits, RECIPE, loss=loss)


def test_infinite_loss_is_reported(tiny_digits):
    with pytest.raises(NonFiniteLoss, match="loss became inf in epoch 1"):
        train(lenet(), tiny_digits, RECIPE, loss=lambda logits, y: logits.sum() * 0 + torch.inf)


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, optimizer="momentum", lr=0.05)])
def test_masked_weights_are_zero_at_the_end_and_no_others(tiny_digits, recipe):
    model = lenet()
    masks = Masks.from_scores(score(model, "random"), 0.9)
    train(model, tiny_digits, recipe, masks)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name) != 0, mask), name


def test_masks_hold_at_every_training_batch(tiny_digits):
    model = lenet()
    masks = Masks.from_scores(score(model, "random"), 0.9)
    pruned = []
    model.register_forward_pre_hook(lambda m, _: pruned.append(m.fc1.weight[~masks["fc1.weight"]].abs().max().item()))
    train(model, tiny_digits, RECIPE, masks)
    assert set(pruned) == {0.0}


def test_dense_masks_change_nothing(tiny_digits):
    assert same_tensors(trained(tiny_digits), trained(tiny_digits, masks=Masks.dense(lenet())))


def test_on_epoch_is_called_after_each_epoch_with_the_history_so_far(tiny_digits):
    calls = []
    train(lenet(), tiny_digits, RECIPE, on_epoch=lambda epoch, h: calls.append((epoch, len(h.test_accuracy))))
    assert calls == [(1, 1), (2, 2)]


def test_training_loss_is_the_mean_over_all_examples(tiny_digits):
    """Batches of 64, 64, 64 and 8 must count by their size."""
    model = lenet()
    x, y = next(tiny_digits.train.batches(200))
    expected = F.cross_entropy(model(x), y).item()
    assert train(model, tiny_digits, FROZEN).train_loss == [pytest.approx(expected, rel=1e-5)]


def test_history_ends_with_the_accuracy_of_the_trained_model(tiny_digits):
    model = lenet()
    history = train(model, tiny_digits, RECIPE)
    assert history.last == accuracy(model, tiny_digits.test)


def test_training_learns(tiny_digits):
    assert train(lenet(), tiny_digits, replace(RECIPE, epochs=5, batch_size=20)).last > 70


def test_best_is_the_highest_epoch_and_last_the_last():
    history = History([1.0, 0.5, 0.4], [80.0, 95.0, 90.0])
    assert (history.best, history.last) == (95.0, 90.0)


def test_dropout_follows_the_seed_and_leaves_torchs_generator_alone(tiny_digits):
    def losses(seed):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        torch.manual_seed(torch.seed())
        before = torch.get_rng_state()
        history = train(model, tiny_digits, Recipe(epochs=2), seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        return history.train_loss

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_a_training_whose_last_step_diverges_is_an_error(tiny_digits):
    model = build_model("lenet-300-100", 10, tiny_digits.input_shape)
    with pytest.raises(NonFiniteLoss, match="not finite"):
        train(model, tiny_digits, Recipe(epochs=1, batch_size=1000, lr=1e39, optimizer="sgd"))
