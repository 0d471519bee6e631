"""Describe the machine: the card with its driver, the versions, and the rate of a large matrix product."""

import importlib.metadata
import os
import platform
import subprocess

import torch
from benchmarks.convolutions import PEAKS, ceiling
from benchmarks.harness import Options, machine

from checks.report import Report, Skipped

PACKAGES = (
    "numpy", "torchvision", "triton", "pyarrow", "safetensors", "scikit-learn", "scipy", "pillow", "timm", "pytest",
    "ray", "mlflow", "pydantic",
)  # fmt: skip
ASKED = (
    "name",
    "driver_version",
    "memory.total",
    "power.limit",
    "clocks.max.sm",
    "clocks.max.memory",
    "mig.mode.current",
)


def check(options: Options, report: Report) -> None:
    """Describe the machine, then measure the rates."""
    if options.device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} finds no CUDA device; for the parts on a CPU give --device cpu")
    with report.entry("processor and versions") as found:
        found.update(machine(options.device), usable_cores=len(os.sched_getaffinity(0)))
        found.update(machine=platform.machine(), versions={name: version(name) for name in PACKAGES})
    with report.entry("driver") as found:
        found.update(nvidia_smi())
    if options.device.type == "cuda":
        with report.entry("card") as found:
            found.update(card(options.device))
    for name in PEAKS:
        with report.entry(f"matrix product, {name}") as found:
            figure = ceiling(name, options.device, 256 if options.quick else None)
            found.update({figure.unit: figure.value, "what": figure.name})


def version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def nvidia_smi() -> dict[str, str]:
    """What the driver's own tool says about the first card."""
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Skipped(f"nvidia-smi says nothing ({error})") from error
    return dict(zip(ASKED, said.splitlines()[0].split(", "), strict=False))


def card(device: torch.device) -> dict[str, object]:
    """What PyTorch says about the card."""
    about = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "GiB": round(total / 2**30, 1),
        "GiB free": round(free / 2**30, 1),
        "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
        "TF32 in matrix products": torch.backends.cuda.matmul.allow_tf32,
    }
