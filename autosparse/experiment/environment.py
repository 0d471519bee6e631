"""Where and with what something ran: provenance that is not part of any id."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("autosparse", "torch", "torchvision", "ray", "mlflow", "numpy", "pyarrow", "scikit-learn")


def describe_environment() -> dict[str, Any]:
    """Versions, git commit of the source (if it runs from a checkout), host and Python."""
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


def git_commit() -> str:
    """The commit of the checkout this package runs from, ``+dirty`` with local changes; else ``unknown``."""
    source = Path(__file__)
    tracked = _git("ls-files", "--error-unmatch", str(source), cwd=source.parent)
    commit = _git("rev-parse", "HEAD", cwd=source.parent)
    if tracked is None or commit is None:
        return "unknown"
    return commit + ("+dirty" if _git("status", "--porcelain", "--untracked-files=no", cwd=source.parent) else "")


def _git(*arguments: str, cwd: Path) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
