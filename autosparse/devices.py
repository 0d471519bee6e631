"""What differs from device to device: the module that speaks for one, what it calls float32, and its loss."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch


class DeviceLost(RuntimeError):
    """An error after which this process can do nothing more on its GPU, neither this task nor the next.

    No AutosparseError: it is for the driver, which has another process go on.
    """


def backend(device: torch.device) -> ModuleType | None:
    """``torch.cuda`` or what is in its place for ``device``; None for the CPU."""
    return None if device.type == "cpu" else torch.get_device_module(device)


def host() -> torch.device:
    """Where networks are made: the CPU, also if ``torch.set_default_device`` says otherwise; but ``meta`` stays."""
    default = torch.get_default_device()
    return default if default.type == "meta" else torch.device("cpu")


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Within the block float32 is computed as float32, with 24 bits: no TF32, no bfloat16 in its place.

    By default, PyTorch lets cuDNN convolve float32 in TF32, with 11 bits. It is a setting of the whole process, and
    afterwards what it was before.
    """
    with warnings.catch_warnings():  # of PyTorch 2.9, about names that older versions have only
        warnings.simplefilter("ignore")
        before = [(change, found) for read, change, _ in _settings() if (found := _unless_mixed(read)) is not None]
        for _, change, full in _settings():
            with contextlib.suppress(RuntimeError):
                change(full)
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for change, found in before:
                change(found)


Setting = tuple[Callable[[], Any], Callable[[Any], None], Any]
"""How to read it, how to change it, and what stands for full precision."""


def _settings() -> Iterator[Setting]:
    """The old names first, which the new ones refine: both, because PyTorch raises if they contradict each other."""
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
    yield _attribute(torch.backends.cudnn, "allow_tf32", False)
    for library in (torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn):
        for operations in ("matmul", "conv", "rnn"):
            owner = getattr(library, operations, None)
            if hasattr(owner, "fp32_precision"):
                yield _attribute(owner, "fp32_precision", "ieee")


def _attribute(owner: Any, name: str, full: Any) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value), full


def _unless_mixed(read: Callable[[], Any]) -> Any:
    """What ``read`` gives; None if the user has set old and new names to what no old name can say."""
    try:
        return read()
    except RuntimeError:
        return None
