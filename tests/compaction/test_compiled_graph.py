"""Compiled graphs leave nothing behind, so that a worker's memory stays flat over a day of cells."""

import copy
import gc
import linecache

import pytest
import torch
from compact_nets import cut, made
from torch import fx, nn

from autosparse.compaction import compact
from autosparse.compaction.compiled import CompiledGraph, kept_sources

SHAPE = (3, 8, 8)


@pytest.fixture
def kept():
    """How many sources are kept now."""

    def count():
        gc.collect()
        return len(kept_sources()), sum(name.startswith("<eval_with_key>") for name in linecache.cache)

    return count


def test_pytorch_keeps_the_sources_of_plain_graphs_where_they_are_looked_for(kept):
    before = kept()
    module = fx.symbolic_trace(nn.Linear(2, 2))
    del module
    assert kept() == (before[0] + 1, before[1] + 1), "this PyTorch keeps them elsewhere, or no longer: see compiled.py"


def test_compact_networks_leave_no_source_behind(kept):
    model = made("residual")
    masks = cut(model, 0.9)
    before = kept()
    for _ in range(3):
        smaller = compact(model, masks, SHAPE)
        copies = copy.deepcopy(smaller.network), smaller.folded()
        assert kept()[0] > before[0]
        del smaller, copies
        assert kept() == before


def test_a_traceback_shows_the_line_as_long_as_the_network_lives():
    model = made("residual")
    smaller = compact(model, cut(model, 0.9), SHAPE).network
    with pytest.raises(RuntimeError) as raised:
        smaller(torch.zeros(2, 5, 8, 8))
    frame = next(entry for entry in raised.traceback if "<eval_with_key>" in str(entry.frame.code.raw.co_filename))
    assert "self" in linecache.getline(frame.frame.code.raw.co_filename, frame.lineno + 1)


def test_a_compiled_graph_computes_what_its_graph_says():
    class Sum(nn.Module):
        def forward(self, x):
            return x + x.relu()

    graph = fx.Tracer().trace(Sum())
    module = CompiledGraph(Sum(), graph)
    x = torch.randn(4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module(x), x + x.relu())
    next(node for node in graph.nodes if node.op == "output").args = (next(iter(graph.nodes)),)
    module.recompile()
    assert torch.equal(module(x), x)
