"""A client of an MLflow server leaves stdout to results."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from autosparse.tracking.client import connect

RUN = {
    "run_id": "1" * 32,
    "run_uuid": "1" * 32,
    "experiment_id": "1",
    "status": "FINISHED",
    "artifact_uri": "file:///x",
}


class Answers(BaseHTTPRequestHandler):
    """One experiment, one run."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        info = {"run": {"info": RUN, "data": {}}, "run_info": RUN, "experiments": []}
        body = json.dumps(info).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PATCH = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_ending_a_run_prints_nothing_on_stdout(server, capsys):
    connect(server).set_terminated(RUN["run_id"])
    assert capsys.readouterr().out == ""
