"""Feature shards: what is written is what the scorer would read of the model, and damage is named by its file."""

import errno
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from builders import random_batches
from torch import nn

from autosparse.criteria.autos import survival_features
from autosparse.errors import AutosparseError, CorruptFile, Unreachable
from autosparse.irp import Survival, load_survival, save_survival
from autosparse.seeds import derive_seed, drawing_from
from autosparse.shards import open_features, read_rows, require_inputs, save_features
from autosparse.shards.layout import ROWS_AT_ONCE, coordinates, split_rows
from autosparse.shards.reader import read_sample


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 20), nn.Tanh(), nn.Linear(20, 5))


@pytest.fixture
def batches():
    return random_batches((9,), classes=5, sizes=(8, 8, 8))


@pytest.fixture
def shards_folder(model, batches, tmp_path):
    """280 rows in 4 shards, of which the third spans two layers."""
    return save_features(model, batches, tmp_path / "features", provenance={"seed": 0}, shard_rows=77)


def gathered(shards, columns):
    parts = [rows for shard in shards.files for rows in read_rows(shard, shards.shapes, columns)]
    return {name: torch.cat([torch.from_numpy(part[name].copy()) for part in parts]) for name in columns}


def rewrite(path, change):
    """Write the table of ``path`` again as ``change`` makes it, with the same metadata."""
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    kept = {key: value for key, value in metadata.items() if key.startswith(b"autosparse")}
    pq.write_table(change(table).replace_schema_metadata(kept), path)


def test_the_rows_are_what_the_criterion_reads_of_the_model(shards_folder, model, batches):
    shards = open_features(shards_folder)
    found = gathered(shards, ("param", "grad"))
    expected = survival_features(model, batches, nn.functional.cross_entropy, ("param", "grad"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [shard.rows for shard in shards.files] == [77, 77, 77, 49]
    assert shards.shapes == {"0.weight": (20, 9), "2.weight": (5, 20)}


def test_every_row_says_its_layer_and_position(shards_folder):
    table = pa.concat_tables([pq.read_table(path) for path in sorted(shards_folder.iterdir())]).to_pydict()
    assert table["layer"] == ["0.weight"] * 180 + ["2.weight"] * 100
    assert table["position"] == [*range(180), *range(100)]


def features_of_one_layer(weights, folder):
    """Shards of a network with one layer of so many weights, whose gradients differ."""
    model = nn.Linear(weights // 10, 10, bias=False)
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    return save_features(model, random_batches((weights // 10,), classes=10, sizes=(16,)), folder, shard_rows=300_000)


def test_layer_and_position_cost_next_to_nothing(tmp_path):
    folder = features_of_one_layer(500_000, tmp_path / "big")
    assert len(list(folder.iterdir())) == 2
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000 * 8 * 1.02


def test_survival_shards_are_feature_shards(tmp_path):
    shapes, draws = {"conv": (4, 3, 3), "fc": (10, 7)}, torch.Generator().manual_seed(0)
    param, grad = ({n: torch.randn(s, generator=draws) for n, s in shapes.items()} for _ in range(2))
    survived = {name: torch.ones(shape, dtype=torch.int32) for name, shape in shapes.items()}
    save_survival(Survival(param, grad, survived, {"iterations": 1}), tmp_path / "set", 50)
    shards = open_features(tmp_path / "set")
    assert torch.equal(gathered(shards, ["grad"])["grad"], torch.cat([g.flatten() for g in grad.values()]))
    assert shards.shapes == shapes


def test_coordinates_of_a_cut_are_a_cut_of_the_coordinates():
    shapes = {"a": (3, 5), "none": (0, 4), "b": (7,)}
    layers, positions = coordinates(shapes, range(22))
    assert layers.tolist() == [0] * 15 + [2] * 7
    assert positions.tolist() == [*range(15), *range(7)]
    assert [part.tolist() for part in coordinates(shapes, range(13, 18))] == [[0, 0, 2, 2, 2], [13, 14, 0, 1, 2]]


def test_shards_cover_all_rows_once():
    assert [list(rows) for rows in split_rows(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert split_rows(range(2, 7), 3) == [range(2, 5), range(5, 7)]
    assert split_rows(range(0), 3) == [range(0)]


def test_a_sample_holds_everything_or_a_share_with_the_extremes(shards_folder, tmp_path):
    shards = open_features(shards_folder)
    whole = gathered(shards, ["param"])["param"]
    assert torch.equal(torch.from_numpy(read_sample(shards, ["param"], 280)["param"]), whole)
    shards = open_features(features_of_one_layer(ROWS_AT_ONCE + 1006, tmp_path / "big"))
    whole, some = gathered(shards, ["grad"])["grad"], read_sample(shards, ["grad"], 10_000)["grad"]
    assert 9_000 < len(some) < 11_000
    assert (some.min(), some.max()) == (whole.min(), whole.max())


def test_a_truncated_shard_is_named(shards_folder):
    path = shards_folder / "part-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptFile, match=r"part-00002\.parquet is truncated"):
        open_features(shards_folder)


def test_a_flipped_byte_is_noticed_when_its_page_is_read(shards_folder):
    path = shards_folder / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[pq.read_metadata(path).row_group(0).column(3).data_page_offset + 100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match="part-00001"):
        gathered(open_features(shards_folder), ["grad"])


def test_a_disk_that_does_not_answer_is_not_damage(shards_folder, monkeypatch):
    def stale(*given, **how):
        raise OSError(errno.ESTALE, "Stale file handle")

    shards = open_features(shards_folder)
    monkeypatch.setattr(pq, "ParquetFile", stale)
    with pytest.raises(Unreachable, match=r"cannot read .*part-00000.*: Stale file handle; wait until its disk"):
        gathered(shards, ["param"])


def test_a_missing_shard_is_named(shards_folder):
    (shards_folder / "part-00001.parquet").unlink()
    with pytest.raises(CorruptFile, match=r"part-00001\.parquet is missing"):
        open_features(shards_folder)


def test_rows_in_another_order_are_refused(shards_folder):
    rewrite(shards_folder / "part-00002.parquet", lambda table: table.take(pa.array([1, 0, *range(2, 77)])))
    with pytest.raises(CorruptFile, match=r"part-00002.*order"):
        gathered(open_features(shards_folder), ["grad"])


def test_rows_of_another_layer_are_refused(shards_folder):
    def relabel(table):
        names = pa.array(["2.weight"] * len(table)).dictionary_encode()
        return table.set_column(0, "layer", names)

    rewrite(shards_folder / "part-00000.parquet", relabel)
    with pytest.raises(CorruptFile, match=r"part-00000.*order"):
        gathered(open_features(shards_folder), ["grad"])


def reverse(column):
    return column[::-1]


def permute(column):
    return np.random.default_rng(0).permutation(column)


def exchange(column):
    return np.roll(column, 1)


def with_other(path, name, change):
    """Put what ``change`` makes of a column into its place, under the same description."""

    def replace(table):
        at = table.column_names.index(name)
        values = pa.array(change(table[name].to_numpy()), table.schema.field(at).type)
        return table.set_column(at, name, values)

    rewrite(path, replace)


@pytest.fixture(params=["features", "survival"])
def either(request, shards_folder, tmp_path):
    """A folder of features, or one of survival shards."""
    if request.param == "features":
        return shards_folder
    param, grad = torch.randn(2, 280, generator=torch.Generator().manual_seed(0)).unbind()
    survived = {"w": torch.arange(280, dtype=torch.int32)}
    return save_survival(Survival({"w": param}, {"w": grad}, survived, {"iterations": 1}), tmp_path / "set", 77)


@pytest.mark.parametrize("change", [reverse, permute, exchange])
@pytest.mark.parametrize("column", ["param", "grad"])
def test_a_column_in_another_order_is_refused_by_all_that_read_it(either, column, change):
    with_other(either / "part-00002.parquet", column, change)
    for columns in (("param", "grad"), (column,)):
        with pytest.raises(CorruptFile, match=rf"part-00002\.parquet: the values of '{column}' .* make the shards"):
            gathered(open_features(either), columns)
    with pytest.raises(CorruptFile, match=f"the values of '{column}'"):
        read_sample(open_features(either), (column,), 100)


def test_shards_that_were_cut_otherwise_by_a_tool_are_the_same(either):
    expected = gathered(open_features(either), ("param", "grad"))
    for path in either.iterdir():
        metadata = {k: v for k, v in pq.read_metadata(path).metadata.items() if k.startswith(b"autosparse")}
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path, row_group_size=10)
    assert all(torch.equal(values, expected[n]) for n, values in gathered(open_features(either), expected).items())


def test_shards_of_an_earlier_version_are_read_and_known_for_it(either):
    expected = gathered(open_features(either), ("param", "grad"))
    assert open_features(either).bound
    for path in either.iterdir():
        [(key, text)] = [pair for pair in pq.read_metadata(path).metadata.items() if pair[0].startswith(b"autosparse")]
        older = {name: value for name, value in json.loads(text).items() if name != "digests"}
        pq.write_table(pq.read_table(path).replace_schema_metadata({key: json.dumps(older)}), path)
    shards = open_features(either)
    assert not shards.bound
    assert all(torch.equal(values, expected[name]) for name, values in gathered(shards, expected).items())
    if either.name == "set":
        assert load_survival(either).rows == 280


def test_a_lost_row_is_noticed(shards_folder):
    rewrite(shards_folder / "part-00000.parquet", lambda table: table.slice(0, 70))
    with pytest.raises(CorruptFile, match=r"279|273"):
        open_features(shards_folder)


def test_a_missing_value_is_refused(shards_folder):
    grad = pa.array([None, *range(76)], pa.float32())
    rewrite(shards_folder / "part-00000.parquet", lambda table: table.set_column(3, "grad", grad))
    with pytest.raises(CorruptFile, match=r"part-00000.*without a value"):
        gathered(open_features(shards_folder), ["grad"])


def test_a_shard_of_another_network_is_refused(shards_folder, model, batches, tmp_path):
    other = save_features(model, batches, tmp_path / "other", provenance={"seed": 1}, shard_rows=77)
    (other / "part-00003.parquet").replace(shards_folder / "part-00003.parquet")
    with pytest.raises(CorruptFile, match=r"part-00003.*another network"):
        open_features(shards_folder)


def test_a_foreign_parquet_file_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "part-00000.parquet")
    with pytest.raises(CorruptFile, match="not a shard"):
        open_features(tmp_path)


def test_an_empty_folder_says_what_is_needed(tmp_path):
    with pytest.raises(AutosparseError, match="save_features"):
        open_features(tmp_path)


def test_a_scorer_that_reads_another_column_is_refused_with_the_file(shards_folder):
    for path in shards_folder.iterdir():
        rewrite(path, lambda table: table.drop_columns(["grad"]))
    with pytest.raises(AutosparseError, match=r"part-00000\.parquet has no float32 column 'grad'"):
        require_inputs(open_features(shards_folder), ("param", "grad"))


def test_a_write_that_fails_leaves_nothing(model, tmp_path):
    with pytest.raises(AutosparseError):
        save_features(model, [], tmp_path / "features")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_features_say_the_mode_of_their_gradients(mode, batches, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 20), nn.BatchNorm1d(20), nn.Dropout(), nn.Linear(20, 5))
    model[2].eval()
    shards = open_features(save_features(model, batches, tmp_path / "features", mode=mode))
    assert [module.training for module in model] == [True, True, False, True]
    expected = {}
    for each in ("eval", "train"):
        with drawing_from(derive_seed(0, "scoring"), torch.device("cpu")):  # dropout draws in training mode
            expected[each] = survival_features(model, batches, nn.functional.cross_entropy, ("grad",), each)["grad"]
    found = gathered(shards, ("grad",))["grad"]
    assert shards.gradient_mode == mode
    assert torch.equal(found, expected[mode])
    assert not torch.allclose(*expected.values())


def test_an_unknown_mode_of_features_is_refused(model, batches, tmp_path):
    with pytest.raises(AutosparseError, match="unknown mode 'test': known: eval, train"):
        save_features(model, batches, tmp_path / "features", mode="test")
