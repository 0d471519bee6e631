"""A server that is absent is told of at once, in its connection's own words; one that breaks off is asked again."""

import socket
import threading

import pytest

from autosparse.errors import AutosparseError, Unreachable
from autosparse.tracking import steadily as module
from autosparse.tracking.client import connect
from autosparse.tracking.steadily import steadily

ABSENT = "http://127.0.0.1:9"


@pytest.fixture
def breaking():
    """The address of a server that ends each connection without an answer, and the list of these connections."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            while True:
                try:
                    connection, address = listening.accept()
                except OSError:  # the test is over
                    return
                with connection:
                    connection.recv(1000)
                asked.append(address)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.0)


def test_the_error_ends_with_what_went_wrong_and_the_cure(breaking):
    with pytest.raises(Unreachable, match=r"9 does not answer: Failed to establish .*Connection refused; start it"):
        connect(ABSENT)
    with pytest.raises(Unreachable, match=r"does not answer: Remote end closed connection without response; start it"):
        connect(breaking[0])


def test_a_connection_that_breaks_is_tried_three_times(breaking, at_once):
    address, asked = breaking
    with pytest.raises(Unreachable, match="Remote end closed"):
        steadily(lambda: connect(address))
    assert len(asked) == 3


def test_work_that_succeeds_at_last_has_its_result(breaking, at_once):
    calls = []

    def work():
        calls.append("call")
        return "done" if len(calls) == 3 else connect(breaking[0])

    assert steadily(work) == "done"


@pytest.mark.parametrize("error", [None, AutosparseError("no such experiment"), Unreachable("another store")])
def test_an_absent_server_and_any_other_error_are_told_of_at_once(error, at_once):
    calls = []

    def work():
        calls.append("call")
        if error:
            raise error
        connect(ABSENT)

    with pytest.raises(AutosparseError):
        steadily(work)
    assert len(calls) == 1
