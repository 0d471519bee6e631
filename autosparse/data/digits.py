"""The 8 x 8 handwritten digits that come with scikit-learn: always there, loaded in milliseconds."""

from pathlib import Path

import torch

from autosparse.data import register_dataset
from autosparse.data.split import Dataset, make_dataset


@register_dataset("digits")
def digits(root: Path, argument: str, download: bool) -> Dataset:
    """scikit-learn's 1,797 digits, 8x8 grey: 1,437 to train, 360 to test (fixed stratified split); embedded."""
    from sklearn.datasets import load_digits  # here: scikit-learn takes seconds to import
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    pieces = train_test_split(images.reshape(-1, 1, 8, 8), labels, test_size=360, random_state=0, stratify=labels)
    train_x, test_x = (torch.from_numpy(piece).to(torch.uint8) for piece in pieces[:2])
    train_y, test_y = (torch.from_numpy(piece).long() for piece in pieces[2:])
    return make_dataset("digits", (train_x, train_y), (test_x, test_y))
