"""Hosts on this machine, each a network namespace with its own address, and a network that is slow and loses packets.

    with Network("driver", "store") as network:
        network.set(delay=0.1, loss=0.02)
        subprocess.Popen(network.hosts["store"].inside("python", "-m", "http.server"))
        network.cut("store")

This machine reaches every host, at once and always, so that a test can look at what they do. The process must be root,
on Linux.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lossy_wire


@dataclass(frozen=True)
class Host:
    """One host. It shares the files and the memory of this machine, but has its own loopback and ports."""

    namespace: str
    address: str

    def inside(self, *command: str) -> list[str]:
        """The command line that runs ``command`` on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def processes(self) -> list[int]:
        """The ids of the processes that run there."""
        return lossy_wire.processes_in(self.namespace)

    def kill_all(self) -> None:
        """End every process there, as a power failure would."""
        lossy_wire.kill_all_in(self.namespace)


class Network:
    """Makes hosts, which end with it and with this process; a context manager.

    :param names: names of the hosts.
    """

    def __init__(self, *names: str):
        self.delay, self.loss, self.away = 0.0, 0.0, set[str]()
        self.wire = subprocess.Popen(
            [sys.executable, lossy_wire.__file__, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.hosts = {name: Host(**about) for name, about in self._answer().items()}

    def set(self, delay: float = 0.0, loss: float = 0.0) -> dict[str, int]:
        """Let each packet between two hosts take ``delay`` seconds, and lose the share ``loss``.

        Returns how many packets have been carried and lost until now, and how many were for or from a host cut off.
        """
        self.delay, self.loss = delay, loss
        return self._tell()

    def cut(self, name: str) -> dict[str, int]:
        """Cut a host off: what it sends and is sent is lost, without a word; returns what :meth:`set` does."""
        self.away.add(name)
        return self._tell()

    def heal(self, name: str) -> dict[str, int]:
        """Let a host that was cut off be reached again; returns what :meth:`set` does."""
        self.away.remove(name)
        return self._tell()

    def _tell(self) -> dict[str, int]:
        told = {"delay": self.delay, "loss": self.loss, "cut": [self.hosts[name].address for name in self.away]}
        assert self.wire.stdin
        self.wire.stdin.write(f"{json.dumps(told)}\n")
        self.wire.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.wire.stdout
        assert self.wire.stderr
        if line := self.wire.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise RuntimeError(f"there is no network any more:\n{self.wire.stderr.read()[-2000:]}")

    def close(self) -> None:
        """End the hosts, and what runs there."""
        assert self.wire.stdin
        self.wire.stdin.close()
        self.wire.wait()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def why_no_network() -> str:
    """The reason why no hosts can be made here; empty if they can."""
    if shutil.which("ip") is None:
        return "no command `ip` here: install iproute2"
    if not Path(lossy_wire.TUN).exists():
        return f"no {lossy_wire.TUN} here: a container has to be given it"
    if os.getuid():
        return "network namespaces are for root alone"
    try:
        Network("try").close()
    except RuntimeError as error:
        return f"network namespaces are not permitted here: {str(error).strip().splitlines()[-1]}"
    return ""
