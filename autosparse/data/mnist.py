"""MNIST (LeCun et al. 1998): handwritten digits."""

from pathlib import Path

from autosparse.data import register_dataset
from autosparse.data.idx import find_idx, idx_dataset
from autosparse.data.split import Dataset


@register_dataset("mnist", locate=lambda root, _: find_idx("MNIST", root))
def mnist(root: Path, argument: str, download: bool) -> Dataset:
    """MNIST, 60,000 + 10,000 grey 28x28 images, from MNIST/raw/*-ubyte[.gz] under the data root."""
    return idx_dataset("mnist", "MNIST", root, download)
