"""The compose file: its keys, where its values come from, and who can reach it."""

import re
import shutil
import subprocess
from typing import Annotated, Any, Literal

import pytest
from cluster_files import CLUSTER, is_secret, load
from pydantic import BaseModel, ConfigDict, StringConstraints

Loopback = Annotated[str, StringConstraints(pattern=r"^127\.0\.0\.1:\d+:\d+$")]
Duration = Annotated[str, StringConstraints(pattern=r"^\d+(s|m)$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Build(Strict):
    context: str
    dockerfile: str


class Condition(Strict):
    condition: Literal["service_healthy", "service_completed_successfully"]


class Healthcheck(Strict):
    test: list[str]
    interval: Duration
    timeout: Duration
    retries: int


class Devices(Strict):
    driver: Literal["nvidia"]
    count: Literal["all"] | int
    capabilities: list[Literal["gpu"]]


class Deploy(Strict):
    replicas: int
    resources: dict[Literal["reservations"], dict[Literal["devices"], list[Devices]]] = {}


class Service(Strict):
    image: str | None = None
    build: Build | None = None
    command: str | None = None
    environment: dict[str, str] = {}
    volumes: list[str] = []
    ports: list[Loopback] = []
    networks: list[str] = []
    depends_on: dict[str, Condition] = {}
    healthcheck: Healthcheck | None = None
    deploy: Deploy | None = None
    shm_size: str | None = None
    cap_drop: list[str] = []
    security_opt: list[str] = []
    restart: str | None = None
    stop_grace_period: Duration | None = None


class Compose(BaseModel):
    """The file; keys that start with ``x-`` are for anchors."""

    model_config = ConfigDict(extra="allow", strict=True)
    name: str | None = None
    services: dict[str, Service]
    networks: dict[str, dict[str, bool]] = {}
    volumes: dict[str, dict[str, Any]] = {}


FILE = "docker/compose.yaml"
TEXT = (CLUSTER / FILE).read_text()


def names_in(path):
    return set(re.findall(r"(?m)^(\w+)=", (CLUSTER / path).read_text()))


@pytest.mark.parametrize("path", [FILE, "docker/compose.gpu.yaml"])
def test_file_is_valid(path):
    compose = Compose.model_validate(load(path))
    assert all(key.startswith("x-") for key in compose.model_extra)
    for service in compose.services.values():
        assert set(service.depends_on) <= set(load(FILE)["services"])
        assert set(service.networks) <= set(compose.networks)
        for needed, how in service.depends_on.items():
            assert bool(compose.services[needed].healthcheck) == (how.condition == "service_healthy")
        mounted = {volume.split(":")[0] for volume in service.volumes if re.match(r"\w", volume)}
        assert mounted <= set(compose.volumes)


def test_there_are_a_head_two_workers_and_mlflow_with_postgres():
    services = load(FILE)["services"]
    assert set(services) == {"head", "worker", "mlflow", "mlflow-user", "postgres"}
    assert services["worker"]["deploy"]["replicas"] == 2


def test_variables_are_in_the_files_that_the_command_names():
    given = names_in("versions.env") | names_in("docker/.env.example")
    assert set(re.findall(r"\$\{(\w+)", TEXT)) <= given


def test_secrets_are_asked_for_and_never_written():
    for service in load(FILE)["services"].values():
        for name, value in service["environment"].items():
            if is_secret(name):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name
    example = (CLUSTER / "docker" / ".env.example").read_text()
    assert all(value == "" for name, value in re.findall(r"(?m)^(\w+)=(.*)$", example) if is_secret(name))


def test_ray_logs_in_to_mlflow_as_a_user_who_is_not_the_administrator_and_is_made_before():
    services = load(FILE)["services"]
    for name in ("head", "worker"):
        environment = services[name]["environment"]
        assert environment["MLFLOW_TRACKING_USERNAME"] == "autosparse"
        assert environment["MLFLOW_TRACKING_PASSWORD"] == services["mlflow-user"]["environment"]["MLFLOW_USER_PASSWORD"]
        assert "ADMIN" not in str(environment)
    assert services["head"]["depends_on"] == {"mlflow-user": {"condition": "service_completed_successfully"}}
    assert services["mlflow-user"]["environment"]["MLFLOW_SERVER"] == "http://mlflow:5000"
    dockerfile = (CLUSTER / "docker" / "Dockerfile").read_text()
    assert "COPY cluster/docker/mlflow_user.py ./" in dockerfile
    assert services["mlflow-user"]["command"] == "python /opt/autosparse/mlflow_user.py"


def test_metrics_are_not_published():
    published = [port for service in load(FILE)["services"].values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8265:8265", "127.0.0.1:5000:5000"]
    assert "--expose-prometheus" not in TEXT


def test_build_finds_its_files():
    build = load(FILE)["services"]["head"]["build"]
    context = (CLUSTER / "docker" / build["context"]).resolve()
    dockerfile = (context / build["dockerfile"]).read_text()
    for sources in re.findall(r"(?m)^COPY (.+) \S+$", dockerfile):
        for source in sources.split():
            assert (context / source).exists()
            allowed = (context / ".dockerignore").read_text().split()
            assert f"!{source}" in allowed


@pytest.mark.parametrize("beside", [(), ("docker/compose.gpu.yaml",)], ids=["alone", "with GPUs"])
def test_docker_accepts_the_file(tmp_path, beside):
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker compose here")
    secrets = tmp_path / ".env"
    secrets.write_text(re.sub(r"(?m)^(\w+)=$", r"\1=planted", (CLUSTER / "docker" / ".env.example").read_text()))
    files = [part for path in (FILE, *beside) for part in ("--file", CLUSTER / path)]
    files += ["--env-file", CLUSTER / "versions.env", "--env-file", secrets]
    ran = subprocess.run(["docker", "compose", *files, "config", "--quiet"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
