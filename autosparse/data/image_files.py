"""Image files with their labels, and the decoder by which a loader's workers turn them into arrays of one size."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autosparse.data.decode import decode
from autosparse.data.decoded import Decoded, DecodedImages
from autosparse.errors import DataError

CROP, SHORTER_SIDE, CANVAS = 224, 256, 320
"""Pixels: the side of a model's input; the shorter side of an image before its centre is cut out; a canvas's side."""

Loaded = tuple[Tensor, Tensor, Tensor]
"""Images uint8 (batch, 3, side, side), labels int64 (batch,), and width / height of each file's image, float32."""


@dataclass(frozen=True)
class Files:
    """Image files and their labels in three tensors: a million strings would be copied to every process.

    ``names``, uint8, are the paths below ``folder`` one after the other; ``ends``, int64 (n,), is where each ends;
    ``labels`` are int64 (n,).
    """

    folder: str
    names: Tensor
    ends: Tensor
    labels: Tensor

    @classmethod
    def of(cls, folder: Path, names: Sequence[str], labels: Sequence[int]) -> "Files":
        """Pack paths below ``folder``."""
        encoded = [os.fsencode(name) for name in names]
        joined = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
        ends = torch.tensor(list(accumulate(map(len, encoded))))
        return cls(str(folder.absolute()), joined, ends, torch.tensor(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> bytes:
        """SHA-256 of the paths: another folder, order or choice of files has another one."""
        digest = hashlib.sha256(os.fsencode(self.folder) + b"\0")
        for part in (self.ends, self.names):
            digest.update(part.numpy().data)
        return digest.digest()

    def picked(self, chosen: Tensor) -> "Files":
        """The files at some positions, int64 (count,), in that order."""
        lengths = torch.diff(self.ends, prepend=torch.zeros(1, dtype=torch.int64))
        taken = lengths[chosen]
        ends = taken.cumsum(0)
        shift = (self.ends[chosen] - ends).repeat_interleave(taken)
        return Files(self.folder, self.names[torch.arange(len(shift)) + shift], ends, self.labels[chosen])

    def path(self, index: int) -> Path:
        """The file of one example."""
        start = int(self.ends[index - 1]) if index else 0
        return Path(self.folder, os.fsdecode(self.names[start : int(self.ends[index])].numpy().tobytes()))


@dataclass(frozen=True)
class Decoder:
    """Gives a loader its batches of examples; it is sent to the worker processes.

    :param whole: give whole images, squashed to CANVAS x CANVAS, for random crops; else their centres, CROP x CROP.
    :param kept: where decoded images are kept; None: each is decoded whenever it is asked for.
    """

    files: Files
    whole: bool
    kept: DecodedImages | None = None

    @classmethod
    def of(cls, files: Files, whole: bool, kept_in: Path | None) -> "Decoder":
        """A decoder that keeps decoded images in a folder of this node's disk; None: it keeps none."""
        side = CANVAS if whole else CROP
        kept = DecodedImages.open_in(kept_in, files.digest(), len(files), side) if kept_in else None
        return cls(files, whole, kept)

    def __getitems__(self, indices: list[int]) -> Loaded | DataError:
        """The examples of one batch. An error is returned, since raising it in a worker would bury its message."""
        paths = [self.files.path(index) for index in indices]
        try:
            if self.kept:
                decoded = self.kept.batch(list(zip(indices, paths, strict=True)), self._one)
            else:
                decoded = [self._one(path) for path in paths]
        except DataError as error:
            return error
        images = torch.from_numpy(np.stack([pixels for pixels, _ in decoded])).permute(0, 3, 1, 2).contiguous()
        return images, self.files.labels[indices], torch.tensor([aspect for _, aspect in decoded])

    def _one(self, path: Path) -> Decoded:
        image = decode(path, path, at_least=CANVAS if self.whole else None).convert("RGB")
        view = image.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR) if self.whole else centre(image)
        return np.asarray(view), image.width / image.height


def centre(image: Image.Image) -> Image.Image:
    """The middle CROP x CROP pixels of an image resized to a shorter side of SHORTER_SIDE, as is usual for tests."""
    width, height = image.size
    shorter = min(width, height)
    size = SHORTER_SIDE * width // shorter, SHORTER_SIDE * height // shorter
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    return image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + CROP, top + CROP))
