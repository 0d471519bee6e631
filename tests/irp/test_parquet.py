"""Survival datasets on disk: round trip, and refusal of foreign, truncated, missing and mixed shards."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.irp import Survival, find_datasets, load_survival, save_survival
from autosparse.irp.parquet import SCHEMA, check_description


@pytest.fixture
def conv_and_linear():
    draws = torch.Generator().manual_seed(0)
    shapes = {"conv.weight": (4, 3, 3, 3), "fc.weight": (10, 7)}
    return Survival(
        {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()},
        {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()},
        {name: torch.randint(0, 6, shape, generator=draws, dtype=torch.int32) for name, shape in shapes.items()},
        {"iterations": 5, "model": "tiny", "seed": 3, "accuracy": [90.0, 80.5]},
    )


def assert_same(a, b):
    for mine, other in ((a.param, b.param), (a.grad, b.grad), (a.survived, b.survived)):
        assert list(mine) == list(other)
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert a.provenance == b.provenance


@pytest.mark.parametrize("shard_rows", [1000, 50, 7])
def test_round_trip_is_exact_for_any_number_of_shards(conv_and_linear, tmp_path, shard_rows):
    save_survival(conv_and_linear, tmp_path / "set", shard_rows)
    assert len(list((tmp_path / "set").iterdir())) == -(-178 // shard_rows)
    assert_same(load_survival(tmp_path / "set"), conv_and_linear)


def test_columns_and_types_are_as_promised(conv_and_linear, tmp_path):
    schema = pq.read_schema(save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet")
    assert schema.remove_metadata().equals(SCHEMA)
    assert schema.names == ["layer", "position", "param", "grad", "survived"]


def test_rows_in_any_order_are_put_back_by_layer_and_position(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(torch.randperm(table.num_rows).tolist())), path)
    assert_same(load_survival(tmp_path / "set"), conv_and_linear)


def test_a_truncated_shard_is_refused_by_name(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set", 50) / "part-00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="part-00002"):
        load_survival(tmp_path / "set")


def test_a_flipped_byte_in_a_page_is_noticed(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    page = pq.read_metadata(path).row_group(0).column(2).data_page_offset
    content[page + 200] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match="part-00000"):
        load_survival(tmp_path / "set")


def test_a_missing_shard_is_named(conv_and_linear, tmp_path):
    (save_survival(conv_and_linear, tmp_path / "set", 50) / "part-00001.parquet").unlink()
    with pytest.raises(CorruptFile, match=r"part-00001\.parquet is missing"):
        load_survival(tmp_path / "set")


def test_a_shard_of_another_dataset_is_refused(conv_and_linear, tmp_path):
    save_survival(conv_and_linear, tmp_path / "set", 50)
    conv_and_linear.provenance["seed"] = 4
    other = save_survival(conv_and_linear, tmp_path / "other", 50)
    (other / "part-00001.parquet").replace(tmp_path / "set" / "part-00001.parquet")
    told = r"part-00001\.parquet belongs to another survival dataset than part-00000\.parquet"
    with pytest.raises(CorruptFile, match=told):
        load_survival(tmp_path / "set")


def test_a_foreign_parquet_file_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "part-00000.parquet")
    with pytest.raises(CorruptFile, match="not a survival shard"):
        load_survival(tmp_path)


def test_a_row_given_twice_is_refused(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table.slice(0, table.num_rows - 1), table.slice(0, 1)]), path)
    with pytest.raises(CorruptFile, match="each weight"):
        load_survival(tmp_path / "set")


def test_an_empty_folder_says_how_to_make_a_dataset(tmp_path):
    with pytest.raises(AutosparseError, match="autosparse irp"):
        load_survival(tmp_path)


def test_datasets_are_found_in_sub_folders_in_order(conv_and_linear, tmp_path):
    for seed in (1, 0):
        save_survival(conv_and_linear, tmp_path / f"seed-{seed}")
    assert [path.name for path in find_datasets(tmp_path)] == ["seed-0", "seed-1"]
    assert find_datasets(tmp_path / "seed-1") == [tmp_path / "seed-1"]


def test_what_a_killed_process_left_is_no_dataset(conv_and_linear, tmp_path):
    for folder in (tmp_path / ".hidden" / "irp" / "whole", tmp_path / ".hidden" / "irp" / ".whole.0123.tmp"):
        save_survival(conv_and_linear, folder / "survival")
    assert find_datasets(tmp_path / ".hidden") == [tmp_path / ".hidden" / "irp" / "whole" / "survival"]


def test_a_folder_with_something_else_in_it_is_not_overwritten(conv_and_linear, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AutosparseError, match=r"thesis\.tex"):
        save_survival(conv_and_linear, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_other_values_in_a_well_formed_shard_are_noticed(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    column = table.column_names.index("survived")
    pq.write_table(table.set_column(column, SCHEMA.field(column), pa.array([99] * 178, pa.int32())), path)
    with pytest.raises(CorruptFile, match="rows that were written"):
        load_survival(tmp_path / "set")


def test_a_row_without_a_layer_is_noticed(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    layers = pa.array([None, *table.column("layer").to_pylist()[1:]], SCHEMA.field("layer").type)
    pq.write_table(table.set_column(0, SCHEMA.field("layer"), layers), path)
    with pytest.raises(CorruptFile, match="does not hold each weight"):
        load_survival(tmp_path / "set")


@pytest.mark.parametrize("metadata", [b"{bad", b"[]", b"{}", b'{"shard": 0}'])
def test_damaged_metadata_are_refused(conv_and_linear, tmp_path, metadata):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"autosparse.survival": metadata}), path)
    with pytest.raises(CorruptFile, match="part-00000"):
        load_survival(tmp_path / "set")


DESCRIBED = {"shard": 0, "shards": 1, "shapes": [["a.weight", [2, 3]]], "provenance": {}}


def test_a_shard_may_have_any_size_that_files_can_have():
    check_description(DESCRIBED)
    check_description({**DESCRIBED, "shapes": [["a.weight", [2**48 - 1]]]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"shard": -1}, {"shards": 2**48}, {"shards": True}, {"shards": 1.0}, {"shapes": [["a.weight", [2**48]]]},
        {"shapes": [["a.weight", ["3"]]]}, {"shapes": [[3, [3]]]}, {"shapes": [["a", [3]], ["a", [3]]]},
        {"digests": {"param": 3}},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_of_what_no_dataset_has_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        check_description({**DESCRIBED, **wrong})


def test_a_shard_that_describes_what_no_dataset_has_is_refused_by_name(conv_and_linear, tmp_path):
    path = save_survival(conv_and_linear, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    content = json.loads(table.schema.metadata[b"autosparse.survival"])
    content["shapes"].append(content["shapes"][0])
    metadata = {b"autosparse.survival": json.dumps(content).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(CorruptFile, match=r"part-00000\.parquet has damaged metadata"):
        load_survival(tmp_path / "set")
