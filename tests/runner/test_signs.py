"""How long a job may be silent, or get nowhere, by the seconds that its driver was awake to see."""

import pytest
from builders import a_cell
from given_costs import Given

from autosparse.errors import AutosparseError
from autosparse.runner.jobs.signs import Signs
from autosparse.runner.settings import Settings

TASKS = [a_cell("random", 0.5, seed) for seed in range(4)]
A, B, C, D = (task.id for task in TASKS)


def signs(*costs, tasks=TASKS, patience=100.0):
    return Signs(tasks, Given(*(costs or (1, 1, 1, 1))), patience)


def test_a_job_without_a_sign_of_life_is_silent_for_too_long_after_the_patience():
    found = signs()
    found.hear("job", {"running": [A]})
    found.pass_time(["job"], 100)
    assert not found.too_long("job")
    found.pass_time(["job"], 1)
    assert found.too_long("job") == found.silent("job") == 101


@pytest.mark.parametrize("sign", ["a report", "its pulse"])
def test_any_sign_of_life_begins_it_anew(sign):
    found = signs()
    for _ in range(3):
        found.pass_time(["job"], 90)
        found.hear("job", {"running": [A], "share": 0.1}) if sign == "a report" else found.alive("job")
        assert not found.too_long("job")


def test_a_job_that_has_told_nothing_yet_is_watched_too_and_one_that_waits_for_a_worker_is_not():
    found = signs()
    found.pass_time(["new"], 101)
    assert found.too_long("new") == 101
    found.pass_time([], 1)
    assert not found.too_long("new")
    found.pass_time(["new"], 90)
    assert not found.too_long("new")


def test_after_each_end_for_the_same_task_it_is_waited_longer_but_not_for_ever():
    found, waited = signs(), []
    for _ in range(4):
        found.hear("job", {"running": [A, B]})
        while not (seconds := found.too_long("job")):
            found.pass_time(["job"], 1)
        waited.append(seconds)
        found.end("job")
    assert waited == [101, 201, 401, 401]
    found.hear("other", {"running": [C]})
    found.pass_time(["other"], 101)
    assert found.too_long("other"), "another task has all its tries"


def live(found, job, seconds):
    """Let time pass for a job that uses its CPU."""
    for _ in range(seconds // 10):
        found.pass_time([job], 10)
        found.alive(job)


def test_one_that_is_alive_and_gets_nowhere_is_ended_by_what_its_tasks_cost_and_took_in_this_run():
    found = signs(1, 10, 1, 1, patience=10)
    found.hear("job", {"running": [A]})
    live(found, "job", 30)
    found.hear("job", {"task_ids": [A], "running": [B]})  # 30 s for a cost of 1
    live(found, "job", 20 * 30 * 10)
    assert not found.too_long("job")
    live(found, "job", 10)
    assert found.too_long("job") == 20 * 30 * 10 + 10


def test_progress_is_not_asked_of_a_method_of_which_nothing_is_known():
    tasks = [a_cell("random", 0.5), a_cell("npb", 0.5, 1)]
    found = signs(1, 1, tasks=tasks, patience=10)
    found.hear("job", {"running": [tasks[0].id]})
    live(found, "job", 30)
    found.hear("job", {"task_ids": [tasks[0].id], "running": [tasks[1].id]})
    live(found, "job", 100_000)
    assert not found.too_long("job")


def test_tasks_that_were_found_finished_say_nothing_of_the_pace():
    found = signs(patience=10)
    found.hear("job", {"task_ids": [A, B], "running": [C]})
    live(found, "job", 1000)
    assert not found.too_long("job")


def test_progress_is_told_by_every_report():
    found = signs(patience=10)
    found.hear("job", {"running": [A]})
    live(found, "job", 10)
    for share in range(100):
        found.hear("job", {"task_ids": [A] if not share else [], "running": [B], "share": share / 100})
        live(found, "job", 190)
        assert not found.too_long("job")


def test_with_a_patience_of_zero_nobody_is_ended(monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_PATIENCE", "0")
    found = signs(patience=Settings().patience)
    found.pass_time(["job"], 1e9)
    assert not found.too_long("job")


def test_a_patience_that_is_no_number_is_told_of_before_anything_starts(monkeypatch):
    monkeypatch.setenv("AUTOSPARSE_PATIENCE", "ten")
    with pytest.raises(AutosparseError, match="AUTOSPARSE_PATIENCE='ten' is not a number of seconds"):
        Settings()
    monkeypatch.delenv("AUTOSPARSE_PATIENCE")
    assert Settings().patience == 900
