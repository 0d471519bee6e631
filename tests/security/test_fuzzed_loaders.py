"""Whatever is in a file, its loader gives a result or an AutosparseError: no other exception, no hang, no flood."""

import contextlib
import hashlib
import json
import resource
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors

from autosparse.autos import fit_scorer, load_scorer
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.experiment.load import load_experiment, parse_loaded
from autosparse.experiment.strict_yaml import parse_yaml
from autosparse.files import read_record, write_record
from autosparse.irp import Survival, load_survival, save_survival
from autosparse.irp.parquet import KEY, SCHEMA
from autosparse.shards import open_features, save_features
from autosparse.shards.reader import read_column, read_sample

few = settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def little_memory():
    """Fails what asks for 4 GiB more than is in use."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 4 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refused_or_fine(load, *given):
    with contextlib.suppress(AutosparseError):
        load(*given)


# YAML

KEYS_OF_FILES = ["name:", "grid:", "irp:", "scorers:", "sweeps:", "presets:", "set:", "drop:", "methods:", "seeds:"]
SYNTAX = [
    "[",
    "]",
    "{",
    "}",
    ",",
    "-",
    ":",
    "?",
    "|",
    ">",
    "&",
    "a",
    "*a",
    "<<",
    "!",
    "'",
    '"',
    "#",
    "%",
    "@",
    "`",
    "---",
]
TAGS = ["int", "float", "timestamp", "bool", "binary", "set", "omap", "pairs", "null", "python/name:os", ""]
VALUES = [
    "digits",
    "snip",
    "x",
    "2001-99-99",
    "0x_",
    "0b_",
    "0o_",
    "1:99:99",
    ".nan",
    ".inf",
    "1e999",
    "~",
    r'"\ud800"',
]
TOKENS = KEYS_OF_FILES + SYNTAX + [f"!!{tag}" for tag in TAGS] + VALUES
TOKENS += ["\t", "\n", "\n- ", "\n  ", "\u2028", "\ufeff"]


@few
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join) | st.text(max_size=60))
def test_text_as_yaml(text):
    refused_or_fine(parse_yaml, text, "fuzz")


@few
@given(st.binary(max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join).map(str.encode))
def test_bytes_as_an_experiment_file(tmp_path, content):
    (tmp_path / "fuzz.yaml").write_bytes(content)
    refused_or_fine(load_experiment, tmp_path / "fuzz.yaml")


GRID = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": ["snip"], "sparsities": [0.9], "seeds": [0]}
WHOLE = {
    "name": "x",
    "irp": {"i": {"model": "lenet-300-100", "dataset": "digits"}},
    "scorers": {"s": {"irp": "i"}},
    "grid": [GRID],
    "presets": {"small": {"set": {"grid.*.seeds": [0]}, "drop": []}},
}
PLACES = [("name",), ("irp",), ("irp", "i"), ("irp", "i", "recipe"), ("irp", "i", "seeds"), ("scorers",)]
PLACES += [("scorers", "s"), ("scorers", "s", "irp"), ("grid",), ("grid", 0), ("concordance",), ("sweeps",), ("notes",)]
PLACES += [("grid", 0, name) for name in (*GRID, "recipe", "published", "score_examples")]
PLACES += [("presets",), ("presets", "small"), ("presets", "small", "set"), ("presets", "small", "drop")]


@few
@given(st.sampled_from(PLACES), JSON, st.sampled_from([None, "small", "paper", "x"]))
def test_any_value_in_any_place_of_an_experiment(place, value, preset):
    content = json.loads(json.dumps(WHOLE))
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    refused_or_fine(parse_loaded, content, "fuzz", preset)


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
        "a0: &a0 {k: x}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000,
        "a: 0x" + "f" * 200_000,
        "a: " + "1" * 200_000 + "x",
        "a: " + "1" * 200_000,
        "a: " + ":".join(["59"] * 40_000),
        "a: [" + "x," * 60_000 + "]",
        "x" * 300_000,
    ],
    ids=[
        "laughs",
        "merges",
        "circle",
        "circle of maps",
        "lists",
        "maps",
        "items",
        "hex",
        "no number",
        "digits",
        "base 60",
        "long",
        "big",
    ],
)
@pytest.mark.timeout(60)
def test_a_bomb_of_yaml(tmp_path, bomb):
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(AutosparseError):
        load_experiment(tmp_path / "bomb.yaml")


def test_a_bomb_of_presets():
    many = {f"k{i}": 0 for i in range(100)}
    stars = {"irp" + ".*" * depth: many for depth in range(1, 6)}
    with pytest.raises(AutosparseError, match="sets more than 50,000 values"):
        parse_loaded({**WHOLE, "presets": {"small": {"set": stars}}}, "bomb", "small")
    thin = {"set": {f"grid.*.b{i}": 0 for i in range(200)}}
    with pytest.raises(AutosparseError, match="small sets more than 50,000 values"):
        parse_loaded({**WHOLE, "grid": [GRID] * 1000, "presets": {"small": thin}}, "bomb", "small")


# Parquet


PART = "part-00000.parquet"


@pytest.fixture(scope="module")
def survival():
    draws = torch.Generator().manual_seed(0)
    param, grad = torch.randn(2, 40, 10, generator=draws)
    return Survival({"w": param}, {"w": grad}, {"w": (param.abs() * 9).int()}, {"iterations": 20})


@pytest.fixture
def shard(survival, tmp_path):
    return save_survival(survival, tmp_path / "set") / PART


def damage(content, at, bits, cut):
    for place, bit in zip(at, bits, strict=False):
        place %= len(content)
        content = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    return content[:cut] if cut is not None else content


def read_features(folder):
    """Every column of every shard."""
    shards = open_features(folder)
    read_sample(shards, shards.columns, 100)
    for shard in shards.files:
        for column in (*shards.columns, "position", "layer"):
            list(read_column(shard, column))


LOADERS = (load_survival, open_features, read_features)
DAMAGE = (
    st.lists(st.integers(0, 2**16), max_size=4),
    st.lists(st.integers(1, 255), min_size=4, max_size=4),
    st.none() | st.integers(0, 4000),
)


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


# Scorers


@pytest.fixture
def scorer(survival, tmp_path):
    return fit_scorer(survival, backbone="conditional-mean").save(tmp_path / "scorer")


@few
@given(st.sampled_from(["scorer.json", "scorer.safetensors"]), *DAMAGE)
def test_a_damaged_scorer(scorer, name, at, bits, cut):
    whole = (scorer / name).read_bytes()
    try:
        (scorer / name).write_bytes(damage(whole, at, bits, cut))
        refused_or_fine(load_scorer, scorer)
    finally:
        (scorer / name).write_bytes(whole)


KEYS = ("backbone", "inputs", "standardisation", "report", "provenance", "weights_sha256")


@few
@given(st.sampled_from(KEYS), JSON | st.sampled_from(["mlp", ["param"], {"mean": [0], "std": [0]}, {"mean": "ab"}]))
def test_a_scorer_that_says_something_else_with_a_right_checksum(scorer, key, value):
    whole = read_record(scorer / "scorer.json")
    try:
        with contextlib.suppress(ValueError):  # NaN is no value of a record
            write_record(scorer / "scorer.json", {**whole, key: value})
        with contextlib.suppress(AutosparseError):
            loaded = load_scorer(scorer)
            loaded.predict({name: torch.ones(100) for name in loaded.inputs})
            list(loaded.warnings)
    finally:
        write_record(scorer / "scorer.json", whole)


@pytest.mark.parametrize("length", [0, 2**63, 2**64 - 1, 10**9])
def test_weights_whose_header_claims_any_length(scorer, length):
    content = struct.pack("<Q", length) + b"{}" + to_safetensors({"x": torch.ones(3)})
    (scorer / "scorer.safetensors").write_bytes(content)
    whole = read_record(scorer / "scorer.json")
    write_record(scorer / "scorer.json", {**whole, "weights_sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(CorruptFile):
        load_scorer(scorer)
