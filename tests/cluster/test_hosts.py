"""A grid whose driver, nodes, MLflow and store have their own hosts, on a slow network that loses packets or is cut."""

import os
import time

import pytest
from commands import GRID, IRP, Work, ended, wait_for
from faults.experiment import FAST, PLUGIN, set_pace
from local_hosts import NODES, LocalHosts
from local_network import why_no_network

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

DELAY, LOSS = 0.1, 0.02
"""Seconds that a packet takes, which is 200 ms there and back, and the share that gets lost."""
AWAY = 60
"""Seconds for which a host is cut off."""
SLOW = "4"
"""Seconds that a cell waits, so that work is left when the host is back."""
LONG = 900
"""Seconds for a run."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    if reason := why_no_network():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "chaos_plugin.py").write_text(PLUGIN)
    variables = {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "AUTOSPARSE_CHAOS_PACE": str(folder / "pace"),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "300",  # a busy machine, with this network, needs more than the usual 30 s
    }
    with LocalHosts(folder, DELAY, LOSS, **variables) as hosts:
        yield hosts


class HostsWork(Work):
    """An experiment whose results are in a bucket, and that is logged to a server, on other hosts than the driver's."""

    def __init__(self, folder, hosts, content):
        self.hosts = hosts
        super().__init__(folder, content, hosts.mlflow.uri, hosts.bucket(content["name"]))

    def begin(self):
        """Start ``autosparse run`` with two jobs at a time, in the background."""
        return self.start("--json", "--workers", "2", cluster=self.hosts)

    def assert_nothing_else(self):
        """Check that nothing failed, was set aside or is left under way; the same command finds everything done."""
        kept = {name.split("/")[0] for name in self.store.place.names(deep=True)}
        assert not kept & {"failed", "states", "superseded"}
        assert self.run(cluster=self.hosts)["found"] == len(list(self.plan))
        self.assert_each_once()


def test_with_200_ms_and_2_percent_loss_between_hosts_results_are_those_of_one_process(hosts, tmp_path):
    methods = ["snip", {"criterion": "autos", "scorer": "mine"}]
    content = {"name": "slow-network", "irp": IRP, "scorers": {"mine": {"irp": "snip", "epochs": 2}}}
    work = HostsWork(tmp_path, hosts, {**content, "grid": {**GRID, "methods": methods}})
    before = hosts.network.set(DELAY, LOSS)
    code, _, err = ended(work.begin(), LONG)
    assert code == 0, err
    after = hosts.network.set(DELAY, LOSS)
    assert after["lost"] > before["lost"]
    work.assert_each_once()
    work.assert_cells_as_alone([0, 3, 4, 7])
    work.assert_nothing_else()


@pytest.mark.parametrize("cut", [NODES[0], "mlflow"])
def test_a_host_that_is_cut_off_for_a_minute_costs_nothing(hosts, tmp_path, monkeypatch, cut):
    monkeypatch.syspath_prepend(hosts.folder)
    grid = {**GRID, "methods": ["chaos-random"], "seeds": list(range(48))}
    work = HostsWork(tmp_path, hosts, {"name": f"without-{cut}", "plugins": ["chaos_plugin"], "grid": grid})
    set_pace(hosts.folder / "pace", SLOW)
    process = work.begin()
    wait_for(lambda: len(work.nodes()) == 2, process, LONG)
    before = hosts.network.cut(cut)
    time.sleep(AWAY)
    assert hosts.network.heal(cut)["cut"] > before["cut"]
    assert work.finished() < 48
    set_pace(hosts.folder / "pace", FAST)
    code, _, err = ended(process, LONG)
    assert code == 0, err
    work.assert_each_once()
    work.assert_cells_as_alone(range(0, 48, 6))
    work.assert_nothing_else()
