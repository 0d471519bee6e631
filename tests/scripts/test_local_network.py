"""Hosts that are network namespaces: what is sent takes as long as it should, gets lost, or does not arrive."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PATIENCE = 120
"""Seconds for what takes one on an idle machine."""
ECHO = """
import socket
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("0.0.0.0", 99))
print("ready", flush=True)
while True:
    echo.sendto(*echo.recvfrom(9))
"""
ASK = """
import json, socket, sys, time
host, asked, within = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
took = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(within)
    for _ in range(asked):
        began = time.monotonic()
        asking.sendto(b"?", (host, 99))
        try:
            asking.recvfrom(9)
            took.append(time.monotonic() - began)
        except TimeoutError:
            pass
print(json.dumps(took))
"""
OWNER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from local_network import Network
network = Network("left")
print(network.hosts["left"].namespace, network.wire.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    import local_network

    if reason := local_network.why_no_network():
        pytest.skip(reason)
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def network():
    """Hosts ``a`` and ``b``; ``a`` sends back what it gets."""
    from local_network import Network

    with Network("a", "b") as network:
        command = network.hosts["a"].inside(sys.executable, "-c", ECHO)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as echo:
            assert echo.stdout.readline() == b"ready\n"
            yield network
            network.hosts["a"].kill_all()


def answers(network, asked=1, within=PATIENCE, inside=True):
    """The seconds that each answer of ``a`` took to ``b``, or to this machine; without those that did not come."""
    command = [sys.executable, "-c", ASK, network.hosts["a"].address, str(asked), str(within)]
    command = network.hosts["b"].inside(*command) if inside else command
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def namespaces():
    return subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_hosts_answer_each_other_and_no_answer_comes_before_both_ways_are_done(network):
    assert len(answers(network, 3)) == 3
    network.set(delay=0.2)
    assert min(answers(network, 3)) >= 0.4


def test_the_share_of_packets_that_is_asked_for_gets_lost(network):
    network.set(loss=0.3)
    came, counts = len(answers(network, 300, within=0.05)), network.set()
    assert came < 220  # of 300 there and back, 147 should come
    assert 0.2 < counts["lost"] / (counts["lost"] + counts["carried"]) < 0.4


def test_a_host_that_is_cut_off_does_not_answer_until_it_is_healed_and_this_machine_always_reaches_it(network):
    assert network.cut("a")["cut"] == 0
    assert answers(network, within=0.5) == []
    assert len(answers(network, inside=False)) == 1
    assert network.heal("a")["cut"] == 1
    assert len(answers(network)) == 1


def test_a_host_reaches_nothing_but_the_others(network):
    look = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=0.5)"
    done = subprocess.run(network.hosts["b"].inside(sys.executable, "-c", look), capture_output=True, text=True)
    assert "TimeoutError" in done.stderr


@pytest.mark.parametrize("ended", ["the owner", "all that it started", "the wire"])
def test_hosts_go_with_what_runs_there_however_their_owner_ends(ended):
    from local_network import Network

    command = [sys.executable, "-c", OWNER, str(SCRIPTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        namespace, wire = owner.stdout.readline().split()
        inside = ["ip", "netns", "exec", namespace, sys.executable, "-c", "import time; time.sleep(1000)"]
        with subprocess.Popen(inside) as left:
            wait_until(lambda: str(left.pid) in pids_in(namespace))
            if ended == "all that it started":  # as `timeout` does
                os.killpg(owner.pid, signal.SIGTERM)
            if ended == "the wire":
                os.kill(int(wire), signal.SIGKILL)
                wait_until(lambda: not cmdline(wire))
            owner.kill()
            if ended == "the wire":
                with Network("next"):  # removes what was left
                    pass
            wait_until(lambda: namespace not in namespaces())
            assert left.wait() == -signal.SIGKILL


def pids_in(namespace):
    return subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split()


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()  # a zombie's is empty
    except OSError:
        return ""
