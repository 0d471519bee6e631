"""Whatever is in a Parquet shard, it is read or refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fuzzing import DAMAGE, JSON, damage, few, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st

from autosparse.errors import CorruptFile
from autosparse.irp import load_survival, save_survival
from autosparse.irp.parquet import KEY, SCHEMA
from autosparse.shards import open_features, save_features
from autosparse.shards.reader import read_column, read_sample

pytestmark = pytest.mark.usefixtures("little_memory")

PART = "part-00000.parquet"


@pytest.fixture
def shard(survival, tmp_path):
    return save_survival(survival, tmp_path / "set") / PART


def read_features(folder):
    """Every column of every shard."""
    shards = open_features(folder)
    read_sample(shards, shards.columns, 100)
    for shard in shards.files:
        for column in (*shards.columns, "position", "layer"):
            list(read_column(shard, column))


LOADERS = (load_survival, open_features, read_features)


@few
@given(*DAMAGE)
def test_a_damaged_survival_shard(shard, survival, at, bits, cut):
    whole = shard.read_bytes()
    try:
        shard.write_bytes(damage(whole, at, bits, cut))
        for load in LOADERS:
            refused_or_fine(load, shard.parent)
    finally:
        shard.write_bytes(whole)


METADATA = st.fixed_dictionaries(
    {},
    optional={
        "shard": JSON | st.just(10**15),
        "shards": JSON | st.sampled_from([10**9, 2**47, 2**80, -1]),
        "rows": JSON,
        "shapes": JSON | st.lists(st.tuples(st.text(max_size=3), JSON), max_size=2) | st.just([["w", [2**20, 2**20]]]),
        "fingerprint": JSON,
        "provenance": JSON | st.fixed_dictionaries({"iterations": JSON}),
    },
)


@few
@given(METADATA)
def test_a_survival_shard_that_says_something_else(shard, survival, changes):
    table = pq.read_table(shard)
    whole = json.loads(table.schema.metadata[KEY])
    try:
        pq.write_table(table.replace_schema_metadata({KEY: json.dumps({**whole, **changes})}), shard)
        for load in LOADERS:
            refused_or_fine(load, shard.parent)
    finally:
        pq.write_table(table, shard)


@pytest.mark.parametrize(
    "column", [[None] * 400, list(range(-400, 0)), [2**62] * 400, [0] * 400], ids=["null", "negative", "far", "twice"]
)
def test_positions_that_are_none(shard, column):
    table = pq.read_table(shard)
    pq.write_table(table.set_column(1, SCHEMA.field("position"), pa.array(column, pa.int64())), shard)
    with pytest.raises(CorruptFile):
        load_survival(shard.parent)


@pytest.fixture
def features(tmp_path):
    batches = [(torch.ones(2, 10), torch.tensor([0, 1]))]
    return save_features(torch.nn.Sequential(torch.nn.Linear(10, 40)), batches, tmp_path / "features") / PART


@few
@given(*DAMAGE)
def test_a_damaged_feature_shard(features, at, bits, cut):
    whole = features.read_bytes()
    try:
        features.write_bytes(damage(whole, at, bits, cut))
        refused_or_fine(read_features, features.parent)
    finally:
        features.write_bytes(whole)


KINDS = [pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.bool_(), pa.list_(pa.int64())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("column", ["layer", "position", "param"])
def test_a_column_of_another_type(features, column, kind):
    table = pq.read_table(features)
    values = [[1]] * len(table) if pa.types.is_list(kind) else pa.array([1] * len(table)).cast(pa.string()).cast(kind)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, pa.field(column, kind), pa.array(values, kind)), features)
    refused_or_fine(read_features, features.parent)
