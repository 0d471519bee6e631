"""Connect to the MLflow store, and find the experiment in it."""

import contextlib
import logging
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from urllib3.exceptions import MaxRetryError

from autosparse.errors import AutosparseError, Unreachable, causes, first_line, safe_uri
from autosparse.tracking.described import KIND, TRAINING
from autosparse.tracking.schema import bring_up_to_date

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for results
# Report an absent server in seconds, not minutes. The spool tries again, and first looks at what is there. A blind
# repeat would make a second run if only the answer had been lost.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.store.entities import PagedList

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)
# MLflow raises each database error and also logs it with its traceback: on a full disk, 40 lines for each task.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def tracking_uri(given: str | None = None) -> str:
    """``given``, else ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` (SQLite) in the working folder."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def connect(uri: str | None = None, must_exist: bool = False) -> MlflowClient:
    """A client of the store; a new store gets its schema.

    :param must_exist: refuse a missing SQLite file instead of making an empty one.
    :raises AutosparseError: if the store does not answer.
    """
    where = tracking_uri(uri)
    database = sqlite_path(where)
    if must_exist and database is not None and not database.is_file():
        raise AutosparseError(
            f"no MLflow store at {where}: run an experiment first, or name its store with --tracking-uri"
        )
    with tracking_errors(where), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _knock(where)
        if database is not None:
            bring_up_to_date(database)
        client = MlflowClient(where)
        client.search_experiments(max_results=1)
    return client


PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Default ports of databases."""


def _knock(uri: str) -> None:
    """Raise OSError if no database listens; MLflow itself would try for minutes."""
    from sqlalchemy import make_url  # here: it is MLflow's, and only databases need it

    usual = PORTS.get(uri.partition("://")[0].partition("+")[0])
    if usual and (url := make_url(uri)).host:
        socket.create_connection((url.host, url.port or usual), timeout=10).close()


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other."""
    found = re.fullmatch(r"sqlite:///(?!:memory:)(.+)", uri)
    return Path(found[1]) if found else None


@contextlib.contextmanager
def tracking_errors(where: str) -> Iterator[None]:
    """Turn what MLflow raises into one clear line that hides passwords in the address."""
    try:
        yield
    except AutosparseError:
        raise
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' and OSErrors
        reason = safe_uri(_reason(error))
        if "out-of-date database schema" in reason:  # an older MLflow made it; the text says what to do
            raise AutosparseError(f"MLflow at {safe_uri(where)}: {reason}") from error
        reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
        cure = "start it" if sqlite_path(where) is None else "see that its folder has room and can be written"
        raise Unreachable(
            f"MLflow at {safe_uri(where)} does not answer: {reason}; {cure}, or choose another with "
            "--tracking-uri; finished work is safe in the results folder and is logged by the next run"
        ) from error


def _reason(error: BaseException) -> str:
    """What went wrong, in a line: in the words of the database or connection, which others wrap in long texts."""
    for cause in causes(error):
        if isinstance(found := getattr(cause, "orig", None), BaseException):
            return first_line(found)
        if isinstance(cause, MaxRetryError) and cause.reason is not None:
            inner = cause.reason.args[-1] if cause.reason.args else ""
            if isinstance(inner, BaseException):
                return first_line(inner)
            return re.sub(r"^HTTPS?Connection(Pool)?\([^)]*\): ", "", str(cause.reason))
    return first_line(error)


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of the MLflow experiment ``name``, which is made if it is new; a local store has its artifacts beside it.

    It gets the kind of model training, for which MLflow's pages show runs before traces, unless somebody has chosen
    another.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise AutosparseError(f"MLflow experiment {name!r} was deleted: restore it, or rename the experiment")
        if KIND not in found.tags:
            client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
        return str(found.experiment_id)
    database = sqlite_path(client.tracking_uri)
    location = (database.absolute().parent / "mlartifacts" / name).as_uri() if database else None
    return str(client.create_experiment(name, artifact_location=location, tags={KIND: TRAINING}))


def all_pages(ask: Callable[[str | None], PagedList[Any]]) -> Iterator[Any]:
    """What all pages of an answer hold, in order: MLflow cuts each page at a number of its own.

    :param ask: takes the token of a page, None for the first, and returns the page.
    """
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def all_experiments(client: MlflowClient) -> Iterator[Experiment]:
    """Every experiment that is not deleted, newest first."""
    return all_pages(lambda token: client.search_experiments(page_token=token))


def find_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment; if it does not exist, the error names those that do."""
    found = client.get_experiment_by_name(name)
    if found is None:
        names = ", ".join(sorted(e.name for e in all_experiments(client) if e.name != "Default"))
        raise AutosparseError(
            f"no experiment {name!r} in MLflow at {safe_uri(client.tracking_uri)}: it holds {names or 'none'}"
        )
    return str(found.experiment_id)
