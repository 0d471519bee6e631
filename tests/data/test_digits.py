import torch

from autosparse.data import load_dataset


def test_shapes_and_dtypes(digits):
    assert (digits.train.images.shape, digits.train.images.dtype) == ((1437, 1, 8, 8), torch.uint8)
    assert (digits.test.images.shape, digits.test.labels.dtype) == ((360, 1, 8, 8), torch.int64)


def test_facts_a_model_needs(digits):
    assert (digits.name, digits.num_classes, digits.input_shape) == ("digits", 10, (1, 8, 8))


def test_train_and_test_together_are_the_whole_set_once(digits):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = [
        (int(label), image.flatten().tolist())
        for split in (digits.train, digits.test)
        for image, label in zip(split.images, split.labels, strict=True)
    ]
    expected = [(int(label), image.astype(int).tolist()) for image, label in zip(images, labels, strict=True)]
    assert sorted(rows) == sorted(expected)


def test_split_is_stratified(digits):
    train, test = digits.train.labels.bincount(), digits.test.labels.bincount()
    share = (train + test) * (360 / 1797)
    assert ((test - share).abs() <= 1).all()


def test_split_is_the_same_at_every_load(digits):
    assert load_dataset("digits").fingerprint == digits.fingerprint


def test_fingerprint_never_changes_between_versions(digits):
    assert digits.fingerprint == "6a812af8365b27b7"
