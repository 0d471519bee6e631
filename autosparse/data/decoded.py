"""Decoded images on a node's own disk, so that all jobs and epochs there decode a file once.

A list of images has two files: one with their pixels, and one with a row per image. If a job finds an image missing,
it decodes the file, writes the pixels and then the row. Nothing is locked, since two jobs with the same image write the
same bytes. A row holds a checksum, so an image that was written in part, or damaged, is decoded again.
"""

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from struct import Struct

import numpy as np
import PIL
from PIL import features

from autosparse.errors import first_line, warn_once

VARIABLE = "AUTOSPARSE_DECODED_IMAGES"
LAYOUT = 1
"""Goes up if the files or the decoding change. Files of another layout are not read."""
ROW = Struct("<8sId")
"""An image's row: the version of its file, the checksum of its pixels, and its width / height."""

Decoded = tuple[np.ndarray, float]
"""Pixels uint8 (side, side, 3), and width / height of the file's image."""


def folder_from_environment() -> Path | None:
    """The folder in AUTOSPARSE_DECODED_IMAGES, as an absolute path; None if it is not set."""
    value = os.environ.get(VARIABLE, "")
    return Path(value).absolute() if value else None


@dataclass(frozen=True)
class DecodedImages:
    """Where the images of one list are kept. It is sent to the worker processes, which open the files per batch.

    :param stem: path of the two files, without their suffixes.
    :param side: pixels of an image's sides.
    :param writes: add images that are missing.
    """

    stem: Path
    side: int
    writes: bool = True

    @classmethod
    def open_in(cls, folder: Path, listed: bytes, count: int, side: int) -> "DecodedImages | None":
        """Make the two files in ``folder`` if they are not there; None, with a warning, if that fails.

        If the disk has no room for all missing images, none is added, and a warning says how much they take.

        :param listed: digest of the images' paths; another list gets other files.
        :param count: images in the list.
        """
        decoder = repr((LAYOUT, side, PIL.__version__, features.version("jpg"))).encode()
        kept = cls(folder / hashlib.sha256(decoder + listed).hexdigest()[:16], side)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (kept.pixels, kept.rows):
                path.open("ab").close()
            needed = count * kept.size - 512 * kept.pixels.stat().st_blocks
            free = shutil.disk_usage(folder).free
        except OSError as error:
            warn_once(__name__, f"decoded images are not kept: {first_line(error)}; check {VARIABLE}")
            return None
        if needed > free:
            warn_once(
                __name__,
                f"no room to keep more decoded images: {folder} has {free / 1e9:.1f} GB free, and the missing images "
                f"take {needed / 1e9:.1f} GB; make room there, or point {VARIABLE} at a larger disk",
            )
            return replace(kept, writes=False)
        return kept

    @property
    def pixels(self) -> Path:
        """The file of the pixels: one image after the other, with holes until all are there."""
        return self.stem.with_suffix(".pixels")

    @property
    def rows(self) -> Path:
        """The file of the rows, in the layout of ROW."""
        return self.stem.with_suffix(".rows")

    @property
    def size(self) -> int:
        """Bytes of an image."""
        return 3 * self.side**2

    def batch(self, wanted: Sequence[tuple[int, Path]], decode: Callable[[Path], Decoded]) -> list[Decoded]:
        """The images of a batch. Those that are missing are decoded, and added if there is room.

        :param wanted: places in the list, with the files' paths.
        """
        with ExitStack() as stack:
            try:
                pixels, rows = (
                    stack.enter_context(path.open("r+b" if self.writes else "rb", buffering=0)).fileno()
                    for path in (self.pixels, self.rows)
                )
            except OSError:  # the folder was cleared while a job reads
                return [decode(path) for _, path in wanted]
            return [self._one(pixels, rows, index, path, decode) for index, path in wanted]

    def _one(self, pixels: int, rows: int, index: int, path: Path, decode: Callable[[Path], Decoded]) -> Decoded:
        try:
            version = _version(path)
            found = self._read(pixels, rows, index, version)
        except OSError:
            return decode(path)  # its error tells more
        if found:
            return found
        image, aspect = decode(path)
        if self.writes:
            with suppress(OSError):  # a disk that others have filled: the image is decoded again
                data = image.tobytes()
                if os.pwrite(pixels, data, index * self.size) == self.size:
                    os.pwrite(rows, ROW.pack(version, zlib.crc32(data), aspect), index * ROW.size)
        return image, aspect

    def _read(self, pixels: int, rows: int, index: int, version: bytes) -> Decoded | None:
        row = os.pread(rows, ROW.size, index * ROW.size)
        if len(row) < ROW.size or row[: len(version)] != version:
            return None
        _, checksum, aspect = ROW.unpack(row)
        data = os.pread(pixels, self.size, index * self.size)
        if len(data) < self.size or zlib.crc32(data) != checksum:
            return None
        return np.frombuffer(data, np.uint8).reshape(self.side, self.side, 3), aspect


def _version(path: Path) -> bytes:
    """8 bytes that change with the file's path, size or time of change."""
    status = path.stat()
    return hashlib.blake2b(
        repr((os.fsencode(path), status.st_size, status.st_mtime_ns)).encode(), digest_size=8
    ).digest()
