import pytest
import torch
from builders import a_cell
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autosparse.errors import AutosparseError, UnknownName
from autosparse.training import Recipe


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("lr", "a number greater than 0"),
        ("drop", "a number greater than 0"),
        ("epochs", "a whole number at least 1"),
        ("batch_size", "a whole number at least 1"),
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_that_must_be_positive(field, limit, value):
    with pytest.raises(AutosparseError, match=f"^recipe: {field} must be {limit}, got {value}$"):
        Recipe(**{field: value})


@pytest.mark.parametrize("field", ["lr", "drop", "weight_decay"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_must_be_finite(field, value):
    with pytest.raises(AutosparseError, match=f"recipe: {field} must be .* and finite, got {value}"):
        Recipe(**{field: value})


@pytest.mark.parametrize("field", ["epochs", "batch_size"])
def test_counts_must_be_whole(field):
    with pytest.raises(AutosparseError, match=f"recipe: {field} must be a whole number at least 1, got 1.5"):
        Recipe(**{field: 1.5})


def test_weight_decay_must_not_be_negative():
    with pytest.raises(AutosparseError, match=r"recipe: weight_decay must be a number at least 0, got -0\.1"):
        Recipe(weight_decay=-0.1)


def test_weight_decay_may_be_zero():
    assert Recipe(weight_decay=0).weight_decay == 0


def test_unknown_optimizer_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown optimizer 'adan': did you mean 'adam'\?"):
        Recipe(optimizer="adan")


def test_unknown_augmentation_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown augmentation 'crop': did you mean 'crop-flip'\?"):
        Recipe(augmentation="crop")


def test_defaults_are_the_paper_s():
    recipe = Recipe()
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.batch_size) == ("adam", 1.2e-3, 5e-4, 128)
    assert (recipe.milestones, recipe.drop) == ((60, 120), 0.2)


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [("sgd", torch.optim.SGD, 0.0), ("momentum", torch.optim.SGD, 0.9), ("adam", torch.optim.Adam, None)],
)
def test_optimizer_is_built_as_named(name, kind, momentum):
    optimizer = Recipe(optimizer=name, lr=0.5, weight_decay=0.25).optimizer_for(nn.Linear(2, 2))
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert (group["lr"], group["weight_decay"], group.get("momentum")) == (0.5, 0.25, momentum)


def test_optimizer_has_every_parameter():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = Recipe().optimizer_for(model)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model.parameters()]


@given(st.sets(st.integers(1, 6)), st.floats(0.01, 0.9))
def test_learning_rate_follows_torch_s_schedule_of_milestones(milestones, drop):
    recipe = Recipe(optimizer="sgd", lr=0.5, milestones=tuple(sorted(milestones)), drop=drop)
    optimizer = recipe.optimizer_for(nn.Linear(1, 1))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(recipe.milestones), gamma=drop)
    for epoch in range(1, 8):
        assert recipe.lr_in(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_fine_tuning_holds_the_last_learning_rate():
    recipe = Recipe(lr=0.1, milestones=(2, 3, 4), drop=0.1, epochs=4).fine_tuning(7)
    assert (recipe.lr, recipe.epochs) == (pytest.approx(0.001), 7)
    assert recipe.lr_in(7) == recipe.lr


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
@given(epochs=st.integers(1, 6), length=st.integers(1, 12))
def test_schedules_by_step_are_torch_s(schedule, epochs, length):
    recipe, steps = Recipe(optimizer="sgd", lr=0.5, schedule=schedule, epochs=epochs), epochs * length
    optimizer = recipe.optimizer_for(nn.Linear(1, 1))
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    else:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        assert recipe.lr_at(step, length) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()


def test_a_warm_up_rises_by_step_to_the_rate_and_the_schedule_follows():
    rates = [Recipe(lr=1.0, milestones=(3,), drop=0.5, epochs=4, warmup=2).lr_at(step, 2) for step in range(8)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"momentum": 0.5}, "momentum applies to optimizer momentum only, not to adam: leave it out"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov applies to optimizer momentum only, not to sgd"),
        ({"optimizer": "momentum", "nesterov": True, "momentum": 0.0}, "nesterov needs a momentum greater than 0"),
        ({"optimizer": "momentum", "momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1\.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a number in \[0, 1\), got 1\.0"),
        ({"label_smoothing": float("nan")}, r"label_smoothing must be a number in \[0, 1\), and finite, got nan"),
        ({"clip_norm": 0.0}, r"clip_norm must be a number greater than 0, got 0\.0"),
        (
            {"schedule": "cosine", "milestones": (5,)},
            r"milestones apply to schedule multi-step only, not to cosine: .*\[\]",
        ),
        ({"warmup": 10}, "warmup must be from 0 to below the 10 epochs, got 10"),
        ({"warmup": -1}, "warmup must be from 0 to below the 10 epochs, got -1"),
        ({"warmup": 1.5}, r"warmup must be a whole number, got 1\.5"),
        ({"schedule": "one-cycle", "warmup": 1}, "one-cycle warms up by itself: leave warmup out"),
    ],
)
def test_what_contradicts_itself_is_refused(fields, reason):
    with pytest.raises(AutosparseError, match=f"recipe: {reason}"):
        Recipe(**fields)


def test_an_unknown_schedule_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown schedule 'cosin': did you mean 'cosine'\?"):
        Recipe(schedule="cosin")


def test_labels_are_smoothed_only_in_cross_entropy():
    with pytest.raises(AutosparseError, match="label_smoothing applies to cross-entropy only"):
        Recipe(label_smoothing=0.1).loss_in_training(lambda logits, y: logits.sum())


def test_fine_tuning_at_a_rate_next_to_0_is_refused_and_a_warm_up_is_not_repeated():
    with pytest.raises(AutosparseError, match=r"next to 0 in schedule cosine: take `retrain: rewind-lr`"):
        Recipe(schedule="cosine").fine_tuning(2)
    assert Recipe(warmup=5).fine_tuning(2).warmup == 0


def test_a_recipe_for_fewer_epochs_warms_up_for_fewer():
    assert (Recipe(warmup=5).lasting(3).warmup, Recipe(warmup=5).lasting(20).warmup) == (2, 5)


def test_options_at_their_defaults_are_in_no_id():
    new = {"momentum": 0.9, "nesterov": False, "schedule": "multi-step", "warmup": 0, "label_smoothing": 0.0}
    assert a_cell(recipe=Recipe(epochs=3, **new, clip_norm=None)).spec["recipe"] == {"epochs": 3}
    assert a_cell(recipe=Recipe(epochs=3, warmup=1)).spec["recipe"] == {"epochs": 3, "warmup": 1}


def test_milestones_count_epochs():
    assert Recipe(milestones=(0,), drop=0.5, lr=1.0, epochs=2).lr_in(1) == 0.5
    with pytest.raises(AutosparseError, match=r"milestones are numbers of epochs, at least 0, got \(-1,\)"):
        Recipe(milestones=(-1,))
