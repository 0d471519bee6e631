"""Masks as files of their own."""

import pytest
import torch
from safetensors.torch import save_file
from torch import tensor

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.masks import Masks


@pytest.fixture
def masks():
    draws = torch.Generator().manual_seed(0)
    shapes = {"layer4.1.conv2.weight": (2, 3, 3, 3), "fc.weight": (5, 4), "a.weight": (7,), "weight": ()}
    return Masks.from_scores({name: torch.rand(shape, generator=draws) for name, shape in shapes.items()}, 0.5)


def test_round_trip_keeps_every_mask(masks, tmp_path):
    masks.save(tmp_path / "m.safetensors")
    loaded = Masks.load(tmp_path / "m.safetensors")
    assert {n: m.tolist() for n, m in loaded.items()} == {n: m.tolist() for n, m in masks.items()}


def test_round_trip_keeps_the_order_of_the_layers(masks, tmp_path):
    masks.save(tmp_path / "m.safetensors")
    assert list(Masks.load(tmp_path / "m.safetensors")) == ["layer4.1.conv2.weight", "fc.weight", "a.weight", "weight"]


def test_round_trip_keeps_bools(masks, tmp_path):
    masks.save(tmp_path / "m.safetensors")
    assert {mask.dtype for mask in Masks.load(tmp_path / "m.safetensors").values()} == {torch.bool}


def test_transposed_masks_are_saved_in_their_own_order(tmp_path):
    Masks({"a": tensor([[True, True], [False, False]]).T}).save(tmp_path / "m.safetensors")
    assert Masks.load(tmp_path / "m.safetensors")["a"].tolist() == [[True, False], [True, False]]


def test_a_path_may_be_text(masks, tmp_path):
    masks.save(f"{tmp_path}/m.safetensors")
    assert Masks.load(f"{tmp_path}/m.safetensors").kept == masks.kept


def test_absent_file_is_named(tmp_path):
    with pytest.raises(AutosparseError, match=r"no masks at .*absent\.safetensors"):
        Masks.load(tmp_path / "absent.safetensors")


def test_every_truncation_is_refused(masks, tmp_path):
    path = tmp_path / "m.safetensors"
    masks.save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match=r"m\.safetensors is truncated"):
            Masks.load(path)


def test_tensors_of_somebody_else_are_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "theta.safetensors")
    with pytest.raises(CorruptFile, match=r"theta\.safetensors"):
        Masks.load(tmp_path / "theta.safetensors")


def test_tensors_of_somebody_else_are_not_called_truncated(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "theta.safetensors")
    with pytest.raises(CorruptFile, match=r"theta\.safetensors holds tensors, but no masks of autosparse"):
        Masks.load(tmp_path / "theta.safetensors")


@pytest.mark.parametrize("order", ["", "{", '["b"]', "null"])
def test_an_order_that_is_not_the_file_s_is_refused(tmp_path, order):
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(2, dtype=torch.bool)}, path, metadata={"autosparse": "masks", "order": order})
    with pytest.raises(CorruptFile):
        Masks.load(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(AutosparseError):
        Masks.load(tmp_path)


def test_saving_where_nothing_can_be_written_says_why(masks, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AutosparseError, match="cannot write"):
        masks.save(tmp_path / "file" / "m.safetensors")


def test_what_is_left_out_is_told_and_goes_along(tmp_path):
    net = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.GRU(4, 2, bias=False), torch.nn.Linear(2, 3))
    masks = Masks.dense(net)
    told = "0.weight, 1.weight_ih_l0, 1.weight_hh_l0 (89 % of the parameters)"  # 40 + 24 + 12 of 85
    assert repr(masks) == f"Masks(1 layers, 6 of 6 weights kept, sparsity 0.0000; not prunable: {told})"
    masks.save(tmp_path / "m.safetensors")
    for copy in (Masks.load(tmp_path / "m.safetensors"), masks.to("cpu"), masks.shuffled(0)):
        assert copy.left_out == masks.left_out
        assert copy == masks


def test_nothing_is_told_where_nothing_is_left_out_or_it_is_not_known(masks, tmp_path):
    assert "not prunable" not in repr(masks)
    assert "not prunable" not in repr(Masks.dense(torch.nn.Linear(2, 2)))
    masks.save(tmp_path / "m.safetensors")
    assert Masks.load(tmp_path / "m.safetensors").left_out is None
