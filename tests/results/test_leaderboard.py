"""The leaderboard in the parent run's description, and the accuracies of scorers' models."""

import pytest
from builders import ENVIRONMENT, a_cell, a_result

from autosparse.experiment.plan import Plan
from autosparse.experiment.planned import Planned
from autosparse.experiment.tasks import ScorerTask
from autosparse.results.leaderboard import HEADING, leaderboard, with_leaderboard, write_leaderboard
from autosparse.tracking.described import NOTE
from autosparse.tracking.log import Tracker
from autosparse.tracking.parent import RUNNING
from autosparse.tracking.scorer_models import models_of
from autosparse.training import Recipe

SCORER = Planned(ScorerTask(irp=("a" * 16,)), "mine")
REPORT = {"held_out_r2": 0.5, "layer_density_at_95": {}, "warnings": []}
ACCURACY = {"snip": [90.0, 92.0], "autos": [95.0, 96.0]}


def row(method, sparsity, mean, std=1.0, n=3, settings="", model="net"):
    told = {"method": method, "sparsity": sparsity, "mean": mean, "std": std, "n": n, "settings": settings}
    return {**told, "model": model, "dataset": "digits"}


def planned_cell(method, seed):
    more = {"scorer": SCORER.task.id} if method == "autos" else {}
    return Planned(a_cell(criterion=method, seed=seed, **more), method)


@pytest.fixture
def finished_store(store):
    folder = store.files_path("scorer", SCORER.task.id)
    (folder / "scorer").mkdir(parents=True)
    (folder / "sample.parquet").write_bytes(b"sample")
    store.finish(SCORER.task, {"report": REPORT}, ENVIRONMENT)
    for method, values in ACCURACY.items():
        for seed, accuracy in enumerate(values):
            store.finish(planned_cell(method, seed).task, a_result(accuracy, dataset_fingerprint="d" * 16), ENVIRONMENT)
    return store


@pytest.fixture
def tracker(client, finished_store):
    tracker = Tracker(client, "exp", finished_store)
    tracker.parent.describe({"description": "What we try"}, RUNNING)
    tracker.sync(PLAN)
    return tracker


PLAN = Plan("exp", scorers=[SCORER], cells=[planned_cell(method, seed) for method in ACCURACY for seed in (0, 1)])


def note_of(tracker):
    return tracker.client.get_run(tracker.parent.id).data.tags[NOTE]


def figures(tracker):
    (model,) = models_of(tracker.client, tracker.experiment_id)
    return [(m.key, m.value, m.dataset_name, m.dataset_digest) for m in model.metrics if "accuracy" in m.key]


def test_the_parent_shows_the_leaderboard_below_the_description(tracker):
    assert write_leaderboard(tracker)
    assert note_of(tracker).startswith(f"What we try\n\n{HEADING}\n")
    assert note_of(tracker).endswith(
        "| method | 90 % |\n| --- | ---: |\n| autos | **95.50 ± 0.71** (2) |\n| snip | 91.00 ± 1.41 (2) |"
    )


def test_a_scorers_model_has_the_mean_accuracy_of_its_networks_on_the_data(tracker):
    write_leaderboard(tracker)
    assert figures(tracker) == [("0.9 accuracy/lenet-300-100/digits", 95.5, "digits", "d" * 16)]


def test_figures_of_networks_that_were_trained_in_several_ways_are_told_apart(tracker, finished_store):
    write_leaderboard(tracker)
    name = "0.9 accuracy/lenet-300-100/digits"
    again = a_cell(criterion="autos", scorer=SCORER.task.id, recipe=Recipe(epochs=1))
    for cell, accuracy in ((planned_cell("autos", 2), 98.0), (Planned(again, "autos"), 60.0)):
        finished_store.finish(cell.task, a_result(accuracy, dataset_fingerprint="d" * 16), ENVIRONMENT)
        tracker.log(cell)
        write_leaderboard(tracker)
    last = {key: value for key, value, *_ in figures(tracker)}
    of_one_epoch = next(key for key in last if key.startswith(f"{name}/recipe.epochs_1_"))
    assert last.pop(of_one_epoch) == 60.0
    assert last.pop(name) == pytest.approx((95.0 + 96.0 + 98.0) / 3, abs=1e-3), "as before there was another way"
    assert list(last.values()) == [pytest.approx((95.0 + 96.0 + 98.0) / 3, abs=1e-3)]


def test_without_news_nothing_is_written_and_a_repeated_writing_doubles_nothing(tracker, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tracker.client, "log_batch", _dying_at(tracker.client.log_batch, tracker.parent.id))
        with pytest.raises(KeyboardInterrupt):
            write_leaderboard(tracker)
    assert len(figures(tracker)) == 1, "killed between the figures and the leaderboard"
    assert write_leaderboard(tracker)
    assert not write_leaderboard(tracker)
    assert len(figures(tracker)) == 1


def _dying_at(log_batch, run_id):
    def log(asked, **given):
        if asked == run_id:
            raise KeyboardInterrupt
        return log_batch(asked, **given)

    return log


def test_new_cells_change_the_leaderboard_and_what_somebody_wrote_around_it_stays(tracker, finished_store):
    write_leaderboard(tracker)
    before, board = note_of(tracker).split(HEADING)
    mine = f"My view.\n\n{HEADING}{board}\n\n## To do\n\nmore seeds"
    tracker.client.set_tag(tracker.parent.id, NOTE, mine)
    more = planned_cell("autos", 2)
    finished_store.finish(more.task, a_result(100.0, dataset_fingerprint="d" * 16), ENVIRONMENT)
    tracker.log(more)
    assert write_leaderboard(tracker)
    note = note_of(tracker)
    assert note.startswith(f"My view.\n\n{HEADING}\n")
    assert note.endswith("## To do\n\nmore seeds")
    assert "| autos | **97.00 ± 2.65** (3) |" in note
    assert before not in note
    assert [value for _, value, *_ in figures(tracker)] == [95.5, 97.0]


def test_dense_is_first_and_bold_is_the_best_pruned_one():
    rows = [
        row("snip", 0.98, 80.0),
        row("dense", 0.0, 98.0, None, 1),
        row("grasp", 0.98, 81.0),
        row("grasp", 0.9, 85.0),
    ]
    assert leaderboard(rows, "exp").splitlines()[-5:] == [
        "| method | dense | 90 % | 98 % |",
        "| --- | ---: | ---: | ---: |",
        "| dense | 98.00 (1) |  |  |",
        "| grasp |  | **85.00 ± 1.00** (3) | **81.00 ± 1.00** (3) |",
        "| snip |  |  | 80.00 ± 1.00 (3) |",
    ]


def test_ways_of_training_have_rows_and_names_cannot_break_the_table():
    rows = [row("a|b", 0.9, 80.0, settings="recipe.lr=0.1"), row("a|b", 0.9, 70.0, settings="recipe.lr=1")]
    lines = leaderboard(rows, "exp").splitlines()
    assert lines[-2:] == [
        r"| a\|b (recipe.lr=0.1) | **80.00 ± 1.00** (3) |",
        r"| a\|b (recipe.lr=1) | 70.00 ± 1.00 (3) |",
    ]


def test_a_leaderboard_that_is_too_long_leaves_out_the_worst_methods_and_counts_them():
    rows = [row(f"method-{i:03d}", 0.9, 90.0 - i) for i in range(300)]
    note = with_leaderboard("Mine", rows, "exp")
    assert len(note) <= 4900
    shown = note.count("| method-")
    assert shown > 50
    assert "method-000" in note
    assert note.endswith(f"\nand {300 - shown} more")
