"""The files for ``ray up``: valid by Ray's own schema with its defaults, closed to the outside, and authenticated."""

import pytest
from cluster_files import CLUSTER, load, strings

FILES = ("aws", "gcp", "on-premise")


@pytest.fixture(params=FILES)
def config(request):
    return load(f"ray/{request.param}.yaml")


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file_with_its_defaults_and_refuses_a_wrong_key(name, installed):
    assert installed["launcher"][name]["refusal"] is None
    assert "max_worker" in installed["launcher"][name]["refusal_of_a_wrong_key"]


def test_every_node_starts_ray_with_the_token(config):
    environment = " ".join(config.get("docker", {}).get("run_options", []))
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = f"{environment} {config[commands][-1]}"
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_AUTH_TOKEN_PATH=/shared/.ray/auth_token" in start
        assert "--disable-usage-stats" in start


def test_dashboard_listens_to_the_head_alone(config):
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert not any("0.0.0.0" in text for text in strings(config))


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_head_is_on_demand_and_workers_are_spot(name):
    types = load(f"ray/{name}.yaml")["available_node_types"]
    spot = {"aws": ("InstanceMarketOptions", {"MarketType": "spot"}), "gcp": ("provisioningModel", "SPOT")}[name]
    head, workers = types["head"]["node_config"], types["gpu-spot"]["node_config"]
    assert types["head"]["max_workers"] == 0
    assert spot[0] not in str(head)
    where = workers if name == "aws" else workers["scheduling"][0]
    assert where[spot[0]] == spot[1]
    assert types["gpu-spot"]["resources"]["GPU"] > 0
    assert types["gpu-spot"]["min_workers"] < types["gpu-spot"]["max_workers"]


def test_a_list_of_hosts_is_started_whole():
    """Ray's newer autoscaler counts the head among the least number of workers, and would leave one host out."""
    start = load("ray/on-premise.yaml")["head_start_ray_commands"][-1]
    assert start.index("RAY_enable_autoscaler_v2=0 ") < start.index("ray start")


def test_what_is_left_out_is_no_part_of_the_package():
    excluded = load("ray/on-premise.yaml")["rsync_exclude"]
    inside = {path.name for path in (CLUSTER.parent / "autosparse").rglob("*")}
    assert "data" in inside, "a package and a folder of data sets have the name"
    assert not {pattern for pattern in excluded if not pattern.startswith("/")} & inside


@pytest.mark.parametrize("tool", ["openssh-client", "rsync", "tmux"])
def test_the_image_has_what_the_launcher_calls_in_it(tool):
    installed = (CLUSTER / "docker" / "Dockerfile").read_text().partition("apt-get install")[2].partition("&&")[0]
    assert tool in installed.split()
