"""Read the answers of MLflow page by page: it cuts each at a number of its own."""

from collections.abc import Callable, Iterator
from typing import Any

from mlflow.store.entities import PagedList


def every(ask: Callable[[str | None], PagedList[Any]]) -> Iterator[Any]:
    """What all pages hold, in order.

    :param ask: takes the token of a page, None for the first, and returns the page.
    """
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return
