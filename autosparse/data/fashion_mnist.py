"""Fashion-MNIST (Xiao et al. 2017): pieces of clothing in MNIST's layout."""

from pathlib import Path

from autosparse.data import register_dataset
from autosparse.data.idx import find_idx, idx_dataset
from autosparse.data.split import Dataset


@register_dataset("fashion-mnist", locate=lambda root, _: find_idx("FashionMNIST", root))
def fashion_mnist(root: Path, argument: str, download: bool) -> Dataset:
    """Fashion-MNIST, 60,000 + 10,000 grey 28x28 images, from FashionMNIST/raw/*-ubyte[.gz] under the data root."""
    return idx_dataset("fashion-mnist", "FashionMNIST", root, download)
