"""Sites of the experiment: two nodes of this machine, with a folder or a bucket, or hosts on a network of their own."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from local_cluster import LocalCluster
from local_hosts import MLFLOW, NODES, STORE, LocalHosts
from local_mlflow import MlflowServer
from local_s3 import NOBODY, S3Server, make_bucket

SITES = {"folder": "a folder", "s3": "an S3 bucket", "hosts": "an S3 bucket on a host of its own"}
"""The kinds of sites, and where each keeps results."""
DELAY, LOSS = 0.02, 0.01
"""Seconds that a packet takes between two hosts, and the share that gets lost."""
DISK = 64 << 20
"""Bytes of the disk that can be full."""


@dataclass(frozen=True)
class Trouble:
    """Something that does not work for a while."""

    begin: Callable[[], object]
    end: Callable[[], object]
    longest: float
    """Seconds that it lasts at most."""


@dataclass(frozen=True)
class Site:
    """A cluster, an MLflow server, and the address of the results."""

    cluster: LocalCluster | LocalHosts
    server: MlflowServer
    results: str
    troubles: dict[str, Trouble]
    """What may not work for a while here, by the name of the fault."""


@contextlib.contextmanager
def make_site(kind: str, folder: Path, variables: dict[str, str]) -> Iterator[Site]:
    """Start all that an experiment needs, with files in ``folder`` and these variables for Ray's processes."""
    if kind != "folder":
        os.environ |= NOBODY | {"AUTOSPARSE_CACHE": str(folder / "cache-of-chaos")}
    with contextlib.ExitStack() as stack:
        if kind == "hosts":
            hosts = stack.enter_context(LocalHosts(folder, DELAY, LOSS, **variables))
            cut = {NODES[0]: "node 1 cut off", NODES[1]: "node 2 cut off"}
            cut |= {MLFLOW: "MLflow server cut off", STORE: "S3 server cut off"}
            network = hosts.network
            troubles = {
                fault: Trouble(partial(network.cut, host), partial(network.heal, host), 60.0)
                for host, fault in cut.items()
            }
            yield Site(hosts, hosts.mlflow, hosts.bucket("chaos"), troubles)
            return
        if kind == "s3":
            s3 = stack.enter_context(S3Server())
            results, variables = make_bucket(s3.where, "chaos"), variables | {"AUTOSPARSE_CACHE": str(folder / "cache")}
            troubles = {"S3 server that does not answer": Trouble(s3.stop, s3.go_on, 20.0)}
        else:
            disk = folder / "disk"
            full = stack.enter_context(small_disk(disk))
            results, troubles = str(disk / "results"), {"full disk": full} if full else {}
        server = MlflowServer(folder / "mlflow")
        stack.callback(server.kill)
        server.start(wait=False)
        cluster = stack.enter_context(LocalCluster(2, **variables))
        server.wait()
        yield Site(cluster, server, results, troubles)


@contextlib.contextmanager
def small_disk(folder: Path, size: int = DISK) -> Iterator[Trouble | None]:
    """Mount a disk of ``size`` bytes at ``folder``, and yield what fills it; None if nothing may be mounted here."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield Trouble(partial(_fill, folder / "filler"), (folder / "filler").unlink, 20.0)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(filler: Path) -> None:
    """Write until the disk is full."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):  # to the last byte
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
