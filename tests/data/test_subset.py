"""A part of a data set is the same each time and of the right size; one line refuses what cannot be a part."""

import pytest
import torch

from autosparse.data import check_dataset_name, load_dataset
from autosparse.errors import AutosparseError, DataError


def pairs(split):
    return list(zip(map(tuple, split.images.flatten(1).tolist()), split.labels.tolist(), strict=True))


def test_it_is_a_part_of_the_whole_drawn_at_random():
    whole, part = load_dataset("digits"), load_dataset("subset:200,50:digits")
    assert (len(part.train), len(part.test), part.num_classes) == (200, 50, 10)
    assert set(pairs(part.train)) <= set(pairs(whole.train))
    assert set(pairs(part.test)) <= set(pairs(whole.test))
    assert len(set(pairs(part.train))) >= 195  # none is drawn twice; a few digits are alike
    assert part.train.labels.tolist() != whole.train.labels[:200].tolist()
    assert part.name == "subset:200,50:digits"


def test_it_is_the_same_each_time_and_another_than_the_whole():
    one, two = load_dataset("subset:200:digits"), load_dataset("subset:200:digits")
    assert torch.equal(one.train.images, two.train.images)
    assert one.fingerprint == two.fingerprint != load_dataset("digits").fingerprint
    assert len(one.test) == 360


def test_a_larger_one_holds_the_smaller():
    small, large = load_dataset("subset:100:digits"), load_dataset("subset:300:digits")
    assert torch.equal(small.train.images, large.train.images[:100])


def test_its_version_can_be_pinned():
    name = "subset:100:digits"
    version = load_dataset(name).fingerprint
    assert load_dataset(f"{name}@{version}").fingerprint == version
    with pytest.raises(DataError, match="the data here have the fingerprint"):
        load_dataset(f"{name}@00000000")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("subset", "subset needs an argument; write subset:TRAIN"),
        ("subset:digits", "write subset:10000:cifar10, or subset:10000,2000:cifar10"),
        ("subset:0:digits", "write subset:10000:cifar10"),
        ("subset:10,:digits", "write subset:10000:cifar10"),
        ("subset:10:digitz", "did you mean 'digits'"),
        ("subset:10:parquet", "parquet needs an argument"),
    ],
)
def test_a_name_that_names_nothing_is_refused_before_any_file_is_read(name, said):
    with pytest.raises(AutosparseError, match=said):
        check_dataset_name(name)


def test_more_than_there_are_is_refused():
    with pytest.raises(DataError, match="'digits' has 1437 train images, and subset asks for 2000"):
        load_dataset("subset:2000:digits")
    with pytest.raises(DataError, match="'digits' has 360 test images, and subset asks for 400"):
        load_dataset("subset:20,400:digits")
