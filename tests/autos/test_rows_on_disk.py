"""Rows of states on disk: what they hold, how a killed write goes on, and what is refused."""

import json
import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import Killed

from autosparse.autos.features import check_inputs, rounds_for
from autosparse.autos.states import visits
from autosparse.autos.streamed import write, write_rows
from autosparse.autos.streamed.shard import KEY
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import read_record
from autosparse.irp.digests import Digests

INPUTS = ("log_param", "layer_density", "grad")
TRAINED = ("trained", "log_param")


def how(inputs, **options):
    return rounds_for(inputs, rounds=3, examples=100, **options)


def written(run, digits, folder, inputs=INPUTS, **options):
    return write_rows([run], {"digits": digits}, inputs, how(inputs, **options), folder)


@pytest.fixture(scope="module")
def context(run, digits, tmp_path_factory):
    """The rows of ``context``, in small row groups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autosparse.autos.streamed.write.GROUP_ROWS", 1000)
        return written(run, digits, tmp_path_factory.mktemp("rows") / "context", check_inputs(["context"]))


def test_each_file_holds_what_a_visit_of_its_layer_and_state_does(run, digits, context):
    inputs = check_inputs(["context"])
    found = list(visits(run, {"digits": digits}, inputs, how(inputs), lambda masks: 1.0))
    assert [(shard.iteration, shard.layer) for shard in context] == [(own.iteration, own.layer) for own in found]
    for shard, visit in zip(context, found, strict=True):
        table = pq.read_table(shard.path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names[1:]}
        expected = {"position": visit.rows, "target": visit.target, **dict(zip(inputs, visit.columns, strict=True))}
        assert all(np.array_equal(columns[name], own.numpy()) for name, own in expected.items())
        assert table.schema.names == ["layer", "position", "run", "iteration", "survived", "target", *inputs]
        assert set(table.column("layer").to_pylist()) <= {visit.layer}
        assert (columns["survived"] == visit.survived.numpy()).all()
        assert set(columns["iteration"]) <= {visit.iteration}
        assert all(columns[name].dtype == np.float32 for name in ("target", *inputs))


def test_files_say_what_made_them_and_the_manifest_lists_them(run, context):
    manifest = json.loads((context[0].path.parent / "rows.json").read_text())
    assert manifest["rows"] == sum(run.masks(i).kept for i in range(4))
    assert manifest["key"]["runs"] == [run.fingerprint]
    for shard in context:
        table = pq.read_table(shard.path)
        described = json.loads(table.schema.metadata[KEY])
        digests = Digests(described["digests"])
        digests.update({name: table.column(name).to_numpy() for name in described["digests"]})
        assert described["digests"] == digests.by_column == manifest["shards"][shard.path.name]
        assert described["key"] == manifest["key"]


@pytest.mark.parametrize(("inputs", "options"), [(INPUTS, {}), (TRAINED, {"steps": 2})])
def test_a_killed_write_goes_on_where_it_was_and_comes_to_the_same(run, digits, tmp_path, monkeypatch, inputs, options):
    whole = written(run, digits, tmp_path / "whole", inputs, **options)
    real, paths = write.write_atomic, []

    def kill(path, data):
        if len(paths) == 4:
            raise Killed
        paths.append(path)
        real(path, data)

    monkeypatch.setattr(write, "write_atomic", kill)
    with pytest.raises(Killed):
        written(run, digits, tmp_path / "cut", inputs, **options)
    assert not (tmp_path / "cut" / "rows.json").exists()
    times = {path: path.stat().st_mtime_ns for path in paths}
    monkeypatch.setattr(write, "write_atomic", real)
    again = written(run, digits, tmp_path / "cut", inputs, **options)
    assert {path: path.stat().st_mtime_ns for path in paths} == times
    assert [own.path.read_bytes() for own in again] == [own.path.read_bytes() for own in whole]
    assert read_record(tmp_path / "cut" / "rows.json") == read_record(tmp_path / "whole" / "rows.json")


def test_whole_rows_are_not_made_again_and_a_lost_file_is(run, digits, tmp_path, monkeypatch):
    shards = written(run, digits, tmp_path / "rows")
    before = shards[2].path.read_bytes()
    shards[2].path.unlink()
    assert written(run, digits, tmp_path / "rows") == shards
    assert shards[2].path.read_bytes() == before
    monkeypatch.setattr(write, "visits", None)
    assert written(run, digits, tmp_path / "rows") == shards


def test_one_layer_is_in_memory_at_a_time(run, digits, tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), []

    def watched(*given):
        for visit in visits(*given):
            alive.add(visit.rows)
            most.append(len(alive))
            yield visit

    monkeypatch.setattr(write, "visits", watched)
    written(run, digits, tmp_path / "rows")
    assert len(most) == 12
    assert max(most) <= 2  # the one that is written, and the one that is made


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (("log_param",), {}, "inputs log_param, layer_density, grad, but this fit needs log_param: name another"),
        ((*INPUTS, "trained"), {"steps": 1}, "made with inputs"),
    ],
)
def test_rows_of_other_inputs_are_refused(run, digits, tmp_path, inputs, options, said):
    written(run, digits, tmp_path / "rows")
    with pytest.raises(AutosparseError, match=said):
        written(run, digits, tmp_path / "rows", inputs, **options)


def test_rows_of_other_steps_or_runs_are_refused_even_before_they_are_whole(run, digits, tmp_path):
    written(run, digits, tmp_path / "rows", TRAINED, steps=2)
    (tmp_path / "rows" / "rows.json").unlink()
    with pytest.raises(AutosparseError, match=r"with steps of training .*count 2, .* but this fit needs .*count 1, "):
        written(run, digits, tmp_path / "rows", TRAINED, steps=1)
    with pytest.raises(AutosparseError, match="holds rows of other IRP runs than this fit learns from: name another"):
        write_rows([run], {"digits": digits}, TRAINED, how(TRAINED, steps=2), tmp_path / "rows", fingerprints=["0"])


def test_a_truncated_or_exchanged_file_is_named(run, digits, tmp_path):
    shards = written(run, digits, tmp_path / "rows")
    content = shards[1].path.read_bytes()
    shards[1].path.write_bytes(content[:-100])
    with pytest.raises(CorruptFile, match=r"rows-000-0000-0001.parquet is truncated .* delete it, and the same"):
        written(run, digits, tmp_path / "rows")
    shards[1].path.write_bytes(shards[0].path.read_bytes())
    with pytest.raises(CorruptFile, match=r"rows-000-0000-0001.parquet holds rows of another layer or state"):
        written(run, digits, tmp_path / "rows")


def test_a_folder_of_something_else_is_left_alone(run, digits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AutosparseError, match=r"holds 'notes.txt', which is not a file of rows: name a new folder"):
        written(run, digits, tmp_path)
    with pytest.raises(AutosparseError, match=r"notes.txt is a file, but rows of states need a folder"):
        written(run, digits, tmp_path / "notes.txt")
