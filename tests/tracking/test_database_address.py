"""A database that does not listen is told of at once, whatever else its address says."""

import socket

import pytest

from autosparse.errors import AutosparseError
from autosparse.tracking.client import _knock, connect


def test_a_database_that_is_not_there_is_told_of_at_once():
    with pytest.raises(AutosparseError, match=r"at postgresql://\*\*\*@127.0.0.1:9/mlflow does not answer: .*refused"):
        connect("postgresql://me:secret@127.0.0.1:9/mlflow")


def test_an_at_sign_in_the_options_is_not_taken_for_the_end_of_a_password():
    with socket.create_server(("127.0.0.1", 0)) as server:
        _knock(f"postgresql+psycopg2://me:p/w@127.0.0.1:{server.getsockname()[1]}/db?application_name=me@lab")
