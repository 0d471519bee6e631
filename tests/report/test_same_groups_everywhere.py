"""What may be averaged is one rule: `best`, `winners`, `compare`, the report, its tables and the registry agree."""

from collections.abc import Iterable

import pytest
from fake_runs import FakeRuns
from mlflow import MlflowClient

from autosparse.report.collect import Section, make_sections
from autosparse.report.page import render
from autosparse.report.published import published_tables
from autosparse.results.best import best
from autosparse.results.groups import groups_of
from autosparse.results.runs import finished_runs
from autosparse.results.scorer_accuracies import accuracies
from autosparse.results.winners import compare, winners

Told = set[tuple[int, float]]
"""Number of seeds and mean of each group of cells."""
OLD, NEW = {"dataset_fingerprint": "0a1b"}, {"dataset_fingerprint": "9f8e"}


def by_best(client: MlflowClient) -> Told:
    return {(row["n"], row["mean"]) for row in best(client, "exp")}


def sections(client: MlflowClient) -> list[Section]:
    return make_sections(finished_runs(client, "exp", "cell"))


def by_report(client: MlflowClient) -> Told:
    points = [point for section in sections(client) for own in section.methods for point in own.points.values()]
    return {(point.n, point.mean) for point in points}


def by_winners(client: MlflowClient) -> Told:
    return {(row["n"], row["mean"]) for row in winners(client, "exp")}


def by_published(client: MlflowClient, seeds: Iterable[str] = ()) -> Told:
    cells = finished_runs(client, "exp", "cell")
    fixed = {"source": "T", "model": "m", "dataset": "d", "spread": None, "differences": []}
    own = {**fixed, "method": "pruned", "sparsity": 0.9, "published": 1.0, "cells": [r.tags["task_id"] for r in cells]}
    (table,) = published_tables({"comparisons": [own]}, cells)
    told = [cell.notes[0] for row in table.rows for cell in row.cells]  # "51.00 ± 1.41 (2)"
    return {(int(text.rpartition("(")[2].rstrip(")")), float(text.split()[0])) for text in told}


@pytest.fixture
def edited(runs: FakeRuns) -> FakeRuns:
    """One label that was snip with 50 and 52 %, and then grasp with 90 and 88 %."""
    for seed in range(2):
        runs.cell("pruned", 0.9, seed, 50.0 + 2 * seed, params={"criterion": "snip"})
        runs.cell("pruned", 0.9, seed, 90.0 - 2 * seed, params={"criterion": "grasp"})
    return runs


def test_a_method_that_was_edited_under_its_label_is_two_everywhere(client: MlflowClient, edited: FakeRuns) -> None:
    assert by_best(client) == by_report(client) == by_published(client) == {(2, 51.0), (2, 89.0)}
    assert by_winners(client) == {(2, 89.0)}
    names = {"pruned (criterion=grasp)", "pruned (criterion=snip)"}
    assert {row["settings"] for row in best(client, "exp")} == {"criterion=grasp", "criterion=snip"}
    assert {method.name for section in sections(client) for method in section.methods} == names
    (row,) = winners(client, "exp")
    assert {row["best"], row["next"]} == names
    (row,) = compare(client, *sorted(names), experiment="exp")
    assert (row["pairs"], row["difference"]) == (2, 38.0)


def test_runs_from_before_a_field_of_recipes_and_with_its_default_are_averaged(
    client: MlflowClient, runs: FakeRuns
) -> None:
    before = {"criterion": "snip", "recipe.lr": "0.1"}
    newer = {"recipe.schedule": "multi-step", "recipe.momentum": "0.9", "recipe.nesterov": "False"}
    for seed, more in enumerate([{}, newer, newer | {"recipe.nesterov": "True"}]):
        runs.cell("pruned", 0.9, seed, 50.0 + 2 * seed, params=before | more)
    assert by_best(client) == by_report(client) == {(2, 51.0), (1, 54.0)}


def test_data_that_changed_under_their_name_are_averaged_nowhere(client: MlflowClient, runs: FakeRuns) -> None:
    for seed, (accuracy, data) in enumerate([(86.5, OLD), (10.0, NEW), (12.0, NEW)]):
        runs.cell("pruned", 0.9, seed, accuracy, tags=data)
    expected = {(1, 86.5), (2, 11.0)}
    assert by_best(client) == by_report(client) == by_published(client) == by_winners(client) == expected
    told = {"dataset_fingerprint=0a1b", "dataset_fingerprint=9f8e"}
    assert {row["settings"] for row in best(client, "exp")} == told
    assert {row["settings"] for row in winners(client, "exp")} == told
    assert {section.note for section in sections(client)} == told
    assert {section.settings["dataset_fingerprint"] for section in sections(client)} == {"0a1b", "9f8e"}
    page = render(client, "exp").page
    assert all(f"({note})" in page for note in told)
    found = accuracies(groups_of(finished_runs(client, "exp", "cell")))
    assert {each.mean for each in found.values()} == {86.5, 11.0}


@pytest.mark.parametrize(
    ("tag", "one", "other"),
    [
        ("code_fingerprint", "0a1b", "9f8e"),
        ("criterion_code_fingerprint", "0a1b", "9f8e"),
        ("precision", "float32", "bfloat16"),
    ],
)
def test_what_other_code_of_the_users_or_another_precision_made_is_averaged_nowhere(
    client: MlflowClient, runs: FakeRuns, tag: str, one: str, other: str
) -> None:
    for seed, (accuracy, value) in enumerate([(86.5, one), (10.0, other), (12.0, other)]):
        runs.cell("pruned", 0.9, seed, accuracy, tags={tag: value})
    assert by_best(client) == by_report(client) == by_published(client) == {(1, 86.5), (2, 11.0)}
    assert {row["settings"] for row in best(client, "exp")} == {f"{tag}={one}", f"{tag}={other}"}


def test_methods_compete_only_in_one_precision(client: MlflowClient, runs: FakeRuns) -> None:
    for method, precision, accuracy in (("snip", "float32", 80.0), ("grasp", "bfloat16", 81.0), ("erk", "", 70.0)):
        runs.cell(method, 0.9, 0, accuracy, tags={"precision": precision} if precision else {})
    assert {(row["best"], row["next"]) for row in winners(client, "exp")} == {
        (m, None) for m in ("snip", "grasp", "erk")
    }


def test_a_run_that_tells_of_no_precision_has_that_of_the_others(client: MlflowClient, runs: FakeRuns) -> None:
    runs.cell("pruned", 0.9, 0, 80.0)
    runs.cell("pruned", 0.9, 1, 82.0, tags={"precision": "float32"})
    (row,) = best(client, "exp")
    assert (row["n"], row["mean"], row["settings"]) == (2, 81.0, "")


def test_a_criterion_of_the_users_is_compared_with_the_others(client: MlflowClient, runs: FakeRuns) -> None:
    for seed in range(2):
        runs.cell("mine", 0.9, seed, 90.0, params={"criterion": "mine"}, tags={"criterion_code_fingerprint": "0a1b"})
        runs.cell("snip", 0.9, seed, 80.0, params={"criterion": "snip"})
    (row,) = winners(client, "exp")
    assert (row["best"], row["next"]) == ("mine", "snip")


def test_a_run_that_tells_of_no_data_is_a_seed_of_those_that_do(client: MlflowClient, runs: FakeRuns) -> None:
    for seed, tags in enumerate([{}, OLD, OLD]):
        runs.cell("pruned", 0.9, seed, 80.0 + seed, tags=tags)
    assert by_best(client) == by_report(client) == by_published(client) == by_winners(client) == {(3, 81.0)}
    runs.cell("pruned", 0.9, 3, 20.0, tags=NEW)  # nobody knows whether the first was done on these data
    assert by_best(client) == by_report(client) == by_winners(client) == {(1, 80.0), (2, 81.5), (1, 20.0)}


def test_what_is_newer_than_a_run_keeps_it_from_no_group_in_which_it_did_the_same(
    client: MlflowClient, runs: FakeRuns
) -> None:
    told = {"criterion": "prospr", "options.lr": "0.5", "options.steps": "3", "options.first_buffer": "differentiated"}
    told |= {"options.momentum": "0.9", "options.mode": "train", "criterion_revision": "1"}  # as version 0.1.0 did it
    for seed, params in enumerate([{"criterion": "prospr"}, told]):
        runs.cell("pruned", 0.9, seed, 70.0 + seed, params=params)
    assert by_best(client) == by_report(client) == by_winners(client) == {(2, 70.5)}
    runs.cell("pruned", 0.9, 2, 80.0, params={**told, "options.lr": "0.1"})
    runs.cell("pruned", 0.9, 3, 90.0, params={**told, "criterion_revision": "2"})
    assert by_best(client) == by_report(client) == {(2, 70.5), (1, 80.0), (1, 90.0)}
    assert {row["settings"] for row in best(client, "exp")} == {
        "criterion_revision=1, options.lr=0.5",
        "criterion_revision=1, options.lr=0.1",
        "criterion_revision=2, options.lr=0.5",
    }


def test_scoring_on_all_images_is_no_older_way_of_scoring_on_some(client: MlflowClient, runs: FakeRuns) -> None:
    runs.cell("pruned", 0.9, 0, 70.0)  # scored on all images, for which MLflow has no param
    runs.cell("pruned", 0.9, 1, 80.0, params={"score_examples": "5120"})
    assert by_best(client) == by_report(client) == by_winners(client) == {(1, 70.0), (1, 80.0)}


def test_networks_and_data_sets_are_averaged_only_on_request(client: MlflowClient, runs: FakeRuns) -> None:
    for dataset, tags in (("digits", OLD), ("mnist", NEW)):
        for model in ("vgg16", "resnet20"):
            runs.cell("pruned", 0.9, 0, 80.0 + len(dataset), model=model, dataset=dataset, tags=tags)
    assert by_best(client) == by_report(client) == by_winners(client) == {(1, 86.0), (1, 85.0)}
    assert {(row["model"], row["dataset"]) for row in best(client, "exp")} == {
        (model, dataset) for model in ("vgg16", "resnet20") for dataset in ("digits", "mnist")
    }
    (row,) = best(client, "exp", group_by=["method", "sparsity"])
    assert (row["n"], row["mean"], row["settings"]) == (4, 85.5, "")


def test_experiments_in_which_a_label_means_another_method_are_compared_with_a_word_of_it(
    client: MlflowClient, runs: FakeRuns, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = FakeRuns(client, "other", tmp_path_factory.mktemp("other"))
    for seed in range(2):
        runs.cell("pruned", 0.9, seed, 50.0, params={"criterion": "snip"}, tags=OLD)
        other.cell("pruned", 0.9, seed, 60.0, params={"criterion": "grasp"}, tags=NEW)
    (row,) = compare(client, "exp", "other")
    assert row["difference"] == -10.0
    assert row["settings"] == (
        "criterion=snip, dataset_fingerprint=0a1b against criterion=grasp, dataset_fingerprint=9f8e"
    )
