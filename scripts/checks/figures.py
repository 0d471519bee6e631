"""Turn results of benchmarks into entries."""

import itertools
from collections.abc import Iterable

from benchmarks.harness import Result

from checks.report import Report


def record(report: Report, results: Iterable[Result]) -> None:
    """Add an entry for each result as soon as it is measured."""
    following = iter(results)
    for number in itertools.count(1):
        with report.entry(f"measurement {number}") as found:
            result = next(following, None)
            if result is None:
                report.entries.pop()
                return
            found.update(result.as_json())
            report.entries[-1]["name"] = found.pop("name")
