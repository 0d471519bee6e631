"""Scores of shards that go on where they were stopped, in a folder or a bucket; what is held is verified."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from shard_network import shard_network

import autosparse as asp
from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.errors import AutosparseError
from autosparse.irp.digests import KEY
from autosparse.runner.shards.board import Board
from autosparse.shards import open_features, save_features
from autosparse.shards.reader import source_digest
from autosparse.storage import Folder, place_at
from autosparse.storage.lock import one_driver

SCORES = b"autosparse.scores"


@pytest.fixture(scope="module")
def network():
    return shard_network()


@pytest.fixture(scope="module")
def features(network, tmp_path_factory):
    """The network's features in 7 shards."""
    return save_features(*network, tmp_path_factory.mktemp("features") / "set", shard_rows=6001)


@pytest.fixture
def score(ray_running):
    """Scores and prunes shards on the session's Ray."""
    from autosparse.runner.settings import Settings
    from autosparse.runner.shards.score import score_shards

    return lambda scorer, features, out: score_shards(scorer, features, out, Settings(workers=2), sparsity=0.9)


def scorer_of(scale=1.0):
    """A scorer of which many scores are equal."""
    scaling = Standardisation((0.0, 0.0), (0.1, 0.1))
    network = build_backbone("conditional-mean", 2, 0)
    axis = torch.linspace(-3, 3, 129)
    network.nodes.copy_(axis.expand(2, -1))
    network.table.copy_((scale * axis[:, None].abs() * axis.abs()).round(decimals=1))
    return Scorer("conditional-mean", ("param", "grad"), scaling, network, provenance={"gradient_mode": "eval"})


def versions(folder):
    """Which file lies under each name."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path(folder).glob("scores-*")}


def written_anew(before, after):
    return sorted(name for name, version in after.items() if before.get(name) != version)


@pytest.fixture
def stopped(score, features, tmp_path, monkeypatch):
    """The hidden folder of a call that Ctrl-C has stopped after three shards."""
    from autosparse.runner.shards.stream import ShardStream

    watched = ShardStream._watched

    def stop_after_three(self, *given):
        for number, row in enumerate(watched(self, *given)):
            yield row
            if number == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardStream, "_watched", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            score(scorer_of(), features, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return tmp_path / ".out.work"


def test_only_what_is_missing_or_truncated_is_scored_when_the_call_is_repeated(
    score, network, features, tmp_path, stopped
):
    held = versions(stopped)
    assert len(held) >= 3
    broken = min(held)
    (stopped / broken).write_bytes((stopped / broken).read_bytes()[:-9])
    score(scorer_of(), features, tmp_path / "out")
    found = versions(tmp_path / "out")
    assert {name for name in held if name not in written_anew(held, found)} == held.keys() - {broken}
    expected = asp.prune(network[0], "autos", 0.9, network[1], scorer=scorer_of())
    assert asp.Masks.load(tmp_path / "out" / "masks.safetensors") == expected
    flat = np.concatenate([pq.read_table(tmp_path / "out" / name)["score"].to_numpy() for name in sorted(found)])
    of_model = asp.score(network[0], "autos", network[1], scorer=scorer_of(), near=0.9)
    assert np.array_equal(flat, torch.cat([scores.flatten() for scores in of_model.values()]))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_another_scorer_does_not_take_the_scores_over(score, network, features, tmp_path, stopped):
    held = versions(stopped)
    score(scorer_of(scale=-1.0), features, tmp_path / "out")
    assert written_anew(held, versions(tmp_path / "out")) == [f"scores-{number:05d}.parquet" for number in range(7)]
    expected = asp.prune(network[0], "autos", 0.9, network[1], scorer=scorer_of(scale=-1.0))
    assert asp.Masks.load(tmp_path / "out" / "masks.safetensors") == expected


@pytest.fixture
def work(ray_running, features, tmp_path, monkeypatch):
    """Scores one shard at a time in this process, into ``tmp_path``."""
    from autosparse.runner.shards import work

    monkeypatch.setattr(work.ray, "get", lambda judge: judge)
    described = {"judge": "mine", "shards": 7, "scorer": {"inputs": ("param", "grad")}}
    return work.ScoreShard(scorer_of(), ("param", "grad"), open_features(features).shapes, str(tmp_path), described)


def describe(path, change):
    """Write a shard of scores again with another description."""
    described = json.loads(pq.read_metadata(path).metadata[SCORES])
    change(described)
    pq.write_table(pq.read_table(path).replace_schema_metadata({SCORES: json.dumps(described)}), path)


CHANGES = {
    "nothing": lambda d: d.update(node="elsewhere"),
    "the scorer": lambda d: d.update(judge="theirs"),
    "the features": lambda d: d.update(source_digest="0" * 64),
    "the values": lambda d: d[KEY].update(score="0" * 64),
    "the place": lambda d: d.update(start=6001),
    "the digests": lambda d: d.pop(KEY),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_shard_of_scores_is_taken_if_it_is_whole_and_of_the_same(work, features, tmp_path, change):
    shard, path = open_features(features).files[0], tmp_path / "scores-00000.parquet"
    counts = work(shard, lambda: None)
    describe(path, CHANGES[change])
    before = versions(tmp_path)
    assert (work(shard, lambda: None) == counts).all()
    assert counts.sum() == shard.rows
    assert bool(written_anew(before, versions(tmp_path))) == (change != "nothing")
    says = json.loads(pq.read_metadata(path).metadata[SCORES])
    assert (says["judge"], says["source_digest"]) == ("mine", source_digest(shard, ("param", "grad")))


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-9], lambda data: b"", lambda data: data[:200] + b"\1" + data[201:]]
)
def test_a_damaged_shard_of_scores_is_scored_again(work, features, tmp_path, harm):
    shard, path = open_features(features).files[0], tmp_path / "scores-00000.parquet"
    counts, whole = work(shard, lambda: None), path.read_bytes()
    path.write_bytes(harm(whole))
    assert (work(shard, lambda: None) == counts).all()
    assert len(pq.read_table(path)) == shard.rows
    assert len(path.read_bytes()) == len(whole)


def test_scores_of_shards_without_digests_are_made_again(work, network, tmp_path):
    folder = save_features(*network, tmp_path / "old", shard_rows=6001)
    path = folder / "part-00000.parquet"
    [(key, text)] = [pair for pair in pq.read_metadata(path).metadata.items() if pair[0].startswith(b"autosparse")]
    older = {name: value for name, value in json.loads(text).items() if name != KEY}
    pq.write_table(pq.read_table(path).replace_schema_metadata({key: json.dumps(older)}), path)
    shard = open_features(folder).files[0]
    work(shard, lambda: None)
    before = versions(tmp_path)
    work(shard, lambda: None)
    assert written_anew(before, versions(tmp_path)) == ["scores-00000.parquet"]


def test_features_and_scores_may_lie_in_a_bucket_and_go_on_there(score, network, features, s3):
    source = place_at(s3("shards"))
    for path in features.iterdir():
        source.within("features").write(path.name, path.read_bytes())
    address, out = source.within("features").address, source.within("out")
    scored = score(scorer_of(), address, out.address)
    expected = asp.prune(network[0], "autos", 0.9, network[1], scorer=scorer_of())
    names = out.names(deep=True)
    assert [name.partition("-")[0] for name in names] == ["masks"] * 7 + ["masks.safetensors"] + ["scores"] * 7 + [
        "scores.json"
    ]

    def masks():
        return asp.Masks.load(out.fetch("") / "masks.safetensors")

    assert (masks(), scored.kept) == (expected, expected.kept)
    path = out.local / "marked.parquet"
    path.write_bytes(out.read("scores-00001.parquet"))
    describe(path, lambda described: described.update(marked=True))
    out.write("scores-00001.parquet", path.read_bytes())
    out.write("scores-00002.parquet", out.read("scores-00002.parquet")[:-9])
    out.write("scores-00009.parquet", b"of more shards than there are now")
    score(scorer_of(), address, out.address)
    assert (out.names(deep=True), masks()) == (names, expected)
    path.write_bytes(out.read("scores-00001.parquet"))
    assert json.loads(pq.read_metadata(path).metadata[SCORES])["marked"]


def test_a_bucket_that_holds_what_is_not_ours_is_left_alone(score, features, s3):
    out = place_at(s3("foreign"))
    out.write("notes.txt", b"mine")
    with pytest.raises(AutosparseError, match=r"s3://foreign/some/prefix already holds 'notes.txt'"):
        score(scorer_of(), features, out.address)
    assert out.names() == ["notes.txt"]


def test_two_processes_do_not_write_to_one_folder(score, features, tmp_path):
    work = Folder(tmp_path / ".out.work")
    work.path.mkdir()
    with one_driver(work), pytest.raises(AutosparseError, match=r"another autosparse is running .*another --out"):
        score(scorer_of(), features, tmp_path / "out")


def test_nobody_else_begins_while_the_scores_take_their_place(score, features, tmp_path, monkeypatch):
    from autosparse.runner.shards import out as module

    put, work = module.put_folder, Folder(tmp_path / ".out.work")

    def put_while_another_begins(*given):
        with pytest.raises(AutosparseError, match="another autosparse is running"):
            one_driver(work, "--out").__enter__()
        put(*given)

    monkeypatch.setattr(module, "put_folder", put_while_another_begins)
    score(scorer_of(), features, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
    assert not work.path.exists()


def test_the_board_counts_attempts_and_stops_all_workers_of_a_stream_that_failed():
    board = Board()
    board.open("a")
    board.open("b")
    assert [board.begin("a", 3) for _ in range(3)] == [0, 1, 2]
    assert (board.begin("b", 3), board.begin("a", 4)) == (0, 0)
    assert not board.beat("a", 4)
    assert board.signs("a") == {3: 3, 4: 2}
    board.done("a", 4)
    assert (board.signs("a"), board.begin("a", 4)) == ({3: 3}, 0)
    board.fail("a")
    assert (board.beat("a", 3), board.beat("b", 3)) == (True, False)
    board.open("a")
    assert (board.beat("a", 3), board.begin("a", 3)) == (False, 3)
    board.close("a")
    assert (board.beat("a", 3), board.signs("a"), board.begin("a", 3)) == (True, {}, 0)
