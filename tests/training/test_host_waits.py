"""No step of an epoch waits for the device: nothing is read back, and what is sent goes without waiting."""

import pytest
import torch
from conv_nets import fresh
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from autosparse.data.split import Split
from autosparse.masks import Masks
from autosparse.training import Execution, Recipe, loop

READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "bincount")
"""Operations whose result, or its shape, the host must wait for."""


class Reads(TorchDispatchMode):
    """Collects the operations of ``READS`` and lookups by a boolean mask, which wait as well."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name.startswith(READS) or (name == "index" and any(i.dtype == torch.bool for i in args[1] if i is not None)):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


class Copies(TorchDispatchMode):
    """Collects the copies between the host and the device: (target, without waiting)."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ == "_to_copy" and kwargs.get("device", args[0].device) != args[0].device:
            self.found.append((kwargs["device"].type, kwargs.get("non_blocking", False)))
        return function(*args, **(kwargs or {}))


def an_epoch(data, execution, augmentation="crop-flip", optimizer="adam"):
    """A function that trains a pruned convolutional network with dropout for an epoch, and returns its mean loss."""
    device, recipe = data.device, Recipe(batch_size=64, optimizer=optimizer, augmentation=augmentation)
    model = fresh(dropout=0.5).to(device)
    optimizer = recipe.optimizer_for(model)
    Masks.dense(model).hold(model, optimizer)
    step = execution.step(model, optimizer, torch.nn.functional.cross_entropy, device)

    def epoch():
        batches = data.batches(recipe.batch_size, torch.Generator().manual_seed(0), recipe.augmentation)
        return loop.train_epoch(model, batches, step, range(4)).item()

    return epoch


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", "momentum", "sgd"])
@pytest.mark.parametrize("augmentation", ["none", "crop-flip", "random-resized-crop"])
def test_an_epoch_reads_one_number_back_at_its_end(tiny_digits, augmentation, optimizer, precision):
    epoch = an_epoch(tiny_digits.train, Execution(precision), augmentation, optimizer)
    with Reads() as reads:
        epoch()
    assert set(reads.found) <= {"_local_scalar_dense"}
    assert len(reads.found) == 1


@pytest.mark.parametrize("read", [torch.Tensor.item, bool, torch.Tensor.nonzero, lambda x: x[x > 0]])
def test_such_a_read_would_be_noticed(read):
    with Reads() as reads:
        read(torch.ones(()) if read in (torch.Tensor.item, bool) else torch.ones(2))
    assert reads.found


@pytest.mark.parametrize("augmentation", ["none", "crop-flip", "random-resized-crop"])
def test_batches_are_cut_on_the_device_and_draws_sent_there_without_waiting(monkeypatch, augmentation):
    """Tensors only pretend to be on a GPU here: reading one back, or mixing devices, is an error."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode():
        split = Split(
            torch.zeros(20, 3, 32, 32, dtype=torch.uint8, device="cuda"),
            torch.zeros(20, dtype=torch.int64, device="cuda"),
            torch.zeros(3, device="cuda"),
            torch.ones(3, device="cuda"),
        )
        with Copies() as copies:
            batches = list(split.batches(8, torch.Generator().manual_seed(0), augmentation))
    assert [(x.device.type, y.device.type, len(x)) for x, y in batches] == [("cuda", "cuda", n) for n in (8, 8, 4)]
    assert set(copies.found) == {("cuda", True)}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augmentation", ["none", "crop-flip", "random-resized-crop"])
def test_on_a_gpu_an_epoch_waits_only_for_its_mean_loss(tiny_digits, monkeypatch, augmentation):
    epoch = an_epoch(tiny_digits.train.to("cuda"), Execution(), augmentation)
    epoch()  # libraries may wait when they choose their kernels
    item = torch.Tensor.item

    def allowed(tensor):
        torch.cuda.set_sync_debug_mode("default")
        return item(tensor)

    monkeypatch.setattr(torch.Tensor, "item", allowed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
