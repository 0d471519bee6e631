"""Where something ran, and with which versions: provenance that is not part of any id."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autosparse.experiment.commit import git_commit

PACKAGES = ("autosparse", "torch", "torchvision", "ray", "mlflow", "numpy", "pyarrow", "scikit-learn")


def describe_environment() -> dict[str, Any]:
    """Versions, git commit (see :func:`autosparse.experiment.commit.git_commit`), host and Python."""
    return {
        "git_commit": git_commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def describe_device(device: str) -> dict[str, str]:
    """Host, and the name of the accelerator or processor that work on ``device`` runs on."""
    if device == "cpu":
        return {"host": platform.node(), "device_name": _processor()}
    import torch

    named = getattr(torch.get_device_module(device), "get_device_name", None)  # torch.mps has none
    return {"host": platform.node(), "device_name": named(torch.device(device)) if named else device}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
