"""An S3 server within this process, or in one of its own: ``python local_s3.py HOST PORT``."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from local_mlflow import free_port
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

NOBODY = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_EC2_METADATA_DISABLED": "true"}
"""What a client finds in its environment: the server takes any name."""


@contextlib.contextmanager
def s3_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve S3 for the length of the block, and yield its ``host:port``."""
    put, one = S3Response.put_object, threading.Lock()

    def put_object(response: Any) -> Any:
        with one:  # as in S3, nothing comes between the look at a condition and the write
            return put(response)

    S3Response.put_object = put_object
    server = ThreadedMotoServer(host, port=port, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = server.get_host_and_port()
    try:
        yield f"{host}:{port}"
    finally:
        server.stop()
        S3Response.put_object = put


def make_bucket(where: str, name: str) -> str:
    """Make an empty bucket on the server at ``where``; return the address of a prefix in it."""
    made = S3FileSystem(endpoint_override=where, scheme="http", region="us-east-1", allow_bucket_creation=True)
    made.create_dir(name)
    return f"s3://{name}/some/prefix?scheme=http&region=us-east-1&endpoint_override={where}"


def listens(host: str, port: int) -> bool:
    """Whether a server takes connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=5).close()
        return True
    return False


class S3Server:
    """A server in a process of its own, which can be stopped for a while; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()

    @property
    def where(self) -> str:
        """The server's host and port."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "S3Server":
        command = [sys.executable, __file__, "127.0.0.1", str(self.port)]
        self.process = subprocess.Popen(command, env=os.environ | NOBODY, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            if listens("127.0.0.1", self.port):
                return self
            time.sleep(0.1)
        self.process.kill()
        raise RuntimeError("the S3 server did not start")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Let the server be silent, as if the network were cut: connections stay open, and no answer comes."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    with s3_server(sys.argv[1], int(sys.argv[2])):
        signal.pause()
