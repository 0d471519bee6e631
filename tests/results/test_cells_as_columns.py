"""Cells as columns: they say what their runs say, whether they come from a list, from a file, or both."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_groups import CELLS, plain_frame, plain_groups, told

from autosparse.errors import AutosparseError
from autosparse.results import frame as framed
from autosparse.results import winners as contested
from autosparse.results.best import rows_of
from autosparse.results.cell_file import read_cells, write_cells
from autosparse.results.cells import Cells
from autosparse.results.columns import table_of
from autosparse.results.groups import groups_of
from autosparse.results.runs import Run, one_per_task


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A function that gives runs back as cells; all but the last few have been through a file."""
    path = tmp_path_factory.mktemp("table") / "cells.parquet"

    def through_file(runs, listed=0):
        count = len(runs) - listed
        write_cells(table_of(runs[:count]), path)
        return Cells([read_cells(path)]).joined(runs[count:])

    return through_file


def asked(question):
    """The answer, or the error."""
    try:
        return repr(question())
    except AutosparseError as error:
        return str(error)


@given(CELLS, st.integers(0, 3))
def test_runs_come_back_from_a_file_as_they_were(stored, runs, listed):
    cells = stored(runs, min(listed, len(runs)))
    assert told(cells) == told(runs)
    assert told(cells.runs(np.arange(len(runs))[::-1])) == told(runs[::-1])


@given(CELLS, st.integers(0, 3), st.sets(st.integers(0, 12)))
def test_the_last_run_of_each_task_stays_at_the_place_of_its_first(stored, runs, listed, gone):
    ids = {f"run-{i}" for i in gone}
    expected = one_per_task(sorted((run for run in runs if run.run_id not in ids), key=lambda run: run.start))
    assert told(stored(runs, min(listed, len(runs))).without(ids).by_start().one_per_task()) == told(expected)


@given(CELLS, CELLS, st.integers(0, 3))
def test_groups_are_those_of_each_run_by_itself(stored, runs, beside, listed):
    expected = plain_groups(runs, beside)
    for cells in (runs, stored(runs, min(listed, len(runs)))):
        found = groups_of(cells, Cells.of(beside))
        assert [repr(group) for group in found] == [
            repr(group).replace("Plain(", "Group(").partition(", runs=")[0] + ")" for group in expected
        ]
        for group, plain in zip(found, expected, strict=True):
            assert list(group.runs) == list(plain.runs)
            assert told(group.runs.values()) == told(plain.runs.values())
            assert set(group.metrics) == plain.metrics
            for metric in ("test_accuracy", "seconds", "density.x", "none"):
                assert repr(group.values(metric)) == repr(plain.values(metric))


@given(CELLS, st.sampled_from(["test_accuracy", "seconds", "density.x", "none"]), st.sampled_from([None, 0.9, 0.5]))
def test_the_best_and_the_winners_are_those_of_each_run_by_itself(stored, runs, metric, sparsity):
    found, expected = groups_of(stored(runs)), plain_groups(runs)
    for group_by in (None, ("method",), ("method", "sparsity", "model", "dataset")):
        answers = [
            asked(lambda groups=groups, by=group_by: averaged(groups, metric, sparsity, by))
            for groups in (found, expected)
        ]
        assert answers[0] == answers[1]
    answers = [asked(lambda groups=groups: ranked(groups, metric, sparsity)) for groups in (found, expected)]
    assert answers[0] == answers[1]


def averaged(groups, metric, sparsity, group_by):
    """The rows of `best`, with the training and the number of groups of each."""
    return [
        (found.row, found.training, len(found.groups)) for found in rows_of(groups, "x", metric, sparsity, group_by)
    ]


def ranked(groups, metric, sparsity):
    """The names and means that `winners` ranks."""
    found = contested.contests(groups, metric, "x", sparsity)
    return [
        (contest.place, contest.note, [(g.name, g.values(metric)) for g in contest.ranked(metric)]) for contest in found
    ]


@given(CELLS)
def test_a_data_frame_is_that_of_each_run_by_itself(stored, runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framed, "finished_cells", lambda client, experiment: stored(runs))
        found = framed.frame(None, "x")
    expected = plain_frame(runs)
    if expected.empty:
        assert list(found.columns) == list(expected.columns)
        assert found.empty
    else:
        pd.testing.assert_frame_equal(found, expected, check_like=True)


def test_an_answer_decodes_only_the_columns_that_it_needs(tmp_path):
    tags = {"method": "snip", "sparsity": "0.9", "host": "here"}
    runs = [
        Run(f"r{i}", "", {**tags, "seed": str(i)}, {}, {"test_accuracy": 90.0 + i, "seconds": 1.0}) for i in range(3)
    ]
    write_cells(table_of(runs), tmp_path / "cells.parquet")
    source = read_cells(tmp_path / "cells.parquet")
    (found,) = rows_of(groups_of(Cells([source])), "x")
    assert (found.row["n"], found.row["mean"]) == (3, 91.0)
    assert not {"tag.host", "metric.seconds", "name"} & source._decoded.keys()
