"""The Kubernetes files: valid by Kubernetes' and KubeRay's schemas, closed to the outside, and without a secret."""

import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from cluster_files import CLUSTER, is_secret, load, load_all
from kuberay import KINDS, RayJob

FOLDERS = ("base", "raycluster", "rayjob")
COMPONENTS = ("object-store",)
"""Folders that are applied only if somebody asks for them."""
KUBERNETES = "1.31"


def resources(folder):
    """The objects of one folder's own files."""
    listed = load(f"kubernetes/{folder}/kustomization.yaml")["resources"]
    return [thing for name in listed if name.endswith(".yaml") for thing in load_all(f"kubernetes/{folder}/{name}")]


OBJECTS = [
    pytest.param(thing, id=f"{thing['kind']}-{thing['metadata']['name']}")
    for f in (*FOLDERS, *COMPONENTS)
    for thing in resources(f)
]


def named(kind, name=None):
    """The objects of a kind: all of them, or those with ``name``."""
    things = [p.values[0] for p in OBJECTS]
    return [t for t in things if t["kind"] == kind and name in (None, t["metadata"]["name"])]


def pod_templates(thing):
    """Pod templates anywhere in an object, with the labels that select them."""
    if isinstance(thing, dict):
        for key, inner in thing.items():
            if key in ("template", "submitterPodTemplate"):
                yield inner
            else:
                yield from pod_templates(inner)
    elif isinstance(thing, list):
        for inner in thing:
            yield from pod_templates(inner)


PODS = [
    pytest.param(template, id=f"{p.id}-{i}") for p in OBJECTS for i, template in enumerate(pod_templates(p.values[0]))
]


def check(thing):
    """Check by Kubernetes' own schema, and refuse unknown keys; an error names the key and the reason."""
    kubernetes_validate.validate(thing, KUBERNETES, strict=True)


@pytest.mark.parametrize("thing", OBJECTS)
def test_object_is_valid(thing):
    if thing["kind"] == "RayJob":  # its cluster is the RayCluster's, filled in by Kustomize
        thing = {**thing, "spec": {**thing["spec"], "rayClusterSpec": named("RayCluster")[0]["spec"]}}
    if thing["kind"] in KINDS:
        KINDS[thing["kind"]].model_validate(thing)
    else:
        check(thing)


@pytest.mark.parametrize("template", PODS)
def test_pod_is_valid(template):
    check({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "any"}, "template": template})


@pytest.mark.parametrize("template", PODS)
def test_pod_runs_without_root_within_limits(template):
    pod = template["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("template", PODS)
def test_secrets_come_from_the_secret(template):
    keys = {line.split("=")[0] for line in example_secrets() if "=" in line and not line.startswith("#")}
    for container in template["spec"]["containers"]:
        for variable in container.get("env", []):
            if is_secret(variable["name"]):
                reference = variable["valueFrom"]["secretKeyRef"]
                assert reference["name"] == "autosparse-secrets"
                assert reference["key"] in keys


def example_secrets():
    return (CLUSTER / "kubernetes" / "base" / "secrets.env.example").read_text().splitlines()


def test_nothing_is_open_without_a_rule():
    policies = [policy["spec"] for policy in named("NetworkPolicy")]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies


RAY, MLFLOW, POSTGRES, SUBMITTER, OPERATOR, STRANGER = (
    {"app.kubernetes.io/component": "ray"},
    {"app.kubernetes.io/name": "mlflow"},
    {"app.kubernetes.io/name": "postgres"},
    {"app.kubernetes.io/component": "submitter"},
    {"app.kubernetes.io/component": "kuberay-operator"},
    {"app": "anything"},
)


def test_pods_have_the_labels_that_the_rules_go_by():
    for labels in (RAY, MLFLOW, POSTGRES, SUBMITTER):
        assert any(labels.items() <= pod.values[0]["metadata"]["labels"].items() for pod in PODS), labels


@pytest.mark.parametrize(
    ("source", "target", "port", "open_"),
    [
        (RAY, RAY, 6379, True),
        (RAY, MLFLOW, 5000, True),
        (MLFLOW, POSTGRES, 5432, True),
        (SUBMITTER, RAY, 8265, True),
        (RAY, POSTGRES, 5432, False),
        (SUBMITTER, MLFLOW, 5000, False),
        (SUBMITTER, RAY, 6379, False),
        (MLFLOW, RAY, 8265, False),
        (POSTGRES, MLFLOW, 5000, False),
    ],
)
def test_pods_reach_each_other_where_a_rule_says_so_on_both_sides(source, target, port, open_):
    out = reaches("Egress", source, target, port, elsewhere=False)
    assert (out and reaches("Ingress", target, source, port, elsewhere=False)) == open_


def test_from_elsewhere_only_the_operator_gets_in_and_only_to_the_dashboard():
    assert reaches("Ingress", RAY, OPERATOR, 8265, elsewhere=True)
    assert not reaches("Ingress", RAY, OPERATOR, 6379, elsewhere=True)
    for pod in (RAY, MLFLOW, POSTGRES, SUBMITTER):
        for port in (5000, 5432, 6379, 8265):
            assert not reaches("Ingress", pod, STRANGER, port, elsewhere=True)


@pytest.mark.parametrize("pod", [RAY, MLFLOW, POSTGRES, SUBMITTER])
def test_every_pod_that_calls_another_may_ask_for_its_name(pod):
    assert reaches("Egress", pod, {"k8s-app": "kube-dns"}, 53, elsewhere=True) == (pod != POSTGRES)


METRICS = 8080
"""The port at which Ray, as KubeRay starts it, tells its metrics to whoever asks."""


def test_metrics_are_told_to_rays_own_pods_alone():
    assert reaches("Ingress", RAY, RAY, METRICS, elsewhere=False)
    for pod in (MLFLOW, POSTGRES, SUBMITTER, STRANGER):
        assert not reaches("Ingress", RAY, pod, METRICS, elsewhere=False)
    for pod in (OPERATOR, STRANGER):
        assert not reaches("Ingress", RAY, pod, METRICS, elsewhere=True)
    assert "--expose-prometheus" not in (CLUSTER / "kubernetes" / "base" / "mlflow.yaml").read_text()


def labels_of(group):
    return group["template"]["metadata"]["labels"]


def test_only_the_head_calls_outside_and_only_the_api_server():
    cluster = named("RayCluster")[0]["spec"]
    head, (worker,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    for port in (443, 6443):
        assert reaches("Egress", labels_of(head), STRANGER, port, elsewhere=True)
    for port in (22, 80, 443, 6443, 8080):
        for pod in (labels_of(worker), MLFLOW, POSTGRES, SUBMITTER):
            assert not reaches("Egress", pod, STRANGER, port, elsewhere=True), (pod, port)
    for port in (22, 80, 8080):
        assert not reaches("Egress", labels_of(head), STRANGER, port, elsewhere=True)


def test_the_component_lets_workers_call_object_stores():
    (policy,) = [thing for thing in resources("object-store") if thing["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= RAY.items()
    assert policy["spec"]["egress"][0] == {"ports": [{"protocol": "TCP", "port": 443}]}
    assert load("kubernetes/object-store/kustomization.yaml")["kind"] == "Component"


def test_rays_pods_log_in_as_a_user_who_is_not_the_administrator():
    cluster = named("RayCluster")[0]["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        env = {variable["name"]: variable for variable in container["env"]}
        assert env["MLFLOW_TRACKING_USERNAME"]["value"] == "autosparse"
        assert "mlflow_admin_password" not in str(container)
    (server,) = named("Deployment", "mlflow")[0]["spec"]["template"]["spec"]["containers"]
    assert server["lifecycle"]["postStart"]["exec"]["command"] == ["python", "/opt/autosparse/mlflow_user.py"]
    given = {v["name"]: v["valueFrom"]["secretKeyRef"]["key"] for v in server["env"] if "valueFrom" in v}
    key = env["MLFLOW_TRACKING_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"]
    assert given["MLFLOW_USER_PASSWORD"] == key != given["MLFLOW_AUTH_ADMIN_PASSWORD"]


def test_mlflow_is_where_ray_looks_for_it():
    (service,) = [service for service in named("Service") if service["metadata"]["name"] == "mlflow"]
    (port,) = service["spec"]["ports"]
    head = named("RayCluster")[0]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    (uri,) = [variable["value"] for variable in head["env"] if variable["name"] == "MLFLOW_TRACKING_URI"]
    assert uri == f"http://mlflow:{port['port']}"


def reaches(direction, pod, other, port, elsewhere):
    """Whether a policy of ``pod`` lets it talk with ``other``, in its own namespace or elsewhere, in one direction."""
    key, side = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    applied = [thing["spec"] for f in FOLDERS for thing in resources(f) if thing["kind"] == "NetworkPolicy"]
    for policy in applied:
        if not selects(policy["podSelector"], pod):
            continue
        for rule in policy.get(key, ()) if direction in policy["policyTypes"] else ():
            peers, ports = rule.get(side), [allowed["port"] for allowed in rule.get("ports", ())]
            met = peers is None or any(
                "podSelector" in peer
                and ("namespaceSelector" in peer) == elsewhere
                and peer["podSelector"].get("matchLabels", {}).items() <= other.items()
                for peer in peers
            )
            if met and (not ports or port in ports):
                return True
    return False


def selects(selector, pod):
    """Whether a pod with these labels is one that a selector means."""
    assert all(rule["operator"] == "NotIn" for rule in selector.get("matchExpressions", ()))
    return selector.get("matchLabels", {}).items() <= pod.items() and not any(
        pod.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ())
    )


def test_no_service_is_public():
    services = named("Service")
    assert [s["metadata"]["name"] for s in services] == ["postgres", "mlflow"]
    assert {s["spec"]["type"] for s in services} == {"ClusterIP"}
    assert named("RayCluster")[0]["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_ray_asks_for_a_token():
    auth = named("RayCluster")[0]["spec"]["authOptions"]
    assert auth == {"mode": "token", "secretName": "autosparse-secrets"}
    assert "auth_token=" in example_secrets()


def test_object_store_fits_its_memory():
    cluster = named("RayCluster")[0]["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        shm = next(v["emptyDir"] for v in pod["volumes"] if v["name"] == "shm")
        memory = pod["containers"][0]["resources"]["limits"]["memory"]
        assert shm["medium"] == "Memory"
        store = int(group["rayStartParams"]["object-store-memory"])
        assert store < gibibytes(shm["sizeLimit"]) < gibibytes(memory) / 2


def gibibytes(quantity):
    return int(quantity.removesuffix("Gi")) * 2**30


@pytest.mark.parametrize("folder", [*FOLDERS, *COMPONENTS])
def test_every_file_is_listed(folder):
    files = {path.name for path in (CLUSTER / "kubernetes" / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {name for name in load(f"kubernetes/{folder}/kustomization.yaml")["resources"] if "/" not in name}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A function that builds what ``kubectl apply -k`` of a folder would send, with planted secrets."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here to build the kustomizations with")
    folder = tmp_path_factory.mktemp("kustomize") / "kubernetes"
    shutil.copytree(CLUSTER / "kubernetes", folder)
    filled = [f"{line}planted" if line.endswith("=") else line for line in example_secrets()]
    (folder / "base" / "secrets.env").write_text("\n".join(filled))

    def build(name):
        ran = subprocess.run(["kubectl", "kustomize", folder / name], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return list(yaml.safe_load_all(ran.stdout))

    return build


def test_job_is_built_with_the_cluster_of_the_standing_one(built):
    job = next(thing for thing in built("rayjob") if thing["kind"] == "RayJob")
    cluster = next(thing for thing in built("raycluster") if thing["kind"] == "RayCluster")
    assert not [thing for thing in built("rayjob") if thing["kind"] == "RayCluster"]
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    RayJob.model_validate(job)


def test_built_objects_name_one_image_and_hold_secrets_in_the_secret_alone(built):
    objects = built("rayjob")
    text = [yaml.safe_dump(thing) for thing in objects if thing["kind"] != "Secret"]
    images = {c["image"] for thing in objects for t in pod_templates(thing) for c in t["spec"]["containers"]}
    assert len(images) == 2  # ours and Postgres'
    assert "autosparse" not in images
    assert not any("planted" in part for part in text)
    assert all(thing["metadata"].get("namespace", "autosparse") == "autosparse" for thing in objects)
