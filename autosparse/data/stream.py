"""A split whose images stay in their files: decoded by worker processes, normalised and augmented on the device."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, multiprocessing
from torch.utils.data import DataLoader

from autosparse.data.augment import augment
from autosparse.data.image_files import CROP, Decoder, Files, Loaded
from autosparse.data.passes import Batch, Pass
from autosparse.data.split import normalise
from autosparse.errors import AutosparseError, DataError, WorkFailed, first_line
from autosparse.notebook import by_x

WORKERS_VARIABLE, MOST_WORKERS = "AUTOSPARSE_LOADER_WORKERS", 8


@dataclass(frozen=True)
class StreamedSplit:
    """Image files with their labels and their normalisation, see :class:`autosparse.data.split.Examples`.

    With the augmentation ``random-resized-crop``, boxes are drawn in the whole image, which a worker has squashed to
    320x320 pixels. They have the distribution of torchvision's transform, in a picture that may be coarser than the
    file. Otherwise each example is the middle 224x224 of the image resized to a shorter side of 256, as usual in tests.

    ``mean`` and ``std`` are per channel, in units of bytes, on ``device``. ``workers`` is the number of processes that
    decode; None: 0 on a CPU, where the job's own core decodes, else one per core, at most 8. ``kept_in`` is a folder on
    each node's own disk where decoded images are kept, see :mod:`autosparse.data.decoded`; None: they are decoded in
    each epoch. Batches depend on neither.
    """

    files: Files
    mean: Tensor
    std: Tensor
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # immutable
    workers: int | None = None
    kept_in: Path | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"StreamedSplit({len(self):,} images of {by_x(self.input_shape)}, read from files to {self.device})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: (3, 224, 224)."""
        return 3, CROP, CROP

    def to(self, device: torch.device | str) -> "StreamedSplit":
        """The same split with its batches on another device."""
        return replace(self, device=torch.device(device), mean=self.mean.to(device), std=self.std.to(device))

    def picked(self, chosen: Tensor) -> "StreamedSplit":
        """See :meth:`autosparse.data.split.Examples.picked`."""
        return replace(self, files=self.files.picked(chosen.cpu()))

    def batches(
        self,
        batch_size: int,
        shuffle: torch.Generator | None = None,
        augmentation: str = "none",
        limit: int | None = None,
    ) -> Pass:
        """See :meth:`autosparse.data.split.Examples.batches`; workers decode ahead of the batch that is asked for."""
        count = len(self) if limit is None else min(limit, len(self))
        cut = partial(self._cut, count, batch_size, augmentation)
        return Pass(cut, shuffle, math.ceil(count / batch_size))

    def _cut(self, count: int, batch_size: int, augmentation: str, shuffle: torch.Generator | None) -> Iterator[Batch]:
        order = torch.arange(len(self)) if shuffle is None else torch.randperm(len(self), generator=shuffle)
        decoder = Decoder.of(self.files, augmentation == "random-resized-crop", self.kept_in)
        for images, labels, aspect in self._load(decoder, order[:count], batch_size):
            on_device = normalise(images.to(self.device, non_blocking=True), self.mean, self.std)
            yield (
                augment(on_device, augmentation, shuffle, (CROP, CROP), aspect),
                labels.to(self.device, non_blocking=True),
            )

    def _load(self, decoder: Decoder, order: Tensor, batch_size: int) -> Iterator[Loaded]:
        workers = min(self._worker_count(), math.ceil(len(order) / batch_size))
        loader: DataLoader[Any] = DataLoader(
            decoder,  # type: ignore[arg-type]  # it has only __getitems__
            batch_sampler=(order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)),
            collate_fn=_as_is,
            num_workers=workers,
            multiprocessing_context=_fork_server() if workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # without one, the loader would draw from torch's own
        )
        try:
            for loaded in loader:
                if isinstance(loaded, DataError):
                    raise loaded
                yield loaded
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise WorkFailed(
                f"a process that decodes images died ({first_line(error)}): give it more memory and /dev/shm, "
                f"or set {WORKERS_VARIABLE}=0; a script of yours must train under `if __name__ == '__main__':`"
            ) from error

    def _worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        return 0 if self.device.type == "cpu" else min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def workers_from_environment() -> int | None:
    """The number of worker processes in AUTOSPARSE_LOADER_WORKERS; None if it is not set."""
    value = os.environ.get(WORKERS_VARIABLE, "")
    if value and not value.isdecimal():
        raise AutosparseError(f"{WORKERS_VARIABLE} must be a whole number of processes, 0 or more, got {value!r}")
    return int(value) if value else None


def _as_is(loaded: Any) -> Any:
    return loaded


def _fork_server() -> Any:
    """A context that forks workers from a clean process: forking this one, with threads of Ray or CUDA, may hang."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # import torch once, not once per worker
    return context
