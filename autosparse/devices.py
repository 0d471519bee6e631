"""Device-specific code: the torch module of a device, transfers, full float32 precision, the error of a lost GPU."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


class DeviceLost(RuntimeError):
    """The GPU failed, and this process cannot use it again, neither for this task nor for the next.

    Not an AutosparseError: the driver catches it and continues in another process.
    """


def backend(device: torch.device) -> ModuleType | None:
    """The torch module for this type of device, such as ``torch.cuda``; None for the CPU."""
    return None if device.type == "cpu" else torch.get_device_module(device)


def synchronize() -> None:
    """Wait until all that this process has launched on an accelerator is computed."""
    current = torch.accelerator.current_accelerator()
    for accelerator in {torch.cuda} | ({torch.get_device_module(current)} if current else set()):
        if accelerator.is_initialized():
            accelerator.synchronize()


def clock() -> float:
    """Seconds by a clock that counts the work of accelerators, which a process launches without waiting for it."""
    synchronize()
    return time.perf_counter()


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy ``tensor`` from the CPU to ``device``; through pinned memory, so that the host need not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def host() -> torch.device:
    """The device on which to build networks: the CPU, whatever ``torch.set_default_device`` says, unless ``meta``."""
    default = torch.get_default_device()
    return default if default.type == "meta" else torch.device("cpu")


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 with all its 24 bits within the block: no TF32, no bfloat16 in its place.

    By default, PyTorch lets cuDNN convolve float32 in TF32, with 11 bits. This changes settings of the whole process
    and restores them afterwards.
    """
    before: list[tuple[Callable[[Any], None], Any]] = []
    with warnings.catch_warnings():  # since 2.9, PyTorch warns of the old names
        warnings.simplefilter("ignore")
        for read, change, _ in _settings():
            with contextlib.suppress(RuntimeError):  # an old name cannot express every new setting
                before.append((change, read()))
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
"""How to read it, how to change it, and its value for full precision."""


def _settings() -> Iterator[Setting]:
    """The old names first, then the new, finer ones: all of them, because PyTorch raises if they disagree."""
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
    yield _attribute(torch.backends.cudnn, "allow_tf32", False)
    for library in (torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn):
        for operations in ("matmul", "conv", "rnn"):
            owner = getattr(library, operations, None)
            if hasattr(owner, "fp32_precision"):
                yield _attribute(owner, "fp32_precision", "ieee")


def _attribute(owner: Any, name: str, full: Any) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value), full
