"""A plugin of pytest that skips test files that need an absent package, and names the package."""

from collections.abc import Iterator
from typing import Any

import pytest

MAY_BE_ABSENT = {
    "ray", "mlflow", "pydantic", "typer", "rich", "tenacity", "torchvision", "matplotlib", "jinja2", "yaml",
    "hypothesis", "optuna", "moto",
}  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Turn the failure to import an absent package into a skip."""
    report: Any = yield
    error = report.call.excinfo.value.__cause__ if report.outcome == "failed" and report.call.excinfo else None
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in MAY_BE_ABSENT:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"needs {error.name}, which is absent")
    return report
