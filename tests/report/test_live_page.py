"""The page of ``autosparse watch --web``: what is served, to whom, and when it is drawn anew."""

import http.client
import json
import math
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from live_runs import LiveRuns
from typer.testing import CliRunner

from autosparse.cli import app, watch
from autosparse.errors import AutosparseError, Unreachable
from autosparse.report import live as module
from autosparse.report.live import LivePage
from autosparse.report.server import PageServer


@pytest.fixture
def grid(runs) -> LiveRuns:
    return LiveRuns(runs, total=4)


@pytest.fixture
def page(client, grid) -> LivePage:
    made = LivePage(client, "exp", every=5)
    made.look()
    return made


@pytest.fixture
def server(page):
    with PageServer(lambda: page.files) as running:
        yield running


def asked(server: PageServer, address: str = "/", method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, address, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


def told(page: LivePage) -> dict[str, str]:
    return json.loads(page.files["/version"].content)


def test_the_page_is_served_with_how_far_the_grid_is(server):
    answer, body = asked(server)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = " ".join(body.decode().split())
    assert "<strong>RUNNING</strong>" in text
    assert '<progress max="4" value="2" aria-label="training the grid">' in text
    assert "2 of 4 done, 2 to do, about " in text
    assert "Test accuracy after training against sparsity" in text


def test_a_new_cell_changes_the_version_and_the_page_and_nothing_new_changes_neither(page, grid, server):
    before = asked(server)[1]
    page.look()
    assert asked(server)[1] == before
    version = told(page)["version"]
    assert f'data-version="{version}"' in before.decode()
    grid.cell("snip", 0.98, 81.25)
    page.look()
    assert told(page)["version"] != version
    after = asked(server)[1].decode()
    assert f'data-version="{told(page)["version"]}"' in after
    assert "81.25" not in before.decode()
    assert "81.25" in after


def test_a_page_that_nobody_reads_is_not_drawn_but_its_progress_is_told(page, grid):
    before, content = told(page), page.files["/"].content
    grid.cell("snip", 0.98, 81.25, status="FAILED")
    page.look(draw=False)
    assert page.files["/"].content == content
    assert told(page)["version"] == before["version"]
    assert "<b>1 failed</b>, 1 to do" in told(page)["progress"]
    page.look()
    assert told(page)["version"] != before["version"]


def test_a_browser_that_has_the_newest_gets_no_copy(server):
    for address in ("/", "/version"):
        answer, body = asked(server, address)
        again, nothing = asked(server, address, If_None_Match=answer.headers["ETag"])
        assert (again.status, nothing) == (304, b"")
        assert len(body) > 0


def test_figures_are_served_and_nothing_else(page, server):
    pictures = [address for address in page.files if address.startswith("/figures/")]
    assert pictures
    answer, body = asked(server, pictures[0])
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert b"<svg" in body
    for address in ("/index.html", "/figures/", "/../mlflow.db", "/mlflow.db", "//version/..", "/figures/%2e%2e/x"):
        assert asked(server, address)[0].status == 404, address
    assert asked(server, "/", "POST")[0].status == 501
    assert asked(server, "/", "HEAD")[1] == b""


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", "", "["])
def test_a_foreign_name_of_this_machine_is_refused(server, host):
    for address in ("/", "/version"):
        answer, body = asked(server, address, Host=host)
        assert answer.status == 403
        assert b"RUNNING" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:9", "[::1]:8000"])
def test_a_tunnel_to_this_machine_may_have_any_port(server, host):
    assert asked(server, Host=host)[0].status == 200


def test_only_this_machine_reaches_the_port(server):
    assert server.socket.getsockname() == ("127.0.0.1", server.server_port)


def test_a_port_that_is_taken_is_one_clear_line(client, grid):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = rf"^port {port} of 127.0.0.1 is not available: .+; choose another, or leave out --port$"
        with pytest.raises(AutosparseError, match=line):
            watch.serve(client, "exp", every=5, patience=60, port=port)


def test_a_server_that_is_away_is_told_to_the_browser_until_it_is_back(client, grid, monkeypatch):
    looks, shown, opened, pages = [], [], [], []
    real = module.progress_of

    def look(*asked):
        looks.append(asked)
        if len(looks) == 2:
            raise Unreachable("MLflow <there> does not answer")
        return real(*asked)

    def sleep(seconds):
        shown.append(told(pages[0])["progress"])
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "progress_of", look)
    monkeypatch.setattr(module, "LivePage", lambda *given: pages.append(LivePage(*given)) or pages[0])
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    monkeypatch.setattr(watch.webbrowser, "open", opened.append)
    with pytest.raises(KeyboardInterrupt):
        watch.serve(client, "exp", every=5, patience=math.inf, open_it=True)
    assert ["does not answer" in text for text in shown] == [False, True, False]
    assert all("2 of 4 done" in text for text in shown)
    assert "&lt;there&gt;" in shown[1]
    assert opened[0].startswith("http://127.0.0.1:")


def test_a_server_that_stays_away_ends_the_watching(client, grid, monkeypatch):
    answers = iter([module.progress_of(client, "exp")])

    def look(*asked):
        for answer in answers:
            return answer
        raise Unreachable("MLflow does not answer")

    monkeypatch.setattr(module, "progress_of", look)
    with pytest.raises(Unreachable):
        watch.serve(client, "exp", every=0.01, patience=0.0)


@pytest.mark.parametrize("wrong", [["--web", "--once"], ["--web", "--json"], ["--port", "8000"], ["--open"]])
def test_options_that_do_not_go_together_are_refused(wrong):
    done = CliRunner().invoke(app, ["watch", "exp", *wrong])
    assert done.exit_code == 2
    assert "--web" in done.output


def test_the_command_prints_one_line_and_ctrl_c_ends_it(client, grid, tmp_path: Path):
    command = [sys.executable, "-m", "autosparse", "watch", "exp", "--web", "--tracking-uri", client.tracking_uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        port = int(process.stdout.readline().removeprefix("http://127.0.0.1:").rstrip("/\n"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/version")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
