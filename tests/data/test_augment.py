import math

import pytest
import torch

from autosparse.data.augment import augment
from autosparse.errors import UnknownName
from autosparse.seeds import generator


def images(batch=6, height=5, width=7):
    return torch.randn(batch, 3, height, width, generator=generator("images"))


def crop_flip(image, top, left, flip):
    """One image, the slow way: a black frame of 4, a window of the old size, mirrored or not."""
    channels, height, width = image.shape
    framed = torch.zeros(channels, height + 8, width + 8)
    framed[:, 4 : 4 + height, 4 : 4 + width] = image
    window = framed[:, top : top + height, left : left + width]
    return window.flip(2) if flip else window


def found_crops(image, augmented):
    """All (top, left, flip) that turn ``image`` into ``augmented``."""
    choices = [(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)]
    return [choice for choice in choices if torch.equal(crop_flip(image, *choice), augmented)]


def test_none_changes_nothing():
    assert torch.equal(augment(images(), "none", generator(0)), images())


def test_crop_flip_equals_a_loop_over_the_images():
    draw = torch.rand(3, 40, generator=generator(0))
    expected = [
        crop_flip(image, int(9 * top), int(9 * left), flip < 0.5)
        for image, top, left, flip in zip(images(40), *draw, strict=True)
    ]
    assert torch.equal(augment(images(40), "crop-flip", generator(0)), torch.stack(expected))


def test_crop_flip_reaches_every_place_and_both_sides_equally_often():
    count = 500
    crops = [
        found_crops(*pair)
        for pair in zip(images(count), augment(images(count), "crop-flip", generator(1)), strict=True)
    ]
    assert {len(found) for found in crops} == {1}
    for part, values in ((0, range(9)), (1, range(9)), (2, (False, True))):
        share = 1 / len(values)
        five_sigma = 5 * math.sqrt(count * share * (1 - share))
        for value in values:
            assert sum(found[0][part] == value for found in crops) == pytest.approx(count * share, abs=five_sigma)


def test_crop_flip_leaves_its_input_alone():
    given = images()
    augment(given, "crop-flip", generator(0))
    assert torch.equal(given, images())


def test_same_generator_gives_the_same_images():
    first, again = (augment(images(), "crop-flip", generator(4)) for _ in range(2))
    assert torch.equal(first, again)


def test_unknown_augmentation_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown augmentation 'crop': did you mean 'crop-flip'\?"):
        augment(images(), "crop", None)


@pytest.mark.parametrize("name", ["crop-flip", "random-resized-crop"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_lies_channel_by_channel_in_memory(name, channels):
    """A single channel with other strides counts as channels-last: on AVX2 some layers then corrupt the heap."""
    found = augment(torch.rand(4, channels, 8, 8), name, generator(0))
    assert found.stride() == torch.empty(4, channels, 8, 8).stride()
