"""A training step as one CUDA graph: a replay launches its hundreds of kernels at once, which small batches wait for.

Opt-in, because a graph repeats what was done at its capture: a model that decides in Python what to compute (a layer
dropped by ``random.random()``) would decide once and for all.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from autosparse.seeds import kept_generators
from autosparse.training.execution import Step

WARM_UP = 3
"""Steps before the capture, so that libraries have chosen their kernels and the optimiser has its state."""


class GraphedStep:
    """``eager`` as a CUDA graph, captured at the first batch; batches of another size than that run eagerly.

    Weights, buffers and random draws are as if the steps before the capture had not been: those are undone. The
    optimiser must be fresh. Where the capture fails, a warning is logged, and every step runs eagerly.
    """

    def __init__(self, eager: Step, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.eager, self.model, self.optimizer = eager, model, optimizer
        self.replay: Callable[[], Tensor] | None = None
        self.batch: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """One step, see :data:`autosparse.training.execution.Step`."""
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
        tensors = [*self.model.parameters(), *self.model.buffers()]
        saved = [tensor.detach().clone() for tensor in tensors]
        assert self.batch is not None
        x, y = self.batch
        with kept_generators(device):
            try:
                self.replay = capture(lambda: self.eager(x, y), device)
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                logging.getLogger(__name__).warning("no CUDA graph of this training, which goes on without: %s", reason)
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
            for tensor in _tensors_of(self.optimizer):
                tensor.zero_()  # what fresh momenta and step counts are


def capture(step: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """Run ``step`` a few times, then capture it; the result replays it and returns the tensor that it writes to.

    :raises RuntimeError: where the step does what a graph cannot hold, such as to wait for the device.
    """
    with torch.cuda.device(device):
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # loader threads may use CUDA meanwhile
            value = step()

    def replay() -> Tensor:
        graph.replay()
        return value

    return replay


def _tensors_of(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    states: list[dict[str, Any]] = list(optimizer.state.values())
    return (value for state in states for value in state.values() if isinstance(value, Tensor))
