"""Scoring over shards: the masks are those of the model in memory, and no failure is silent, endless or half done."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from shard_network import shard_network

import autosparse as asp
from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.errors import AutosparseError, CorruptFile, WorkFailed
from autosparse.irp.digests import Digests
from autosparse.shards import Shard, Shards, ShardWriter, open_features, read_rows, save_features

pytestmark = pytest.mark.usefixtures("ray_running")


@pytest.fixture(scope="module")
def scoring(ray_running):
    """The module that scores shards; like :func:`stream` it imports Ray, which the session must have prepared."""
    from autosparse.runner.shards import score

    return score


@pytest.fixture(scope="module")
def stream(ray_running):
    """The module that does work on shards."""
    from autosparse.runner.shards import stream

    return stream


@pytest.fixture(scope="module")
def network():
    return shard_network()


@pytest.fixture(scope="module")
def features(network, tmp_path_factory):
    """The network's features in 7 shards."""
    return save_features(*network, tmp_path_factory.mktemp("features") / "set", shard_rows=6001)


def scorer_of(name, inputs=("param", "grad"), costly=False):
    scaling = Standardisation((0.0,) * len(inputs), (0.1,) * len(inputs))
    scorer = Scorer(name, inputs, scaling, build_backbone(name, len(inputs), 0), provenance={"gradient_mode": "eval"})
    if name == "conditional-mean":
        axis = torch.linspace(-3, 3, 129)
        scorer.network.nodes.copy_(axis.expand(2, -1))
        scorer.network.table.copy_((axis[:, None].abs() * axis.abs()).round(decimals=1))  # many ties
    scorer.network.costly = costly
    return scorer


def on_two_workers():
    from autosparse.runner.settings import Settings

    return Settings(workers=2)


@pytest.mark.parametrize(
    ("name", "costly", "actors"),
    [
        pytest.param("mlp", False, True, marks=pytest.mark.slow),
        ("mlp", False, False),
        ("conditional-mean", False, False),
        ("mlp", True, False),
    ],
)
def test_streamed_masks_are_those_of_the_model_in_memory(
    scoring, network, features, tmp_path, monkeypatch, caplog, name, costly, actors
):
    monkeypatch.setattr(scoring, "SILENCE", 0.0)
    monkeypatch.setattr(scoring, "MANY", 0 if actors else scoring.MANY)
    model, batches = network
    scorer = scorer_of(name, costly=costly)
    scored = scoring.score_shards(scorer, features, tmp_path / "out", on_two_workers(), sparsity=0.9)
    expected = asp.prune(model, "autos", 0.9, batches, scorer=scorer)
    assert asp.Masks.load(tmp_path / "out" / "masks.safetensors") == expected
    assert (scored.kept, scored.rows) == (expected.kept, expected.total)
    assert (scored.certificate is not None) == ("no surface of the scorer" in caplog.text) == costly
    found = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*-*.parquet"))]
    flat = torch.cat(
        [scores.flatten() for scores in asp.score(model, "autos", batches, scorer=scorer, near=0.9).values()]
    )
    assert np.array_equal(np.concatenate([t["score"].to_numpy() for t in found if "score" in t.column_names]), flat)
    assert sum(t["keep"].to_numpy().sum() for t in found if "keep" in t.column_names) == expected.kept


def test_features_of_the_other_mode_are_refused_by_name(scoring, network, tmp_path):
    folder = save_features(*network, tmp_path / "set", mode="train")
    with pytest.raises(AutosparseError, match=r"gradient_mode of .*/set is 'train', but the scorer learned .* 'eval'"):
        scoring.score_shards(scorer_of("mlp"), folder, tmp_path / "out", on_two_workers())
    assert not (tmp_path / "out").exists()
    scoring.score_shards(scorer_of("mlp", ("param",)), folder, tmp_path / "out", on_two_workers())  # reads no gradient


def test_scores_say_what_they_are_of(scoring, features, tmp_path):
    scoring.score_shards(scorer_of("conditional-mean"), features, tmp_path / "out", on_two_workers())
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [*(f"scores-{number:05d}.parquet" for number in range(7)), "scores.json"]
    written = json.loads(pq.read_metadata(tmp_path / "out" / "scores-00001.parquet").metadata[b"autosparse.scores"])
    source = json.loads(pq.read_metadata(features / "part-00001.parquet").metadata[b"autosparse.features"])
    assert (written["source"], written["source_digest"], written["start"]) == (
        "part-00001.parquet",
        source["digest"],
        6001,
    )
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]


def test_what_was_read_is_told_and_no_digest_that_a_shard_claims(scoring, network, tmp_path, caplog):
    folder = save_features(*network, tmp_path / "features", shard_rows=6001)
    for path in folder.iterdir():
        [(key, text)] = [pair for pair in pq.read_metadata(path).metadata.items() if pair[0].startswith(b"autosparse")]
        older = {name: value for name, value in json.loads(text).items() if name != "digests"} | {"digest": "stale"}
        pq.write_table(pq.read_table(path).replace_schema_metadata({key: json.dumps(older)}), path)
    scoring.score_shards(scorer_of("conditional-mean"), folder, tmp_path / "out", on_two_workers())
    assert caplog.text.count("is of an earlier version, without digests of its columns") == 1
    digests = Digests(("param", "grad"))
    for rows in read_rows(open_features(folder).files[1], open_features(folder).shapes, ("param", "grad")):
        digests.update(rows)
    written = json.loads(pq.read_metadata(tmp_path / "out" / "scores-00001.parquet").metadata[b"autosparse.scores"])
    assert written["source_digest"] == digests.together


def test_masks_of_a_network_with_an_empty_layer_are_joined(scoring, tmp_path):
    file = Shard(str(tmp_path), "masks-00000.parquet", 0, 22)
    keep = np.arange(22) % 3 == 0
    with ShardWriter(tmp_path / file.name, "masks", {"keep": pa.bool_()}, {}) as writer:
        writer.append({"keep": keep})
    shapes = {"a": (3, 5), "none": (0, 4), "b": (7,)}
    masks = scoring._join_masks(Shards("", shapes, (), {}, (file,)), [file])
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == shapes
    assert np.array_equal(torch.cat([mask.flatten() for mask in masks.values()]), keep)


def dying(folder, times, number=1):
    """Work that kills its process the first ``times`` times that it is given one shard."""

    def work(shard, beat):
        if shard.name == f"part-{number:05d}.parquet":
            tries = len(list(Path(folder).glob("try-*")))
            if tries < times:
                (Path(folder) / f"try-{tries}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return np.array([shard.rows])

    return work


def test_where_ray_data_gives_up_it_is_asked_again_for_what_is_missing(stream, features, tmp_path, monkeypatch):
    watched, asked = stream.ShardStream._watched, []

    def give_up_after_a_shard(self, results, shards, signs):
        asked.append(0)
        for row in watched(self, results, shards, signs):
            yield row
            asked[-1] += 1
            if len(asked) == 1:
                raise stream._GaveUp("the actor is unavailable")

    monkeypatch.setattr(stream.ShardStream, "_watched", give_up_after_a_shard)
    files = open_features(features).files
    counts = dict(stream.ShardStream(on_two_workers()).map(dying(tmp_path, 0), files))
    assert [int(counts[number][0]) for number in range(len(files))] == [shard.rows for shard in files]
    assert asked == [1, len(files) - 1]


def test_a_shard_that_failed_is_named_also_where_ray_data_gives_up(stream, features, tmp_path, monkeypatch):
    watched = stream.ShardStream._watched

    def give_up_at_the_end(self, results, shards, signs):
        yield from watched(self, results, shards, signs)
        raise stream._GaveUp("the actor is unavailable")

    def work(shard, beat):
        if shard.name == "part-00002.parquet":
            raise CorruptFile(f"{shard} is damaged")
        return np.array([1])

    monkeypatch.setattr(stream.ShardStream, "_watched", give_up_at_the_end)
    with pytest.raises(WorkFailed, match=r"part-00002.parquet is damaged"):
        list(stream.ShardStream(on_two_workers()).map(work, open_features(features).files))


def test_a_network_that_takes_long_gives_signs_of_life_and_the_same_scores(features, tmp_path, monkeypatch):
    from autosparse.runner.shards import work as shard_work

    scorer, [shard, *_] = scorer_of("mlp", costly=True), open_features(features).files
    monkeypatch.setattr(shard_work.ray, "get", lambda judge: judge)
    work = shard_work.ScoreShard(scorer, scorer.inputs, open_features(features).shapes, str(tmp_path), {})
    beats, found = [], []
    for costly in (True, False):
        scorer.network.costly = costly
        work(shard, lambda: beats.append(0))
        found.append(pq.read_table(tmp_path / shard.as_in("", "scores").name)["score"].to_numpy())
        assert len(beats) == 6, "for 6,001 rows"
        work.__dict__.pop("_ask")
        beats[:] = [0] * 5
    assert (found[0] == found[1]).all()


@pytest.mark.slow
def test_the_death_of_a_worker_is_survived(stream, features, tmp_path):
    files = open_features(features).files
    counts = dict(stream.ShardStream(on_two_workers()).map(dying(tmp_path, 1), files, actors=True))
    assert [int(counts[number][0]) for number in range(len(files))] == [shard.rows for shard in files]


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_is_given_up_by_name(stream, features, tmp_path):
    pool = stream.ShardStream(on_two_workers())
    with pytest.raises(WorkFailed, match=r"part-00001.*died 3 times"):
        list(pool.map(dying(tmp_path, 1000), open_features(features).files))
    assert len(list(tmp_path.glob("try-*"))) == 3


@pytest.mark.slow
def test_work_that_hangs_is_given_up_by_name_and_the_workers_are_free_again(stream, features, tmp_path):
    import ray

    def work(shard, beat):
        time.sleep(3600 if slow and shard.name == "part-00002.parquet" else 0)
        return np.array([1])

    files, slow = open_features(features).files, False
    pool = stream.ShardStream(on_two_workers())
    list(pool.map(work, files))  # now there are processes
    pool.patience, slow = 5, True
    with pytest.raises(WorkFailed, match=r"nothing moved for 5 s at .*part-00002"):
        list(pool.map(work, files))
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2


def test_a_shard_damaged_inside_is_named_and_has_no_scores(scoring, network, tmp_path):
    folder = save_features(*network, tmp_path / "features", shard_rows=6001)
    path = folder / "part-00002.parquet"
    content = bytearray(path.read_bytes())
    content[pq.read_metadata(path).row_group(0).column(2).data_page_offset + 500] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(AutosparseError, match=r"part-00002\.parquet is truncated or damaged"):
        scoring.score_shards(scorer_of("conditional-mean"), folder, tmp_path / "out", on_two_workers(), 0.9)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.work", "features"]
    assert not (tmp_path / ".out.work" / "scores-00002.parquet").exists()


def test_scores_that_are_nan_are_refused_with_the_shard(ray_running, features, tmp_path):
    import ray

    from autosparse.runner.shards.work import ScoreShard

    scorer, shards = scorer_of("conditional-mean"), open_features(features)
    scorer.network.table.fill_(torch.nan)
    work = ScoreShard(ray.put(scorer), scorer.inputs, shards.shapes, str(tmp_path), {})
    with pytest.raises(WorkFailed, match=r"part-00003\.parquet: scores contain NaN"):
        work(shards.files[3], lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_with_the_folder_or_the_scorer_is_said_before_anything_starts(scoring, network, tmp_path):
    folder = save_features(*network, tmp_path / "features", shard_rows=6001)
    (folder / "part-00001.parquet").write_bytes((folder / "part-00001.parquet").read_bytes()[:-9])
    with pytest.raises(CorruptFile, match="part-00001"):
        scoring.score_shards(scorer_of("mlp"), folder, tmp_path / "out", on_two_workers())


@pytest.mark.slow
def test_the_death_of_the_board_is_told_and_the_next_call_has_another(stream, features):
    import ray

    def kill_board():
        ray.kill(stream.BOARDS[ray.get_runtime_context().get_job_id()])

    files, pool = open_features(features).files, stream.ShardStream(on_two_workers())
    done = pool.map(lambda shard, beat: np.array([1]), files)
    next(done)
    kill_board()
    with pytest.raises(WorkFailed, match="the process that keeps count of the shards has died"):
        list(done)
    assert len(list(pool.map(lambda shard, beat: np.array([1]), files))) == len(files)
    kill_board()
    assert len(list(pool.map(lambda shard, beat: np.array([1]), files))) == len(files)
