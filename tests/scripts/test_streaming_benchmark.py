"""The benchmark of streaming: its features depend on the seed alone, and its baseline reads only what it counts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autosparse.shards import open_features, read_rows


@pytest.fixture
def streaming(benchmark_module):
    return benchmark_module("streaming")


@pytest.mark.parametrize(("asked", "read"), [(25, 30), (100, 100), (120, 120), (200, 200)])
def test_no_further_chunk_is_read_once_there_are_enough_rows(streaming, monkeypatch, asked, read):
    chunks = []

    def read_rows(shard, shapes, columns):
        for start in range(0, 100, 10):
            chunks.append(10)
            yield {name: np.arange(start, start + 10.0) for name in columns}

    monkeypatch.setattr(streaming, "open_features", lambda folder: SimpleNamespace(files=["one", "two"]))
    monkeypatch.setattr(streaming, "read_rows", read_rows)
    parts = list(streaming.read_first(Path(), {}, ("param", "grad"), asked))
    assert sum(len(part["grad"]) for part in parts) == sum(chunks) == read


@pytest.mark.slow
def test_synthetic_rows_depend_on_the_seed_alone(benchmark_module, tmp_path):
    save_synthetic_features = benchmark_module("synthetic_features").save_synthetic_features
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        shards = open_features(save_synthetic_features(tmp_path / name, {"w": (1000,)}, seed, shard_rows=300))
        assert [shard.rows for shard in shards.files] == [300, 300, 300, 100]
        parts = [part["grad"] for shard in shards.files for part in read_rows(shard, shards.shapes, ["grad"])]
        found.append(np.concatenate(parts))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert 0.5 < found[0].std() / 0.002 / 15**0.5 < 2  # the cube of a normal number has variance 15
