"""Counts and time left from reports of jobs, with a clock that the test turns."""

import pytest
from builders import a_cell
from given_costs import Given

from autosparse.runner.jobs.cost import ALIKE, Costs, Extent
from autosparse.runner.screen.tally import Tally


class Stage:
    """Cells of given costs, and a clock."""

    def __init__(self, *costs, found=0):
        self.now, self.tasks = 100.0, [a_cell("random", 0.5, seed) for seed in range(len(costs))]
        self.ids = [task.id for task in self.tasks]
        self.tally = Tally("grid", found + len(costs), found, clock=lambda: self.now)
        self.tally.start(self.tasks, Given(*costs))

    def hear(self, at, job="a", **event):
        """Hear a report at ``at`` seconds, which names tasks by their number; returns the line of the stage."""
        self.now = 100.0 + at
        ids = {name: [self.ids[i] for i in event.pop(name, ())] for name in ("running", "task_ids", "failed")}
        named = {"job": f"job-{job}"} if "silent" in event else {}
        self.tally.advance({"trial_id": job, **ids, **named, **event})
        return self.tally.line


def counts(line):
    return line.done, line.running, line.failed, line.to_do


def test_tasks_run_finish_and_fail_and_those_found_finished_are_done():
    stage = Stage(1, 1, 1, 1, found=5)
    assert counts(stage.tally.line) == (5, 0, 0, 4)
    assert counts(stage.hear(1, "a", running=[0, 1])) == (5, 2, 0, 2)
    assert counts(stage.hear(1, "b", running=[2])) == (5, 3, 0, 1)
    line = stage.hear(2, "a", task_ids=[0, 1], failed=[1], running=[3], accuracy=97.314)
    assert (counts(line), line.latest) == ((6, 2, 1, 0), "97.31 %")
    assert counts(stage.hear(3, "b", task_ids=[2])) == (7, 1, 1, 0)
    stage.tally.stop()
    assert counts(stage.tally.line) == (7, 0, 1, 1)


def test_a_stage_that_no_worker_takes_up_says_so_after_a_minute():
    stage = Stage(1, 1)
    stage.now += 59
    assert not stage.tally.line.latest
    stage.now += 1
    assert str(stage.tally.line).endswith("no worker yet: see `ray status`")
    assert not stage.hear(61, running=[0]).latest


def test_a_job_whose_worker_died_is_counted_once_and_what_failed_may_succeed_when_it_is_done_again():
    stage = Stage(1, 1)
    stage.hear(1, task_ids=[0], failed=[0], running=[1])
    assert counts(stage.hear(2)) == (0, 0, 1, 1), "its worker is gone, and so is what it was at"
    stage.hear(3, running=[0])
    assert counts(stage.hear(4, task_ids=[0, 1])) == (2, 0, 0, 0)
    assert counts(stage.hear(5, task_ids=[0, 1])) == (2, 0, 0, 0)
    assert stage.tally.share == 1


def test_time_left_is_by_cost_not_by_number_and_no_cell_found_finished_quickens_it():
    stage = Stage(1, 1, 8, found=90)
    assert stage.tally.line.seconds_left is None
    assert stage.hear(6, running=[0]).seconds_left is None, "nothing has finished"
    assert stage.hear(16, task_ids=[0], running=[1]).seconds_left == pytest.approx(90)
    assert stage.tally.share == pytest.approx(0.1)
    stage.now += 5
    assert stage.tally.line.seconds_left == pytest.approx(85), "it goes on at the same pace"
    stage.now += 50
    assert stage.tally.line.seconds_left == pytest.approx(80), "but not past what runs"


def test_what_should_have_ended_is_not_about_to_end():
    stage = Stage(1, 1)
    stage.hear(0, running=[0])
    stage.hear(10, task_ids=[0], running=[1])
    stage.now += 60
    assert stage.tally.line.seconds_left == pytest.approx(50), "it is late by as much"


def test_a_silent_job_is_named_and_expected_to_begin_anew_until_it_is_heard_of_again():
    stage = Stage(1, 1)
    stage.hear(0, running=[0])
    stage.hear(10, task_ids=[0], running=[1])
    stage.hear(79, silent=59.0)
    assert not stage.tally.line.latest
    line = stage.hear(400, silent=390.0)
    assert str(line).endswith("1 running, after 7 min, about 10 s left; job-a silent for 6 min")
    assert not stage.hear(401, running=[1]).latest
    stage.hear(500, silent=99.0)
    assert not stage.hear(501, silent=0.0).latest
    stage.hear(600, silent=99.0)
    stage.tally.stop()
    assert not stage.tally.line.latest


def test_jobs_side_by_side_share_what_is_left():
    stage = Stage(1, 1, 1, 1, 1, 1)
    stage.hear(0, "a", running=[0])
    stage.hear(0, "b", running=[1])
    assert stage.hear(10, "a", task_ids=[0], running=[2]).seconds_left == pytest.approx(20)
    assert stage.hear(10, "b", task_ids=[1], running=[3]).seconds_left == pytest.approx(20)


def test_the_longest_that_runs_is_waited_for():
    stage = Stage(1, 1, 10, 1)
    stage.hear(0, "a", running=[0])
    stage.hear(0, "b", running=[1])
    stage.hear(1, "a", task_ids=[0], running=[2])
    assert stage.hear(1, "b", task_ids=[1], running=[3]).seconds_left == pytest.approx(10)


def test_a_share_of_what_runs_is_work_done():
    stage = Stage(4, 4)
    stage.hear(0, running=[0])
    line = stage.hear(10, running=[0], share=0.25)
    assert (counts(line), line.seconds_left) == ((0, 1, 0, 1), pytest.approx(70))
    assert stage.tally.share == pytest.approx(1 / 8)


def test_a_failure_is_out_of_the_way_but_tells_nothing_of_the_pace():
    stage = Stage(1, 1, 1)
    stage.hear(0, running=[0])
    assert stage.hear(1, task_ids=[0], failed=[0], running=[1]).seconds_left is None
    assert stage.hear(11, task_ids=[1], running=[2]).seconds_left == pytest.approx(11)


def test_what_failed_in_an_earlier_run_counts_as_failed_not_as_done():
    line = Tally("grid", 10, 6, failed_before=3).line
    assert (line.done, line.failed, line.to_do) == (6, 3, 1)


def test_a_task_in_this_process_needs_no_name():
    tally = Tally("scorers", 1, clock=iter([0.0, 4.0, 4.0]).__next__)
    tally.start([a_cell("random", 0.5)], ALIKE)
    tally.advance({"share": 0.5, "loss": 0.01234})
    line = tally.line
    assert (counts(line), line.latest, line.seconds_left) == ((0, 1, 0, 0), "loss 0.0123", pytest.approx(4))


def test_before_the_last_training_of_a_cell_lie_the_trainings_that_its_method_needs():
    costs = Costs({"digits": Extent(60_000, 10_000, (1, 8, 8), 10)})
    plain, rounds = a_cell("random", 0.5), a_cell("lth", 0.5, options={"rounds": 4})
    assert costs.behind(plain, 0) < 0.2 * costs(plain)
    assert costs.behind(rounds, 0) == pytest.approx(0.8 * costs(rounds), rel=0.1)
    for task in (plain, rounds):
        assert costs.behind(task, 0) < costs.behind(task, 0.5) < costs.behind(task, 1) == pytest.approx(costs(task))
