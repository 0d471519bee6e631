"""Carries packets between network namespaces of this machine, late, not all of them, and not to hosts that are cut off.

`local_network.py` starts it. Each namespace has a TUN device whose other end is here. So this needs neither a bridge
nor the kernel's `netem`, which many kernels of clouds and of CI lack. The namespaces, and what runs in them, end with
this process.
"""

import contextlib
import fcntl
import heapq
import ipaddress
import json
import os
import random
import re
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

TUN, SET_NAME, RAW = "/dev/net/tun", 0x400454CA, 0x1001
"""The device, its request TUNSETIFF, and the flags IFF_TUN | IFF_NO_PI: packets of IP, with nothing before them."""
LARGEST = 1 << 16
"""Bytes that a packet has at most."""
AT_ONCE = 64
"""Packets to take from one host before another has its turn."""
NAME = re.compile(r"asp-(\d+)-\S+")
"""The name of a namespace, with the id of the process that carries its packets."""


def ip(*arguments: str) -> str:
    """What the command ``ip`` prints.

    :raises RuntimeError: with its error.
    """
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def namespaces() -> Iterator[tuple[str, int]]:
    """The namespaces that this file has made, each with the id of the process that did."""
    for line in ip("netns", "list").splitlines():
        if line and (found := NAME.fullmatch(line.split()[0])):
            yield found[0], int(found[1])


def processes_in(namespace: str) -> list[int]:
    """The ids of the processes in a namespace."""
    return [int(pid) for pid in ip("netns", "pids", namespace).split()]


def kill_all_in(namespace: str) -> None:
    """End every process in a namespace, as a power failure would."""
    while found := processes_in(namespace):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove(namespace: str) -> None:
    """End what runs in a namespace, and remove it."""
    kill_all_in(namespace)
    ip("netns", "del", namespace)


def remove_stale() -> None:
    """Remove the namespaces whose process was killed."""
    for namespace, owner in namespaces():
        with contextlib.suppress(OSError):
            if Path(__file__).name in Path(f"/proc/{owner}/cmdline").read_text():
                continue
        with contextlib.suppress(RuntimeError):  # another start removes it, too
            remove(namespace)


def attach(device: str, address: str, namespace: str | None = None) -> int:
    """Give a namespace, or this process's, an address of a network of 256; return what reads and writes its packets.

    What a namespace sends to elsewhere is lost, as at a firewall.
    """
    end = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, SET_NAME, struct.pack("16sH22x", device.encode(), RAW))
    there = ("-n", namespace) if namespace else ()
    if namespace:
        ip("link", "set", device, "netns", namespace)
        ip(*there, "link", "set", "lo", "up")
    ip(*there, "addr", "add", f"{address}/24", "dev", device)
    ip(*there, "link", "set", device, "up")
    if namespace:
        ip(*there, "route", "add", "default", "dev", device)  # by it, Ray finds a host's address
    return end


class Wire:
    """Takes packets from hosts, and hands each on to the host that it is for.

    :param ends: what reads and writes the packets of each host, by its address.
    :param watcher: the address of the host that is always near.
    """

    def __init__(self, ends: dict[str, int], watcher: str):
        self.ends = {ipaddress.ip_address(address).packed: end for address, end in ends.items()}
        self.watcher = ipaddress.ip_address(watcher).packed
        self.delay, self.loss, self.cut = 0.0, 0.0, set[bytes]()
        self.counts = {"carried": 0, "lost": 0, "cut": 0}
        self.chance, self.order = random.Random(0), count()
        self.under_way: list[tuple[float, int, int, bytes]] = []

    def set(self, delay: float, loss: float, cut: list[str]) -> dict[str, int]:
        """Change what happens from now on; returns what has happened to packets until now."""
        self.delay, self.loss = delay, loss
        self.cut = {ipaddress.ip_address(address).packed for address in cut}
        return self.counts

    def take(self, end: int) -> None:
        """Take what a host has sent."""
        for _ in range(AT_ONCE):
            try:
                packet = os.read(end, LARGEST)
            except BlockingIOError:
                return
            source, target = packet[12:16], packet[16:20]
            if packet[0] >> 4 == 4 and target in self.ends:
                self._send(packet, source, target)

    def _send(self, packet: bytes, source: bytes, target: bytes) -> None:
        near = self.watcher in (source, target)
        if not near and self.cut & {source, target}:
            self.counts["cut"] += 1
        elif not near and self.chance.random() < self.loss:
            self.counts["lost"] += 1
        else:
            due = time.monotonic() + (0.0 if near else self.delay)
            heapq.heappush(self.under_way, (due, next(self.order), self.ends[target], packet))

    def deliver(self) -> float | None:
        """Hand on the packets that are due; returns the seconds until the next is, if there is one."""
        while self.under_way:
            if (wait := self.under_way[0][0] - time.monotonic()) > 0:
                return wait
            *_, end, packet = heapq.heappop(self.under_way)
            with contextlib.suppress(OSError):  # as a full queue does: the packet is lost
                os.write(end, packet)
                self.counts["carried"] += 1
        return None


def carry(wire: Wire) -> None:
    """Carry packets until stdin ends; each of its lines changes what happens to them."""
    ready = selectors.DefaultSelector()
    ready.register(0, selectors.EVENT_READ)
    for end in wire.ends.values():
        ready.register(end, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select(wire.deliver()):
            if key.fd:
                wire.take(key.fd)
            elif line := sys.stdin.readline():
                tell(wire.set(**json.loads(line)))
            else:
                return


def tell(answer: dict[str, Any]) -> None:
    """Print an answer for the process that started this one."""
    print(json.dumps(answer), flush=True)


def main(names: list[str]) -> None:
    """Make a namespace for each name, and carry their packets."""
    remove_stale()
    own = os.getpid()
    network = f"198.18.{own % 256}"  # of the range for tests of networks (RFC 2544), which no other network uses
    watcher, hosts = f"{network}.254", {}
    try:
        ends = {watcher: attach(f"asp{own}", watcher)}
        for number, name in enumerate(names, 1):
            hosts[name] = {"namespace": f"asp-{own}-{name}", "address": f"{network}.{number}"}
            ip("netns", "add", hosts[name]["namespace"])
            ends[hosts[name]["address"]] = attach(f"asp{own}.{number}", **hosts[name])
        tell(hosts)
        carry(Wire(ends, watcher))
    finally:
        for namespace, owner in namespaces():
            if owner == own:
                remove(namespace)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the caller, with which stdin ends
        signal.signal(number, signal.SIG_IGN)
    main(sys.argv[1:])
