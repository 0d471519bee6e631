"""Look-ups against NumPy's and SciPy's, for few rows (by bisection) and for many (by address)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from autosparse.autos import table
from autosparse.autos.table import Table, node_below

WAYS = [1 << 62, 1]
"""Rows from which on addresses are used: never, always."""
FLOATS = st.floats(-1e6, 1e6, width=32)


@pytest.fixture(params=WAYS, ids=["bisection", "address"])
def way(request, monkeypatch):
    monkeypatch.setattr(table, "MANY", request.param)


def below(column, nodes):
    """Count them, one value at a time."""
    return [min(max(sum(node <= value for node in nodes) - 1, 0), len(nodes) - 2) for value in column]


@pytest.mark.parametrize("many", WAYS)
@settings(max_examples=15)
@given(st.lists(FLOATS, min_size=2, max_size=40), st.lists(FLOATS, min_size=1, max_size=30))
def test_the_node_below_is_found_among_equal_and_near_ones(many, nodes, values):
    nodes = sorted(nodes)
    nodes += [float(np.nextafter(np.float32(nodes[-1]), np.float32(np.inf)))]
    column, before = [*values, *nodes, -np.inf, np.inf, -0.0, 1e-45], table.MANY
    table.MANY = many
    try:
        found = node_below(torch.tensor(column), torch.tensor(nodes))
    finally:
        table.MANY = before
    assert found.tolist() == below(np.float32(column), np.float32(nodes))


def test_values_between_the_nodes_are_multilinear(way):
    draws = np.random.default_rng(0)
    nodes = [np.sort(draws.standard_t(2, side).astype(np.float32)) for side in (40, 7, 5)]
    values = draws.normal(size=(40, 7, 5)).astype(np.float32)
    columns = [draws.standard_t(2, 2000).astype(np.float32) for _ in nodes]
    inside = np.stack([column.clip(own[0], own[-1]) for column, own in zip(columns, nodes, strict=True)], 1)
    found = Table(torch.from_numpy(values), [torch.from_numpy(own) for own in nodes])(list(map(torch.tensor, columns)))
    assert found.numpy() == pytest.approx(RegularGridInterpolator(nodes, values)(inside), abs=1e-5)


def test_addresses_give_bit_for_bit_what_bisection_gives(monkeypatch):
    draws = torch.Generator().manual_seed(0)
    columns = [torch.randn(200_001, generator=draws) ** 3 for _ in range(2)]
    nodes = [column[:513].sort().values for column in columns]
    values = torch.randn(513, 513, generator=draws)
    found = []
    for many in WAYS:
        monkeypatch.setattr(table, "MANY", many)
        found.append(Table(values, nodes)(columns))
    assert torch.equal(*found)


@pytest.mark.parametrize("rows", [500, table.SAMPLE + 3])
def test_nodes_are_spread_from_the_least_to_the_greatest_value_and_all_differ(rows):
    column = torch.linspace(-1, 1, rows)
    column[rows // 2 + 1], column[rows // 3 + 1] = 7.0, -9.0  # with many rows, neither is in the sample
    nodes = table.spread(column, 65, tail=0.01)
    assert (nodes[0], nodes[-1]) == (-9.0, 7.0)
    assert (nodes.diff() > 0).all()


def test_doubles_have_no_addresses_and_are_found_all_the_same(monkeypatch):
    monkeypatch.setattr(table, "MANY", 1)
    nodes, column = torch.arange(5.0, dtype=torch.float64), torch.tensor([-1.0, 0.5, 2.0, 9.0], dtype=torch.float64)
    assert node_below(column, nodes).tolist() == [0, 0, 2, 3]
