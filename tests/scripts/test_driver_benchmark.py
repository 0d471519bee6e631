"""The benchmark of the driver: one process stands for many workers, and Ray Tune takes it for them."""

import pytest

from autosparse.experiment.store import Store


@pytest.fixture
def driver(benchmark_module, ray_running):
    return benchmark_module("driver")


@pytest.mark.slow
def test_tune_does_a_whole_stage_with_workers_that_one_process_stands_for(driver, tmp_path):
    found = driver.looped(driver.large_plan(100), Store(tmp_path), cell=0.6, workers=20)
    assert 0 < found.value < 20 / 0.6, "cells a second, of twenty workers"
    assert found.notes["reports"] >= found.notes["count"] / 2


def test_only_the_middle_of_a_stage_counts(driver):
    heard = [driver.Heard(wall, 0.0, cells) for wall, cells in enumerate((0, 0, 1, 1, 1, 0, 1, 1))]
    assert [each.wall for each in driver.middle(heard)] == [2, 3, 4, 5, 6]


def test_a_rate_says_which_cells_a_thousand_workers_may_have(driver):
    assert driver.rate("x", count=500, took=2.0).notes["shortest cell, s"] == 4.0
