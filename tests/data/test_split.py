import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.data.split import Split, channel_statistics, make_dataset
from autosparse.errors import DataError
from autosparse.seeds import generator


def numbered(count):
    """A split whose image i is filled with i and labelled i, not normalised."""
    labels = torch.arange(count)
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Split(images, labels, mean=torch.zeros(1), std=torch.ones(1))


def random_images(seed, shape=(6, 3, 4, 4)):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


def labels_of(batches):
    return [y.tolist() for _, y in batches]


def joined(batches):
    return torch.cat([y for _, y in batches]).tolist()


def test_batches_keep_the_stored_order_without_shuffle():
    assert labels_of(numbered(7).batches(3)) == [[0, 1, 2], [3, 4, 5], [6]]


@given(st.integers(1, 40), st.integers(1, 50), st.none() | st.integers(0, 60))
def test_one_pass_has_each_example_once_up_to_the_limit(count, batch_size, limit):
    seen = [
        label for batch in labels_of(numbered(count).batches(batch_size, generator(0), limit=limit)) for label in batch
    ]
    assert len(seen) == len(set(seen)) == (count if limit is None else min(count, limit))


@given(st.integers(1, 40), st.integers(1, 50))
def test_every_batch_but_the_last_is_full(count, batch_size):
    sizes = [len(batch) for batch in labels_of(numbered(count).batches(batch_size))]
    assert sizes[:-1] == [batch_size] * (math.ceil(count / batch_size) - 1)


def test_shuffle_moves_images_with_their_labels():
    for x, y in numbered(20).batches(6, generator(0)):
        assert x[:, 0, 1, 1].tolist() == y.tolist()


def test_shuffle_depends_on_the_generator_alone():
    first, again, other = (labels_of(numbered(50).batches(8, generator(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_shuffle_is_that_of_randperm():
    expected = torch.randperm(10, generator=generator(5)).tolist()
    assert joined(numbered(10).batches(4, generator(5))) == expected


def test_limit_takes_the_beginning_of_the_shuffled_order():
    whole = joined(numbered(30).batches(8, generator(3)))
    assert joined(numbered(30).batches(8, generator(3), limit=11)) == whole[:11]


def test_batches_are_normalised_per_channel():
    images = random_images(0)
    split = Split(
        images, torch.zeros(6, dtype=torch.int64), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 8.0])
    )
    expected = torch.stack([(images[:, c].float() - m) / s for c, m, s in [(0, 1, 4), (1, 2, 5), (2, 3, 8)]], dim=1)
    torch.testing.assert_close(torch.cat([x for x, _ in split.batches(4)]), expected)


def test_batches_leave_the_stored_bytes_alone():
    split = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6))).train
    before = split.images.clone()
    list(split.batches(4, generator(0), "crop-flip"))
    assert torch.equal(split.images, before)


def test_shuffle_seeds_the_augmentation_too():
    split = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6))).train
    first, again = ([x for x, _ in split.batches(4, generator(7), "crop-flip")] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("labels", [0, 5, 7])
def test_split_needs_one_label_per_image(labels):
    with pytest.raises(DataError, match=f"one label per image.* got 6 images and {labels} labels"):
        Split(random_images(0), torch.zeros(labels), torch.zeros(3), torch.ones(3))


def test_split_without_images_is_refused():
    with pytest.raises(DataError, match=r"at least one.* got 0 images and 0 labels"):
        Split(torch.empty(0, 1, 2, 2), torch.empty(0), torch.zeros(1), torch.ones(1))


def test_a_data_set_without_images_is_refused_in_one_line():
    nothing = torch.empty(0, 1, 2, 2, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
    with pytest.raises(DataError, match="a split needs one label per image, at least one; got 0 images and 0 labels"):
        make_dataset("empty", nothing, nothing)


@given(st.integers(0, 1000), st.integers(1, 4))
def test_channel_statistics_equal_those_of_float64(seed, channels):
    images = random_images(seed, (5, channels, 3, 2))
    mean, std = channel_statistics(images)
    exact = images.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, exact.mean(1).float())
    torch.testing.assert_close(std, exact.std(1, unbiased=False).float())


def test_channel_statistics_by_hand():
    images = torch.tensor([[[[0, 0]]], [[[4, 4]]]], dtype=torch.uint8)
    assert [value.tolist() for value in channel_statistics(images)] == [[2.0], [2.0]]


def test_constant_channel_gets_a_deviation_of_one():
    assert channel_statistics(torch.full((3, 1, 2, 2), 9, dtype=torch.uint8))[1].tolist() == [1.0]


def test_training_images_have_mean_zero_and_variance_one_per_channel():
    train = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6))).train
    images = train.normalised(train.images).transpose(0, 1).flatten(1)
    torch.testing.assert_close(images.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(1, unbiased=False), torch.ones(3))


def test_test_images_are_normalised_by_the_training_images():
    data = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6)))
    assert [v.tolist() for v in (data.test.mean, data.test.std)] == [
        v.tolist() for v in channel_statistics(random_images(0))
    ]


def test_classes_are_counted_over_both_splits():
    data = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6) + 2))
    assert (data.num_classes, data.input_shape) == (8, (3, 4, 4))


@pytest.mark.parametrize("part", range(4))
def test_fingerprint_changes_with_a_single_value(part):
    parts = [random_images(0), torch.arange(6), random_images(1), torch.arange(6)]
    before = make_dataset("d", (parts[0], parts[1]), (parts[2], parts[3])).fingerprint
    parts[part] = parts[part].clone()
    parts[part].view(-1)[3] += 1
    assert make_dataset("d", (parts[0], parts[1]), (parts[2], parts[3])).fingerprint != before


def test_to_moves_both_splits():
    data = make_dataset("d", (random_images(0), torch.arange(6)), (random_images(1), torch.arange(6))).to("meta")
    assert {t.device.type for s in (data.train, data.test) for t in (s.images, s.labels, s.mean, s.std)} == {"meta"}


def test_images_in_floating_point_are_not_changed_by_a_pass():
    images = torch.rand(6, 1, 4, 4) + 1
    split = Split(images, torch.arange(6), torch.tensor([1.0]), torch.tensor([0.5]))
    before = images.clone()
    [(first, _)], [(second, _)] = list(split.batches(6)), list(split.batches(6))
    assert torch.equal(images, before)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, (before - 1) / 0.5)
