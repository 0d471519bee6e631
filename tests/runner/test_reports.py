"""Times at which a job reports: at once if few jobs run, less often if a thousand do; nothing it did is left out."""

from types import SimpleNamespace

import pytest
from builders import a_cell

CELLS = [a_cell(seed=seed) for seed in range(40)]


@pytest.fixture
def events(ray_running, monkeypatch):
    """The module under test, with a clock that the test turns and reports that are kept."""
    from autosparse.runner.jobs import events

    monkeypatch.setattr(events, "tune", SimpleNamespace(report=kept.append))
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: clock.now))
    kept.clear()
    clock.now = 0.0
    return events


kept, clock = [], SimpleNamespace(now=0.0)


def worked(events, jobs, cells, seconds):
    """What a job of cells that take so many seconds reports, with the time of each report."""
    reports, told = events.Reports([], jobs=jobs), []

    def note():
        told.extend((clock.now, report) for report in kept)
        kept.clear()

    for cell in cells:
        reports.progress([cell], {})
        note()
        for _ in range(10):
            clock.now += seconds / 10
            reports.progress([cell], {"share": 0.5})
            note()
        reports.finish(cell, {"test_accuracy": 90.0})
    reports.end()
    note()
    return told


@pytest.mark.parametrize("jobs", [1, 64])
def test_with_few_jobs_each_cell_is_told_when_the_next_begins(events, jobs):
    told = worked(events, jobs, CELLS, seconds=1.0)
    assert [report["running"] for _, report in told[:-1] if "share" not in report] == [[cell.id] for cell in CELLS]


@pytest.mark.parametrize("seconds", [1.0, 100.0])
def test_a_thousand_jobs_make_no_more_reports_a_second_than_ray_tune_takes(events, seconds):
    told = worked(events, 1000, CELLS, seconds)
    assert 1000 * (len(told) - 1) / (seconds * len(CELLS)) < 150
    assert len(told) > 5


def test_every_cell_is_told_once_however_many_jobs_run(events):
    for jobs in (1, 1000):
        told = worked(events, jobs, CELLS, seconds=1.0)
        assert [task_id for _, report in told for task_id in report["task_ids"]] == [cell.id for cell in CELLS]
