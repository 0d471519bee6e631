"""Decoding images, with a clear error if that fails."""

from pathlib import Path
from typing import IO

from PIL import Image

from autosparse.errors import DataError

EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def decode(source: Path | IO[bytes], name: object, at_least: int | None = None) -> Image.Image:
    """Decode an image: 8-bit grey stays grey (mode ``L``), all else becomes ``RGB``. Orientation tags are ignored.

    :param name: what errors call the image.
    :param at_least: let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size if both sides stay at least this long,
        in pixels; much faster for large photographs.
    :raises DataError: if it cannot be decoded, or has more than 8 bits per channel.
    """
    try:
        with Image.open(source) as image:
            if image.mode in EIGHT_BIT:
                if at_least:
                    image.draft(None, (at_least, at_least))
                return image.copy() if image.mode == "L" else image.convert("RGB")
            mode = image.mode
    except Exception as error:  # whatever a damaged file makes a codec raise
        raise DataError(f"{name} cannot be decoded: {error}") from error
    raise DataError(f"{name} has mode {mode!r}: convert it to 8-bit grey or RGB")
