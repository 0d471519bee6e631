"""The checks behind ``autosparse doctor``."""

import importlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autosparse.data import data_root, load_dataset
from autosparse.errors import AutosparseError, first_line, safe_uri
from autosparse.experiment.environment import PACKAGES, describe_environment
from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``ok`` is None for something absent that not everyone needs."""

    check: str
    ok: bool | None
    detail: str


def checkup(uri: str | None, root: Path | None, address: str | None, skip_ray: bool) -> list[Finding]:
    """All findings, in the order in which to read them."""
    findings = [*_packages(), _devices(), _mlflow(uri)]
    if not skip_ray:
        findings.append(_ray(address))
    return [*findings, *_data(data_root(root))]


def _packages() -> Iterator[Finding]:
    versions = describe_environment()["versions"]
    yield Finding(
        "python", (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) < (3, 14), versions["python"]
    )
    for name in PACKAGES:
        try:
            importlib.import_module({"scikit-learn": "sklearn"}.get(name, name))
            yield Finding(name, True, versions[name])
        except Exception as error:
            yield Finding(name, False, f"{versions[name]}, does not import: {error}")


def _devices() -> Finding:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("devices", True, f"{len(os.sched_getaffinity(0))} CPU cores, {', '.join(gpus) or 'no GPU'}")


def _mlflow(uri: str | None) -> Finding:
    try:
        from autosparse.tracking.client import all_experiments, connect, sqlite_path, tracking_uri
    except Exception as error:  # whatever prevents the import is the finding
        return Finding("mlflow store", False, f"MLflow does not import: {error}")
    where = tracking_uri(uri)
    database = sqlite_path(where)
    if database and not database.exists():
        return Finding("mlflow store", None, f"{where} does not exist yet; the first run creates it")
    try:
        experiments = list(all_experiments(connect(where)))
    except AutosparseError as error:
        return Finding("mlflow store", False, str(error))
    return Finding("mlflow store", True, f"{safe_uri(where)} answers, {len(experiments)} experiments")


def _ray(address: str | None) -> Finding:
    try:
        with ray_session(Settings(address=address)):
            import ray

            answer = ray.get(ray.remote(platform.node).remote(), timeout=60)
            resources = ray.cluster_resources()
    except Exception as error:
        return Finding("ray", False, first_line(error))
    shown = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    return Finding("ray", True, f"{address or 'a local session'} answers from {answer}: {shown}")


def _data(root: Path) -> Iterator[Finding]:
    yield Finding("data root", root.is_dir() or None, str(root.absolute()))
    for name in ("digits", "mnist"):
        try:
            dataset = load_dataset(name, root)
            yield Finding(name, True, f"{len(dataset.train)} + {len(dataset.test)} images of {dataset.input_shape}")
        except AutosparseError as error:
            yield Finding(name, None, str(error))
    for folder in sorted({path.parent for path in root.glob("*/train-*.parquet")}):  # decoding them takes too long
        yield Finding(f"parquet:{folder.name}", True, f"{len(list(folder.glob('*.parquet')))} files")
