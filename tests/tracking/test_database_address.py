"""Addresses of MLflow stores: the default, hidden passwords, and a database that does not listen, told of at once."""

import socket

import pytest

from autosparse.errors import AutosparseError
from autosparse.tracking.client import _knock, connect, safe_uri, tracking_errors, tracking_uri


def test_a_database_that_is_not_there_is_told_of_at_once():
    with pytest.raises(AutosparseError, match=r"at postgresql://\*\*\*@127.0.0.1:9/mlflow does not answer: .*refused"):
        connect("postgresql://me:secret@127.0.0.1:9/mlflow")


def test_an_at_sign_in_the_options_is_not_taken_for_the_end_of_a_password():
    with socket.create_server(("127.0.0.1", 0)) as server:
        _knock(f"postgresql+psycopg2://me:p/w@127.0.0.1:{server.getsockname()[1]}/db?application_name=me@lab")


def test_a_password_is_hidden_where_a_long_reason_is_cut_off_in_it():
    with pytest.raises(AutosparseError) as told, tracking_errors("sqlite:///mlflow.db"):
        raise OSError("x" * 135 + " postgresql://me:secret@127.0.0.1/mlflow")
    assert "me:" not in str(told.value)


def test_the_default_store_is_sqlite_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri() == "http://server:5000"


def test_passwords_in_addresses_are_hidden():
    assert safe_uri("postgresql://me:secret@db/mlflow") == "postgresql://***@db/mlflow"
