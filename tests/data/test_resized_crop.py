"""Random resized crops against torchvision, image by image."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.data.augment import augment
from autosparse.data.resized_crop import draw_boxes, random_resized_crop, resized_crop
from autosparse.seeds import generator


def images(batch=6, height=24, width=31):
    return torch.rand(batch, 3, height, width, generator=generator("images"))


def torchvision_crop(image, box, flip, size):
    from torchvision.transforms import functional

    top, left, height, width = box.tolist()
    crop = functional.resized_crop(image, top, left, height, width, size, antialias=True)
    return functional.hflip(crop) if flip else crop


@pytest.mark.parametrize("size", [(24, 31), (10, 7), (56, 48), (1, 1), (24, 5)])
def test_resized_crop_equals_torchvisions_of_each_image(size):
    x = images(40)
    boxes = draw_boxes(torch.full((40,), 31 / 24), 24, 31, generator(1))
    flip = torch.rand(40, generator=generator(2)) < 0.5
    expected = [torchvision_crop(*each, size) for each in zip(x, boxes, flip, strict=True)]
    torch.testing.assert_close(resized_crop(x, boxes, flip, size), torch.stack(expected), atol=2e-5, rtol=0)


def test_the_whole_image_at_its_own_size_stays_what_it_is():
    x = images()
    box = torch.tensor([[0, 0, 24, 31]]).expand(6, 4)
    torch.testing.assert_close(resized_crop(x, box, torch.zeros(6, dtype=torch.bool), (24, 31)), x)


def test_flipping_mirrors_left_and_right():
    x = images()
    box = torch.tensor([[0, 0, 24, 31]]).expand(6, 4)
    torch.testing.assert_close(resized_crop(x, box, torch.ones(6, dtype=torch.bool), (24, 31)), x.flip(3))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 100), st.integers(0, 1000))
def test_boxes_lie_in_the_image(height, width, aspect, seed):
    top, left, box_height, box_width = draw_boxes(torch.full((20,), aspect), height, width, generator(seed)).unbind(1)
    assert (torch.stack([top, left]) >= 0).all()
    assert (torch.stack([box_height, box_width]) >= 1).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()


def moments(boxes):
    """Mean and deviation of what a box is: its shares of both sides, its centre, its area and its ratio."""
    top, left, height, width = boxes.double().unbind(1)
    what = torch.stack([height, width, top + height / 2, left + width / 2, height * width, (width / height).log()], 1)
    return what, what.mean(0), what.std(0)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (300, 400), (400, 200), (100, 500)])
def test_boxes_follow_the_law_of_torchvisions(height, width):
    from torchvision.transforms import RandomResizedCrop

    count = 2000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    ours = draw_boxes(torch.full((5 * count,), width / height), height, width, generator(0))
    (a, mean_a, std_a), (b, mean_b, std_b) = moments(ours), moments(torch.tensor(theirs))
    five_sigma = 5 * (std_a**2 / len(a) + std_b**2 / len(b)).sqrt() + 1e-6
    assert ((mean_a - mean_b).abs() <= five_sigma).all()
    torch.testing.assert_close(std_a, std_b, rtol=0.1, atol=1e-6)


def test_boxes_on_a_squashed_image_are_those_of_the_image_before():
    """A 300 x 600 image, squashed to 300 x 300, loses half of each box's width and none of its height."""
    before = draw_boxes(torch.full((500,), 2.0), 300, 600, generator(3))
    squashed = draw_boxes(torch.full((500,), 2.0), 300, 300, generator(3))
    assert ((before[:, [0, 2]] - squashed[:, [0, 2]]).abs() <= 1).all()
    assert ((before[:, [1, 3]] / 2 - squashed[:, [1, 3]]).abs() <= 1).all()


def test_half_of_the_images_are_flipped_each_on_its_own():
    """Images whose values rise from left to right fall in a crop exactly if it is flipped."""
    ramp = torch.arange(32.0).expand(2000, 1, 32, 32)
    crops = random_resized_crop(ramp, (8, 8), generator(5))
    flipped = crops[:, 0, 0, 0] > crops[:, 0, 0, -1]
    assert 850 < flipped.sum() < 1150


@pytest.mark.parametrize("size", [None, (10, 12)])
def test_augmentation_by_name_gives_the_size_asked_for(size):
    assert augment(images(), "random-resized-crop", generator(0), size).shape[2:] == (size or (24, 31))


def test_same_generator_gives_the_same_crops():
    first, again, other = (augment(images(), "random-resized-crop", generator(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
