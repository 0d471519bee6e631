"""Cells in this process: alone, in packs, under ablations. That every criterion works is for the smoke grid."""

import functools
import gc
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch
from builders import a_cell

from autosparse.criteria import CRITERIA
from autosparse.data import load_dataset
from autosparse.devices import DeviceLost
from autosparse.errors import NonFiniteLoss
from autosparse.experiment.store import Store
from autosparse.runner.work import cells as module
from autosparse.runner.work import train_cells
from autosparse.runner.work.cells import run_cells
from autosparse.training import Recipe

RECIPE = Recipe(epochs=2, lr=2e-3, batch_size=256)
TIMES = {"seconds", "seconds_score", "seconds_train", "trained_together"}


def short_cell(criterion="snip", sparsity=0.8, seed=0, recipe=RECIPE, **changes):
    return a_cell(criterion, sparsity, seed, recipe=recipe, **changes)


def results(cells, tmp_path, together=None):
    """Results by cell, without what a run's surroundings decide."""
    packs = run_cells(cells, Store(tmp_path), load_dataset("digits"), "cpu", together)
    done = [pair for pack in packs for pair in pack]
    assert sorted(c.id for c, _ in done) == sorted(c.id for c in cells)
    by_id = {c.id: r if isinstance(r, Exception) else {n: v for n, v in r.items() if n not in TIMES} for c, r in done}
    return [by_id[c.id] for c in cells]


MIXED = [
    short_cell("dense", 0.0),
    short_cell("random", 0.9),
    short_cell("snip", 0.8),
    short_cell("snip", 0.95),
    short_cell("snip", 0.95, seed=3),
    short_cell("snip", 0.9, ablation="invert"),
    short_cell("snip", 0.9, ablation="shuffle"),
    short_cell("grasp", 0.9, ablation="reinit", options={"temperature": 200.0}),
    short_cell("synflow", 0.9, options={"rounds": 5}),
    short_cell("magnitude", 0.98),
]


@pytest.mark.parametrize("together", [None, 2, 3, len(MIXED)])
def test_a_result_does_not_depend_on_the_company(tmp_path, together):
    assert results(MIXED, tmp_path, together) == results(MIXED, tmp_path, 1)


def test_cells_that_leave_off_in_the_midst_of_a_training_are_trained_apart_from_others(tmp_path):
    some = [
        short_cell("ltr", 0.5, options={"rounds": 1}),
        short_cell("random", 0.5),
        short_cell("ltr", 0.8, options={"rounds": 1}),
    ]
    assert results(some, tmp_path, 3) == results(some, tmp_path, 1)


def test_cells_whose_masks_change_are_trained_apart_from_others_and_say_how_they_changed(tmp_path):
    own = {"options": {"every": 2}}
    some = [
        short_cell("rigl", 0.8, **own),
        short_cell("random", 0.8),
        short_cell("set", 0.9, **own),
        short_cell("gmp", 0.9, **own),
    ]
    found = results(some, tmp_path, 4)
    assert found == results(some, tmp_path, 1)
    rigl, fixed, grown, gradual = found
    assert "masks_changed" not in fixed
    for result, asked in ((rigl, 0.8), (grown, 0.9), (gradual, 0.9)):
        assert result["kept"] == result["total"] - round(asked * result["total"])
        changed = result["masks_changed"]
        assert changed["steps"][:3] == [2, 4, 6]
        assert len({len(column) for column in changed.values()}) == 1
    assert rigl["masks_changed"]["overlap"][-1] < 1
    assert rigl["masks_changed"]["ever_alive"][-1] > 1 - rigl["sparsity"]
    assert gradual["masks_changed"]["kept"][-1] == gradual["kept"]
    assert gradual["masks_changed"]["ever_alive"] == [1.0] * len(gradual["masks_changed"]["steps"])


def test_a_cell_tells_its_size_and_the_images_it_took(tmp_path):
    n = len(load_dataset("digits").train)
    snip, lth = results([short_cell("snip"), short_cell("lth", options={"rounds": 3})], tmp_path, 2)
    assert (snip["images"], lth["images"]) == (2 * n, (3 + 1) * 2 * n)
    assert snip["parameters"] == snip["total"] + 300 + 100 + 10  # and the biases


@pytest.mark.parametrize(
    ("criterion", "options", "images"),
    [
        ("random", {}, 0),
        ("magnitude", {}, 0),
        ("snip", {}, 600),
        ("synflow", {"rounds": 5}, 5),  # an input of ones in each round
        ("force", {"rounds": 5}, 3 * 512 + 2 * 88),  # a batch in each round, in turn
        ("grasp", {}, 2 * 600),
        ("early", {"rounds": 2, "steps": 3, "batch_size": 10}, 2 * 3 * 10),
        ("formula", {"expression": "log_grad + activation", "rounds": 3, "examples": 50}, 3 * 50),
        ("lth", {"rounds": 2}, 2 * 2 * 1437),
    ],
)
def test_a_cell_tells_how_many_images_its_method_was_shown(tmp_path, criterion, options, images):
    both = [short_cell(criterion, sparsity, options=options, score_examples=600) for sparsity in (0.5, 0.6)]
    assert [result["images_score"] for result in results(both, tmp_path)] == [images, images]


def test_a_cell_tells_which_weights_no_mask_covers(tmp_path):
    plain, attending = (
        results([short_cell("magnitude", 0.5, model=model)], tmp_path)[0]
        for model in ("lenet-300-100", "tests.runner.narrow_models:transformer")
    )
    assert plain["left_out"] == {"names": [], "share": 0.0}
    assert attending["left_out"] == {"names": ["position"], "share": 32 / attending["parameters"]}
    assert attending["density_by_layer"].keys() >= {"layer.self_attn.in_proj_weight", "embed.weight"}
    assert attending["total"] == 8 * 4 + (12 + 4) * 4 + 2 * 8 * 4 + 4 * 10
    assert 0 < attending["effective_kept"] <= attending["kept"]
    assert attending["flops_dense"] > 0


def test_networks_are_scored_once_for_all_sparsities(tmp_path, monkeypatch):
    scored = []
    snip = CRITERIA["snip"]

    @functools.wraps(snip.function)
    def counting(*given, **options):
        scored.append(1)
        return snip.function(*given, **options)

    monkeypatch.setitem(CRITERIA._members, "snip", replace(snip, function=counting))
    results([short_cell("snip", s, seed) for seed in (0, 1) for s in (0.5, 0.8, 0.9)], tmp_path)
    assert len(scored) == 2


def test_a_cell_that_fails_is_told_of_and_the_others_are_as_alone(tmp_path, monkeypatch):
    good = [short_cell("random", 0.5), short_cell("random", 0.9)]
    bad = short_cell("snip", 0.9, seed=7)
    prune = module._pruned

    def failing(which, *given):
        if which == bad:
            raise RuntimeError("planted")
        return prune(which, *given)

    monkeypatch.setattr(module, "_pruned", failing)
    first, error, second = results([good[0], bad, good[1]], tmp_path, 3)
    assert str(error) == "planted"
    assert [first, second] == results(good, tmp_path, 1)


@pytest.fixture
def asserting(monkeypatch):
    """Makes trainings fail with an error of the GPU; append to this list, and the GPU fails in everything after it."""
    broken = []
    error = RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`")

    def assert_in_a_kernel(*given, **options):
        raise error

    def synchronize():
        if broken:
            raise error

    monkeypatch.setattr(module.Trainer, "finish", assert_in_a_kernel)
    monkeypatch.setattr(train_cells, "train_together", assert_in_a_kernel)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    return broken


@pytest.mark.parametrize("together", [1, 2])
def test_an_error_that_breaks_the_process_ends_it_and_is_no_failure_of_the_cells_after_it(
    tmp_path, asserting, together
):
    some = [short_cell("random", seed=seed) for seed in (0, 1)]
    assert [str(error)[:10] for error in results(some, tmp_path, together)] == ["CUDA error"] * 2, "it goes on"
    asserting.append(True)
    with pytest.raises(DeviceLost, match=r"^CUDA error: device-side assert triggered, after which"):
        results(some, tmp_path, together)


def test_a_device_that_is_lost_in_a_training_ends_the_process_also_where_it_still_answers(tmp_path, monkeypatch):
    def lost(*given, **options):
        raise DeviceLost("planted")

    monkeypatch.setattr(module.Trainer, "finish", lost)
    with pytest.raises(DeviceLost, match="planted"):
        results([short_cell("random")], tmp_path)


def test_a_network_that_diverges_in_a_pack_is_told_of(tmp_path):
    wild = [short_cell("random", 0.5, seed, recipe=replace(RECIPE, optimizer="sgd", lr=1e30)) for seed in range(3)]
    assert all(isinstance(error, NonFiniteLoss) for error in results(wild, tmp_path, 3))


def test_a_pack_that_does_not_fit_in_memory_is_halved_and_starts_anew(tmp_path, monkeypatch):
    sizes, held, train_together = [], [], train_cells.train_together

    def small(members, *given, **options):
        sizes.append(len(members))
        assert all(reference() is None for reference in held), "what did not fit is still there"
        batch = torch.zeros(10)
        held.append(weakref.ref(batch))
        if len(members) > 2:
            for member in members:
                member.model.fc1.weight.data.zero_()  # as if it had trained for a while
            raise torch.OutOfMemoryError("planted")
        return train_together(members, *given, **options)

    some = [short_cell("random", 0.5, seed) for seed in range(5)]
    expected = results(some, tmp_path, 1)
    monkeypatch.setattr(train_cells, "train_together", small)
    assert results(some, tmp_path, 5) == expected
    assert sizes == [5, 2, 3, 2]


def test_where_the_trial_of_a_pack_fails_cells_train_one_by_one_and_the_reason_is_told(tmp_path, monkeypatch, caplog):
    def planted(*given):
        raise RuntimeError("expected scalar type Float but found BFloat16\nmore of it")

    monkeypatch.setattr(module, "group_size", planted)
    some = [short_cell("random", seed=seed) for seed in (0, 1)]
    assert [result["test_accuracy"] > 0 for result in results(some, tmp_path)] == [True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "2 cells of lenet-300-100 are trained one by one, because a trial of them together failed: "
        "RuntimeError: expected scalar type Float but found BFloat16"
    ]


def test_small_linear_networks_share_a_pack_and_larger_ones_train_alone(tmp_path):
    def together(model):
        some = [short_cell("random", seed=seed, model=model) for seed in (0, 1)]
        packs = run_cells(some, Store(tmp_path), load_dataset("digits"), "cpu")
        return [record["trained_together"] for pack in packs for _, record in pack]

    assert together("lenet-300-100") == [2, 2]
    assert together("tests.runner.narrow_models:resnet20") == [1, 1]


def masks_of(tmp_path, **changes):
    """Densities and accuracy of a magnitude cell with ``changes``."""
    [result] = results([short_cell("magnitude", recipe=Recipe(epochs=3, lr=2e-3), **changes)], tmp_path)
    return result


def test_shuffle_and_reinit_keep_the_layer_densities_and_train_another_network(tmp_path):
    plain, shuffled, fresh = (masks_of(tmp_path, ablation=a) for a in (None, "shuffle", "reinit"))
    assert plain["density_by_layer"] == shuffled["density_by_layer"] == fresh["density_by_layer"]
    losses = {result["history"]["train_loss"][0] for result in (plain, shuffled, fresh)}
    assert len(losses) == 3


def test_invert_prunes_the_highest_scores(tmp_path):
    plain, inverted = (masks_of(tmp_path, ablation=a) for a in (None, "invert"))
    assert inverted["kept"] == plain["kept"]
    assert inverted["density_by_layer"]["fc2.weight"] > plain["density_by_layer"]["fc2.weight"]


def test_criteria_that_set_the_weights_train_what_they_set(tmp_path):
    cells = [short_cell(name, recipe=Recipe(epochs=1, lr=2e-3)) for name in ("3sp", "3sp-reinit", "3sp-rescale")]
    first, second, third = results(cells, tmp_path)
    assert first["density_by_layer"] == second["density_by_layer"] == third["density_by_layer"]
    assert len({result["history"]["train_loss"][0] for result in (first, second, third)}) == 3


def test_cells_leave_nothing_behind_in_the_process(tmp_path):
    """A worker does tens of thousands of cells, and must not grow by any of them."""

    def objects():
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.get_objects())

    cells = [short_cell("snip", 0.97, seed, replace(RECIPE, epochs=1)) for seed in range(24)]
    results(cells[:8], tmp_path, 4)
    before = objects()
    results(cells[8:], tmp_path, 4)
    left = objects() - before
    assert left.total() < 16, f"16 cells left behind: {left.most_common(5)}"


def test_a_pack_is_pruned_after_the_networks_of_the_one_before_are_gone(tmp_path, monkeypatch):
    held, build = [], module.build_model

    def built(*given):
        if len(held) == 2:
            gc.collect()
            assert [reference() for reference in held] == [None, None]
        model = build(*given)
        held.append(weakref.ref(model))
        return model

    monkeypatch.setattr(module, "build_model", built)
    some = [short_cell("random", 0.5, seed) for seed in range(4)]
    results(some, tmp_path, 2)
    assert len(held) == 4
