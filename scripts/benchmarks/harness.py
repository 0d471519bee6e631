"""Measure two ways side by side: interleaved repetitions, ratios with median and spread."""

import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch


@dataclass(frozen=True)
class Options:
    """How the benchmarks run."""

    quick: bool
    """Less work and fewer repetitions: the whole list in under five minutes on two cores."""
    device: torch.device
    data_root: str | None
    """Folder of data sets; None: only embedded ones."""


@dataclass(frozen=True)
class Comparison:
    """One claim: the same work done in two ways, several times in turn."""

    name: str
    """What is done, with the model and the data."""
    baseline: str
    """The other way, in a few words."""
    unit: str
    """Unit of ``baseline_rates`` and ``rates``; more is better."""
    baseline_rates: list[float]
    rates: list[float]
    goal: float | None = None
    """The least ratio to aim for."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Further figures: memory, agreement of results, counts of bytes or FLOPs."""

    @property
    def ratios(self) -> list[float]:
        """Our rate over the baseline's, for each repetition."""
        return [ours / theirs for ours, theirs in zip(self.rates, self.baseline_rates, strict=True)]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    def as_json(self) -> dict[str, Any]:
        """All fields, with the ratios; ``met`` is None if there is no goal."""
        spread = {"ratio": self.ratio, "lowest": min(self.ratios), "highest": max(self.ratios)}
        return {**asdict(self), **spread, "met": None if self.goal is None else self.ratio >= self.goal}


@dataclass(frozen=True)
class Figure:
    """A single number without a baseline, such as a peak of memory or an agreement of masks, and its goal."""

    name: str
    value: float
    unit: str
    goal: str = ""
    """Words such as ``at least 0.99``."""
    met: bool | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


Result = Comparison | Figure


def result_from(told: Mapping[str, Any]) -> Result:
    """The result that ``as_json`` has told."""
    kind = Comparison if "baseline" in told else Figure
    return kind(**{each.name: told[each.name] for each in fields(kind)})


def side_by_side(
    name: str,
    baseline: tuple[str, Callable[[], float]],
    ours: Callable[[], float],
    unit: str,
    repetitions: int,
    goal: float | None = None,
) -> Comparison:
    """Call both in turns; each does its work and returns its rate in ``unit``.

    If ``repetitions`` is more than 1, each is called once before, to warm up.
    """
    label, theirs = baseline
    if repetitions > 1:
        theirs(), ours()
    pairs = [(theirs(), ours()) for _ in range(repetitions)]
    return Comparison(name, label, unit, [a for a, _ in pairs], [b for _, b in pairs], goal)


def seconds(work: Callable[[], Any], device: torch.device | None = None) -> float:
    """Seconds that ``work`` takes, including its kernels on the device."""
    cuda = device is not None and device.type == "cuda"
    if cuda:
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def machine(device: torch.device) -> dict[str, Any]:
    """A description of the machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - a file of the kernel
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


HEAD = """| what | beside | ours | theirs | ratio (lowest to highest) | goal |
|---|---|---|---|---|---|"""


def row(result: Result) -> str:
    """A result as a row of the Markdown table under ``HEAD``."""
    if isinstance(result, Figure):
        return f"| {result.name} | | {result.value:,.4g} {result.unit} | | | {result.goal} |"
    ours, theirs = statistics.median(result.rates), statistics.median(result.baseline_rates)
    spread = f"**{result.ratio:.3g}** ({min(result.ratios):.3g} to {max(result.ratios):.3g})"
    goal = "" if result.goal is None else f"{result.goal:g}"
    return f"| {result.name} | {result.baseline} | {ours:,.4g} {result.unit} | {theirs:,.4g} | {spread} | {goal} |"
