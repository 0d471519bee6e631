"""Say where the runs of a report come from: code, machines, data."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from mlflow import MlflowClient

from autosparse.report.collect import natural
from autosparse.results.runs import Run
from autosparse.tracking.client import find_experiment, tracking_errors

DIRTY = "+dirty"
"""Ending of the commit of a checkout with local changes."""
SHOWN = ("git_commit", "host", "device", "device_name", "precision")


def provenance_of(runs: Iterable[Run]) -> dict[str, str]:
    """Commits, machines, versions and data fingerprints of the runs, with the number of runs of each if they differ."""
    found = facts_of(runs)
    places = [name.replace("_", " ") for name in SHOWN]

    def rank(name: str) -> tuple[int, bool, object]:
        return places.index(name) if name in places else len(places), not name.startswith("data "), natural(name)

    return {name: _tally(found[name]) for name in sorted(found, key=rank)}


def facts_of(runs: Iterable[Run]) -> dict[str, Counter[str]]:
    """The commits, machines, versions and data fingerprints of the runs, and how many runs have each."""
    found = defaultdict[str, Counter[str]](Counter)
    for run in runs:
        for name, value in _facts(run):
            found[name][value] += 1
    return found


def run_pages(client: MlflowClient, experiment: str) -> str:
    """The start of the addresses of the experiment's runs in a browser; a run's id completes it.

    Empty if MLflow is not a server. User, password and query of the server's address are left out.
    """
    server = urlsplit(re.sub(r"://\S*@", "://", client.tracking_uri))  # a password may contain a slash, or an @
    if server.scheme not in ("http", "https"):
        return ""
    with tracking_errors(client.tracking_uri):
        found = find_experiment(client, experiment)
    return f"{server.scheme}://{server.netloc}{server.path.rstrip('/')}/#/experiments/{quote(found)}/runs/"


def _facts(run: Run) -> Iterable[tuple[str, str]]:
    for name, value in run.tags.items():
        if name == "git_commit" and value.endswith(DIRTY):
            yield "git commit", f"{value.removesuffix(DIRTY)} with uncommitted changes"
        elif name in SHOWN or name.startswith("version."):
            yield name.removeprefix("version.").replace("_", " "), value
        elif name == "dataset_fingerprint" and "dataset" in run.tags:
            yield f"data {run.tags['dataset']}", f"fingerprint {value}"


def _tally(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{value} ({count} run{'s' if count > 1 else ''})" for value, count in values.most_common())
