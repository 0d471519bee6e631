"""A training step as one CUDA graph.

A replay launches all its kernels at once; with small batches, launches are what takes the time.

Opt-in, because a graph repeats what was done at its capture: a model that decides in Python what to compute (a layer
dropped by ``random.random()``) would decide once and for all.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.devices import DeviceLost
from autosparse.errors import first_line
from autosparse.seeds import kept_generators

WARM_UP = 3
"""Steps before the capture, so that libraries have chosen their kernels and the optimiser has its state."""

Step = Callable[[Tensor, Tensor], Tensor]
"""One optimiser step on a batch (x, y).

It returns the mean loss, detached; for several networks together their losses (members,). The next step may overwrite
it.
"""


class GraphedStep:
    """``eager`` as a CUDA graph, captured at the first batch; batches of another size than that run eagerly.

    The steps before the capture leave no trace in weights, buffers, random draws and what the optimiser remembers. If a
    step waits for the device, a warning is logged, and every step runs eagerly.

    :raises DeviceLost: at the first step, if its capture fails all the same.
    """

    def __init__(self, eager: Step, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.eager, self.model, self.optimizer = eager, model, optimizer
        self.replay: Callable[[], Tensor] | None = None
        self.batch: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Do one step, see :data:`Step`."""
        if self.batch is None:
            self.batch = x.clone(), y.clone()
            self._prepare(x.device)
        if self.replay is None or x.shape != self.batch[0].shape:
            return self.eager(x, y)
        self.batch[0].copy_(x)
        self.batch[1].copy_(y)
        return self.replay()

    def _prepare(self, device: torch.device) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=device)  # read by each replay, so that it may change
            if "capturable" in group:
                group["capturable"] = True
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        tensors = [*self.model.parameters(), *self.model.buffers(), *trained, *_tensors_of(self.optimizer)]
        saved = [tensor.detach().clone() for tensor in tensors]
        assert self.batch is not None
        x, y = self.batch
        with kept_generators(device):
            try:
                self.replay = capture(lambda: self.eager(x, y), device)
            except DeviceLost:
                raise
            except RuntimeError as error:
                warning = "training continues without a CUDA graph: %s"
                logging.getLogger(__name__).warning(warning, first_line(error))
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
            known = {id(tensor) for tensor in tensors}
            for tensor in _tensors_of(self.optimizer):
                if id(tensor) not in known:
                    tensor.zero_()  # what fresh momenta and step counts are


def capture(step: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """Run ``step`` a few times, then capture it.

    :return: a function that replays the step, and returns the tensor that the step writes to.
    :raises RuntimeError: before the capture, if the step waits for the device, which no graph can hold.
    :raises DeviceLost: if the capture fails. PyTorch leaves its allocator and stream in the midst of it, so that
        nothing later in this process can be trusted (pytorch/pytorch#180395, #190348).
    """
    with torch.cuda.device(device):
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UP - 1):  # in which libraries may wait, to choose their kernels
                    step()
                with forbidden_to_wait():
                    step()
        finally:
            torch.cuda.current_stream().wait_stream(side)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # loader threads may use CUDA meanwhile
                value = step()
        except Exception as error:
            raise DeviceLost(
                f"the capture of a CUDA graph failed ({first_line(error)}), after which this process cannot go on: "
                "train without --cuda-graphs"
            ) from error

    def replay() -> Tensor:
        graph.replay()
        return value

    return replay


@contextlib.contextmanager
def forbidden_to_wait() -> Iterator[None]:
    """Raise RuntimeError within the block if something waits for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _tensors_of(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    states: list[dict[str, Any]] = list(optimizer.state.values())
    return (value for state in states for value in state.values() if isinstance(value, Tensor))
