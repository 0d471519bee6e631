"""What Ray and MLflow would tell others, or let others do, is off or on loopback unless the user asks for it."""

import os

from autosparse.runner.driver.session import QUIET, ray_session
from autosparse.runner.settings import Settings


def test_a_local_ray_has_no_dashboard_and_asks_for_its_token(ray_running):
    import ray

    node = ray._private.worker._global_node
    assert not node.webui_url
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_ray_and_mlflow_report_no_usage_from_workers_either(ray_running):
    import ray

    @ray.remote
    def ask():
        from mlflow.telemetry.utils import is_telemetry_disabled
        from ray._common.usage.usage_lib import usage_stats_enabled

        return usage_stats_enabled(), is_telemetry_disabled()

    assert ray.get(ask.remote()) == (False, True)
    assert ray.get(ray.remote(lambda: {name: os.environ[name] for name in QUIET}).remote()) == QUIET


def test_a_user_may_turn_reports_on(ray_running, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with ray_session(Settings()):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"


def test_mlflows_server_listens_on_loopback_unless_told_otherwise():
    from mlflow.cli import cli

    [host] = [option for option in cli.commands["server"].params if option.name == "host"]
    assert host.default == "127.0.0.1"


def test_the_dashboard_of_a_cluster_listens_on_loopback_unless_told_otherwise():
    from ray.scripts.scripts import cli

    [host] = [option for option in cli.commands["start"].params if option.name == "dashboard_host"]
    assert host.default in ("127.0.0.1", "localhost")
