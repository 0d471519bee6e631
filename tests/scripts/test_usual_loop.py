"""The baseline's transforms: with and without torchvision they are the same arithmetic."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


@pytest.fixture
def usual_loop(benchmark_module):
    return benchmark_module("usual_loop")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_without_augmentation_both_give_the_same_tensor(usual_loop, image):
    theirs, ours = (
        transform(MEAN, STD, 8, augmented=False)(image)
        for transform in (usual_loop.torchvision_transform, usual_loop.tensor_transform)
    )
    torch.testing.assert_close(ours, theirs)


def test_augmented_images_are_flipped_crops_of_the_padded_one(usual_loop, image):
    whole = usual_loop.tensor_transform(MEAN, STD, 8, augmented=False)
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    padded = F.pad(torch.from_numpy(image).permute(2, 0, 1) / 255, (4, 4, 4, 4))
    crops = [padded[:, i : i + 8, j : j + 8] for i, j in itertools.product(range(9), repeat=2)]
    allowed = [(x - shift) / scale for crop in crops for x in (crop, crop.flip(2))]
    augmented = usual_loop.tensor_transform(MEAN, STD, 8, augmented=True)
    found = [augmented(image) for _ in range(40)]
    assert all(any(torch.allclose(x, y) for y in allowed) for x in found)
    assert not all(torch.equal(x, whole(image)) for x in found)
