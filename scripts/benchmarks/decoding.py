"""Photographs read by the jobs of a node: decoded in each job and epoch, or once and then read from the node's disk.

It measures the work of one process that decodes for a job; augmentation is the device's work. The files are made up,
and as large as ImageNet's are on average. The disk's pages are warm on both sides, as they are for a data set
that fits in memory; a cold disk has to deliver 300 kB an image.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from autosparse.data.image_files import Decoder, Files
from benchmarks.harness import Comparison, Options, one_thread, seconds, side_by_side

IMAGES, JOBS, BATCH = 512, 4, 64
WIDTH, HEIGHT = 500, 375


def measure(options: Options) -> Iterator[Comparison]:
    """Photographs decoded once for all jobs of a node, beside once in each job and epoch."""
    count, repetitions = (IMAGES // 4, 1) if options.quick else (IMAGES, 3)
    with tempfile.TemporaryDirectory(prefix="autosparse-decoding-") as folder, one_thread():
        files, kept_in = write_photographs(Path(folder), count), Path(folder) / "kept"

        def first_epochs() -> float:
            shutil.rmtree(kept_in, ignore_errors=True)
            return rate(files, kept_in, JOBS)

        yield side_by_side(
            f"the first epoch of {JOBS} jobs of a node on the same photographs",
            ("decoded in each job", lambda: rate(files, None, JOBS)), first_epochs, "images/s", repetitions,
        )  # fmt: skip
        yield side_by_side(
            "a further epoch on photographs",
            ("decoded in each epoch", lambda: rate(files, None, 1)), lambda: rate(files, kept_in, 1), "images/s",
            repetitions,
        )  # fmt: skip


def rate(files: Files, kept_in: Path | None, jobs: int) -> float:
    """Images per second for so many jobs, one after the other, each in its own order."""

    def work() -> None:
        for job in range(jobs):
            order = np.random.default_rng(job).permutation(len(files)).tolist()
            decoder = Decoder.of(files, whole=True, kept_in=kept_in)
            for start in range(0, len(order), BATCH):
                decoder.__getitems__(order[start : start + BATCH])

    return jobs * len(files) / seconds(work)


def write_photographs(folder: Path, count: int) -> Files:
    """Write JPEG files with as much detail as photographs have, about 100 kB each."""
    draws = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        coarse = Image.fromarray(draws.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / name, quality=92)
    return Files.of(folder, names, [0] * count)
