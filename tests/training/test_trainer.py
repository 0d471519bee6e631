"""Training in parts, and the training that a criterion may use."""

from dataclasses import replace

import pytest
from builders import lenet, same_network

from autosparse.criteria import prune
from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.training import Recipe, Trainer, train

PLAIN = Recipe(optimizer="sgd", lr=0.1, milestones=(1,), drop=0.1, epochs=2, batch_size=64, augmentation="crop-flip")


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 7])  # of 2 epochs of 4 steps
def test_two_parts_make_one_whole_training(tiny_digits, cut):
    whole, parts = lenet(), lenet()
    train(whole, tiny_digits, PLAIN, seed=3)
    train(parts, tiny_digits, PLAIN, seed=3, stop=cut)
    assert not same_network(whole, parts)
    train(parts, tiny_digits, PLAIN, seed=3, start=cut)
    assert same_network(whole, parts)


@pytest.mark.parametrize(("start", "stop"), [(8, None), (0, 9), (3, 3), (-1, None), (5, 2)])
def test_steps_outside_the_training_are_refused(tiny_digits, start, stop):
    with pytest.raises(AutosparseError, match="not within a training of 8 steps"):
        train(lenet(), tiny_digits, PLAIN, start=start, stop=stop)


def test_finish_is_a_plain_training_unless_told_otherwise(tiny_digits):
    expected, model = lenet(), lenet()
    masks = prune(model, "magnitude", 0.8)
    train(expected, tiny_digits, PLAIN, masks, seed=5)
    Trainer(tiny_digits, PLAIN, seed=5).finish(model, masks)
    assert same_network(expected, model)


def test_each_run_has_data_of_its_own_and_none_is_the_pruned_network_s(tiny_digits):
    trainer = Trainer(tiny_digits, PLAIN, seed=5)
    models = [lenet() for _ in range(4)]
    for model, run in zip(models, (None, 0, 1, 1), strict=True):
        trainer(model, None, run=run)
    expected = lenet()
    train(expected, tiny_digits, PLAIN, seed=5)
    assert same_network(models[0], expected)
    assert not same_network(models[0], models[1])
    assert not same_network(models[1], models[2])
    assert same_network(models[2], models[3])


def test_ltr_trains_the_pruned_network_as_if_it_had_been_pruned_at_the_early_step(tiny_digits):
    trainer, model = Trainer(tiny_digits, PLAIN, seed=5), lenet()
    masks = prune(model, "ltr", 0.8, training=trainer, rounds=1, rewind=0.5)
    trainer.finish(model, masks)
    expected = lenet()
    train(expected, tiny_digits, PLAIN, seed=5, stop=4)
    train(expected, tiny_digits, PLAIN, masks, seed=5, start=4)
    assert same_network(expected, model)


def test_what_one_criterion_asked_for_does_not_reach_the_next_network(tiny_digits):
    trainer, first, expected = Trainer(tiny_digits, PLAIN, seed=5), lenet(), lenet()
    masks = prune(lenet(), "magnitude", 0.8)
    train(expected, tiny_digits, PLAIN, masks, seed=5)
    trainer.finish(first, prune(first, "ltr", 0.8, training=trainer, rounds=1, rewind=0.5))
    trainer.finish(model := lenet(), masks)
    assert same_network(expected, model)
    trainer.fine_tune(1)
    prune(lenet(), "lth", 0.8, training=trainer, rounds=1)
    trainer.finish(model := lenet(), masks)
    assert same_network(expected, model)


def test_fine_tuning_holds_the_last_rate_and_its_own_number_of_epochs(tiny_digits):
    trainer, model, expected = Trainer(tiny_digits, PLAIN, seed=5), lenet(), lenet()
    trainer.fine_tune(3)
    history = trainer.finish(model, Masks.dense(model))
    train(expected, tiny_digits, replace(PLAIN, lr=0.1 * 0.1, milestones=(), epochs=3), seed=5)
    assert len(history.test_accuracy) == 3
    assert same_network(expected, model)


def test_images_are_counted_as_often_as_they_are_trained_on(tiny_digits):
    n = len(tiny_digits.train)
    trainer, model = Trainer(tiny_digits, PLAIN, seed=5), lenet()
    assert (trainer.images, trainer.images_ahead) == (0, 2 * n)
    trainer(model, None, stop=3)  # of 4 steps an epoch
    assert trainer.images == 3 * PLAIN.batch_size
    trainer(model, None, start=3, stop=4)
    assert trainer.images == n
    prune(lenet(), "ltr", 0.8, training=trainer, rounds=2, rewind=0.5)
    assert (trainer.images, trainer.images_ahead) == (n + n + 2 * n, n)
    trainer.fine_tune(3)
    assert trainer.images_ahead == 3 * n


class Broken(Exception):
    pass


def broken_after(epoch):
    def on_epoch(done, _):
        if done == epoch:
            raise Broken

    return on_epoch


ASKING = {"ltr": {"rounds": 1, "rewind": 0.5}, "rigl": {"every": 2}, "gmp": {"every": 2}}


@pytest.mark.parametrize("criterion", ASKING)
def test_after_a_failure_the_masks_are_not_trained_in_another_way(tiny_digits, criterion):
    trainer, model = Trainer(tiny_digits, PLAIN, seed=5), lenet()
    masks = prune(model, criterion, 0.8, training=trainer, **ASKING[criterion])
    with pytest.raises(Broken):
        trainer.finish(model, masks, on_epoch=broken_after(trainer.ahead[1] // 4 + 1))
    with pytest.raises(AutosparseError, match="has failed: prune again with this Trainer"):
        trainer.finish(model, masks)
    again = prune(model, criterion, 0.8, training=trainer, **ASKING[criterion])
    trainer.finish(model, again)


def test_after_a_failure_of_a_whole_training_the_next_call_is_one(tiny_digits):
    trainer, model, expected = Trainer(tiny_digits, PLAIN, seed=5), lenet(), lenet()
    masks = prune(model, "magnitude", 0.8)
    with pytest.raises(Broken):
        trainer.finish(lenet(), masks, on_epoch=broken_after(1))
    trainer.finish(model, masks)
    train(expected, tiny_digits, PLAIN, masks, seed=5)
    assert same_network(expected, model)


@pytest.mark.parametrize("criterion", ASKING)
@pytest.mark.parametrize("other", ["magnitude", None])
def test_what_a_criterion_asked_for_is_not_done_with_the_masks_of_another(tiny_digits, criterion, other):
    trainer, model = Trainer(tiny_digits, PLAIN, seed=5), lenet()
    masks = prune(model, criterion, 0.8, training=trainer, **ASKING[criterion])
    with pytest.raises(AutosparseError, match="not the masks for which a criterion has set up this Trainer"):
        trainer.finish(model, other and prune(model, other, 0.8))
    trainer.finish(model, masks)


def test_masks_that_you_have_changed_are_trained_as_the_criterion_asked(tiny_digits):
    trainer, model, expected = Trainer(tiny_digits, PLAIN, seed=5), lenet(), lenet()
    masks = prune(model, "ltr", 0.8, training=trainer, rounds=1, rewind=0.5).shuffled(0)
    trainer.meant_for(masks)
    trainer.finish(model, masks)
    train(expected, tiny_digits, PLAIN, seed=5, stop=4)
    train(expected, tiny_digits, PLAIN, masks, seed=5, start=4)
    assert same_network(expected, model)


def test_a_criterion_that_asks_for_nothing_leaves_a_trainer_for_any_masks(tiny_digits):
    trainer = Trainer(tiny_digits, PLAIN, seed=5)
    prune(lenet(), "lth", 0.8, training=trainer, rounds=1)
    trainer.finish(lenet(), prune(lenet(), "magnitude", 0.8))
