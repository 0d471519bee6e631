"""What a worker makes of image files, against torchvision's transforms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import pixels, save
from PIL import Image

from autosparse.data.image_files import CANVAS, Decoder, Files, centre
from autosparse.errors import DataError


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (375, 500), (500, 375), (301, 299), (40, 60), (900, 233)])
def test_centres_are_those_of_torchvisions_resize_and_crop(size):
    from torchvision.transforms import CenterCrop, Compose, Resize

    image = Image.fromarray(pixels(0, *size))
    expected = Compose([Resize(256), CenterCrop(224)])(image)
    assert np.array_equal(np.asarray(centre(image)), np.asarray(expected))


def files(folder, sizes, suffix="png"):
    for i, size in enumerate(sizes):
        save(folder / f"{i}.{suffix}", pixels(i, *size))
    return Files.of(folder, [f"{i}.{suffix}" for i in range(len(sizes))], list(range(len(sizes))))


def test_paths_come_back_as_they_were_given():
    names = ["a/1.png", "b/a long name, with spaces.png", "b/ünïcode\n.png", "x.png"]
    listed = Files.of(Path("/folder"), names, [0, 1, 1, 2])
    assert [listed.path(i) for i in range(len(listed))] == [Path("/folder") / name for name in names]


def test_a_batch_has_images_labels_and_aspects_in_the_order_asked_for(tmp_path):
    decoder = Decoder(files(tmp_path, [(256, 256), (256, 512), (512, 256)]), whole=False)
    images, labels, aspects = decoder.__getitems__([2, 0, 1])
    assert (images.dtype, images.shape) == (torch.uint8, (3, 3, 224, 224))
    assert (labels.tolist(), aspects.tolist()) == ([2, 0, 1], [0.5, 1.0, 2.0])
    expected = pixels(0, 256, 256)[16:240, 16:240].transpose(2, 0, 1)
    assert torch.equal(images[1], torch.from_numpy(expected.copy()))


def test_a_canvas_shows_the_whole_image_squashed(tmp_path):
    images, _, aspects = Decoder(files(tmp_path, [(100, 640)]), whole=True).__getitems__([0])
    expected = Image.fromarray(pixels(0, 100, 640)).resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), np.asarray(expected))
    assert aspects.tolist() == pytest.approx([6.4])


def test_a_large_jpeg_is_decoded_at_a_reduced_size_to_nearly_the_same_canvas(tmp_path):
    decoder = Decoder(files(tmp_path, [(1300, 1600)], "jpeg"), whole=True)
    images, _, aspects = decoder.__getitems__([0])
    with Image.open(tmp_path / "0.jpeg") as image:
        expected = np.asarray(image.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR))
    assert np.abs(images[0].permute(1, 2, 0).numpy().astype(int) - expected).mean() < 1
    assert aspects.tolist() == pytest.approx([1600 / 1300], rel=1e-2)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_eight_bit_mode_becomes_three_channels(tmp_path, mode):
    save(tmp_path / "x.tif", pixels(0, 300, 300), mode) if mode == "CMYK" else save(tmp_path / "x.png", pixels(0), mode)
    name = "x.tif" if mode == "CMYK" else "x.png"
    images, _, _ = Decoder(Files.of(tmp_path, [name], [0]), whole=False).__getitems__([0])
    assert images.shape == (1, 3, 224, 224)


def test_sixteen_bit_images_are_refused(tmp_path):
    save(tmp_path / "x.png", np.zeros((9, 9), np.uint16))
    error = Decoder(Files.of(tmp_path, ["x.png"], [0]), whole=False).__getitems__([0])
    assert isinstance(error, DataError)
    assert f"{tmp_path}/x.png has mode 'I;16': convert it to 8-bit grey or RGB" in str(error)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_what_cannot_be_decoded_is_named(tmp_path, content):
    listed = files(tmp_path, [(300, 300)])
    path = tmp_path / "0.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    error = Decoder(listed, whole=False).__getitems__([0])
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{path} cannot be decoded: ")
