"""The benchmark of streaming: the baseline in memory reads no more rows than it is credited with."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


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
