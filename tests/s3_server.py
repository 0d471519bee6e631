"""An S3 server for tests, here or, as a program, in a process of its own: ``python s3_server.py HOST PORT``."""

import contextlib
import logging
import signal
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem


@contextlib.contextmanager
def s3_server(host="127.0.0.1", port=0):
    """Serve S3 for the length of the block; where, as ``host:port``."""
    put, one = S3Response.put_object, threading.Lock()

    def put_object(response):
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


def make_bucket(where, name):
    """Make an empty bucket on the server at ``where``; the address of a prefix in it."""
    made = S3FileSystem(endpoint_override=where, scheme="http", region="us-east-1", allow_bucket_creation=True)
    made.create_dir(name)
    return f"s3://{name}/some/prefix?scheme=http&region=us-east-1&endpoint_override={where}"


if __name__ == "__main__":
    with s3_server(sys.argv[1], int(sys.argv[2])):
        signal.pause()
