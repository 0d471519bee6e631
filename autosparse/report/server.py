"""Serve a few files to the browsers of this machine, and to nobody else."""

import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from autosparse.errors import AutosparseError
from autosparse.report.live import File

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost", "::1")
"""Names by which a browser of this machine calls the server. No other is accepted, because a foreign page could make
its own name point here (DNS rebinding), and read what is served."""
PATIENCE = 30.0
"""Seconds that a browser has for its request."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """Serves what ``files`` returns, by address, in threads of its own, until it is closed.

    :param files: returns the files as they are now.
    :param port: the port on 127.0.0.1; 0 for one that is free.
    :raises AutosparseError: if the port is not available.
    """

    _serving: threading.Thread | None = None

    def __init__(self, files: Callable[[], Mapping[str, File]], port: int = 0) -> None:
        self.files = files
        self.asked = time.monotonic()
        """When somebody last asked for something."""
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AutosparseError(
                f"port {port} of {LOOPBACK} is not available: {reason}; choose another, or leave out --port"
            ) from error
        self._serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._serving.start()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def server_close(self) -> None:
        """Stop serving, and close the port."""
        if self._serving:  # else the port was not available
            self.shutdown()
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Do nothing: a browser that goes away in the middle of an answer is not our error."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = PATIENCE
    server_version = "autosparse"
    sys_version = ""

    def do_GET(self) -> None:
        if _host(self.headers.get("Host", "")) not in HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN, "Only this machine may ask")
            return
        self.server.asked = time.monotonic()
        file = self.server.files().get(urlsplit(self.path).path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        known = file.tag in self.headers.get("If-None-Match", "")
        self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
        for name, value in {"ETag": file.tag, **HEADERS}.items():
            self.send_header(name, value)
        if not known:
            self.send_header("Content-Type", file.kind)
            self.send_header("Content-Length", str(len(file.content)))
        self.end_headers()
        if not known and self.command == "GET":
            self.wfile.write(file.content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Do nothing: the terminal is for the user."""


def _host(given: str) -> str:
    """The name in a Host header, without its port; empty if the header is missing or malformed."""
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return ""
