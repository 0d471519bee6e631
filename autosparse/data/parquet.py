"""Any image-classification folder of Parquet files in the Hugging Face layout."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from autosparse.data import register_dataset
from autosparse.data.decode import decode
from autosparse.data.folders import find_folder
from autosparse.data.split import Dataset, make_dataset
from autosparse.errors import DataError

IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("label", "labels", "fine_label")
MAX_CLASSES = 100_000
TEST_SPLITS = ("test", "validation", "valid")


@register_dataset("parquet", argument="PATH", locate=find_folder)
def parquet(root: Path, argument: str, download: bool) -> Dataset:
    """parquet:PATH, a folder of train-*.parquet and test-*.parquet with encoded images and labels.

    If there is no test-*.parquet, validation-*.parquet takes its place, else valid-*.parquet.
    """
    folder = find_folder(root, argument)
    train = _read_split(folder, ("train",))
    return make_dataset(f"parquet:{argument}", train, _read_split(folder, TEST_SPLITS, train[0].shape[1:]))


def _read_split(folder: Path, names: tuple[str, ...], shape: torch.Size | None = None) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, channels, height, width) and labels int64 (n,), from the files of the first name that has any.

    :param shape: what each image must have; None: the first one's.
    """
    files: list[Path] = next(filter(None, (sorted(folder.rglob(f"{name}-*.parquet")) for name in names)), [])
    if not files:
        raise DataError(
            f"{folder} has no {' or '.join(f'{name}-*.parquet' for name in names)}: not the Hugging Face layout"
        )
    encoded: list[bytes] = []
    labels: list[int] = []
    for path in files:
        image_bytes, image_labels = _read_file(path)
        encoded += image_bytes
        labels += image_labels
    if not encoded or min(labels) < 0 or max(labels) >= MAX_CLASSES:
        split = files[0].name.partition("-")[0]
        raise DataError(f"{folder}: its {split} files hold no images, or labels outside 0..{MAX_CLASSES - 1}")
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_decode, encoded, [folder] * len(encoded)))
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or (shape and shapes != {tuple(shape)}):
        raise DataError(f"{folder} mixes images of different shapes ({sorted(shapes)[:3]}); resize them to one")
    return torch.from_numpy(np.stack(images)), torch.tensor(labels, dtype=torch.int64)


def _read_file(path: Path) -> tuple[list[bytes], list[int]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is truncated or not a Parquet file; fetch it again") from error
    columns = [next((c for c in wanted if c in table.column_names), None) for wanted in (IMAGE_COLUMNS, LABEL_COLUMNS)]
    if None in columns:
        raise DataError(
            f"{path} needs a column of {IMAGE_COLUMNS} and one of {LABEL_COLUMNS}, it has {table.column_names}"
        )
    image_column, label_column = (table.column(name).combine_chunks() for name in columns)
    if pa.types.is_struct(image_column.type):
        if image_column.type.get_field_index("bytes") < 0:
            raise DataError(f"{path}: the image column has no field 'bytes'; embed the images in the file")
        image_column = image_column.field("bytes")
    if not (pa.types.is_binary(image_column.type) or pa.types.is_large_binary(image_column.type)):
        raise DataError(f"{path}: images must be encoded bytes (PNG, JPEG), these are {image_column.type}")
    if not pa.types.is_integer(label_column.type):
        raise DataError(f"{path}: labels must be whole numbers from 0, these are {label_column.type}")
    if image_column.null_count or label_column.null_count:
        raise DataError(f"{path} has rows without image bytes or label; embed the images in the file")
    return image_column.to_pylist(), label_column.to_pylist()


def _decode(encoded: bytes, folder: Path) -> np.ndarray:
    pixels = np.asarray(decode(io.BytesIO(encoded), f"an image in {folder}"))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
