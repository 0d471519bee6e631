"""What all tests share: one thread, real data if it is at hand, one Ray session."""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autosparse.runner.driver.stopping import heed_signals

REPOSITORY = Path(__file__).parents[1]


def pytest_configure():
    heed_signals()
    torch.set_num_threads(1)
    with contextlib.suppress(ModuleNotFoundError):  # the tests marked gpu do without
        from hypothesis import settings

        settings.register_profile("autosparse", deadline=None, max_examples=30, derandomize=True)
        settings.register_profile("explore", deadline=None, max_examples=100)  # new examples each time: make test-all
        settings.load_profile("autosparse")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # tests never write to the user's server
    os.environ.pop("RAY_ADDRESS", None)
    for name in [name for name in os.environ if name.startswith("AWS_")]:  # nor to the user's buckets
        del os.environ[name]
    nobody = {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "planted-and-looked-for",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    os.environ.update(nobody, AUTOSPARSE_CACHE=tempfile.mkdtemp(prefix="autosparse-tests-"))


def pytest_unconfigure():
    shutil.rmtree(os.environ["AUTOSPARSE_CACHE"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items):
    for item in items:
        if "wheel" in item.fixturenames:  # in one process, which builds it once
            item.add_marker(pytest.mark.xdist_group("wheel"))
        if "ray_running" in item.fixturenames:  # in two processes, each of which starts one Ray
            item.add_marker(pytest.mark.xdist_group("ray-cli" if item.path.parent.name == "cli" else "ray"))


@pytest.fixture(scope="session")
def data_root():
    """The folder of real data sets: AUTOSPARSE_DATA, else ../shared/data beside the repository."""
    root = Path(os.environ.get("AUTOSPARSE_DATA") or REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is absent; set AUTOSPARSE_DATA")
    return root


@pytest.fixture(scope="session")
def ray_running():
    """One local Ray with two workers for the whole test session."""
    from autosparse.runner.driver.session import ray_session
    from autosparse.runner.settings import Settings

    with ray_session(Settings(workers=2)):
        yield


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once():
    """Let each test process read MLflow's migrations once: every connection to a store reads all of their files."""
    try:
        from alembic.script import ScriptDirectory
    except ModuleNotFoundError:  # the tests marked gpu do without MLflow
        yield
        return
    read, known = ScriptDirectory.from_config, {}

    def from_config(config):
        where = config.get_main_option("script_location")
        if where not in known:
            known[where] = read(config)
        return known[where]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Copies an empty MLflow store into a folder, and returns its address: MLflow takes seconds to make a schema."""
    from autosparse.tracking.client import connect

    made = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{made}")

    def copied(folder):
        return f"sqlite:///{shutil.copy(made, folder / 'mlflow.db')}"

    return copied


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(tmp_path, empty_store):
    """The client of an empty MLflow store."""
    from autosparse.tracking.client import connect

    return connect(empty_store(tmp_path))


@pytest.fixture
def store(tmp_path):
    """An empty storage of results."""
    from autosparse.experiment.store import Store

    return Store(tmp_path / "results")


@pytest.fixture
def settings(tmp_path, empty_store):
    """Settings with an empty storage of results and an empty MLflow store."""
    from autosparse.runner.settings import Settings

    return Settings(storage=tmp_path / "results", tracking_uri=empty_store(tmp_path))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The built wheel, unpacked; beside it, ``commit.txt`` has the commit of the checkout."""
    from autosparse.experiment.commit import checked_out

    folder = tmp_path_factory.mktemp("wheel")
    (folder / "commit.txt").write_text(checked_out() or "")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    zipfile.ZipFile(file).extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Calls ``autosparse``, or with ``python=`` a script, in a folder and an environment that has the wheel.

    ``given=`` is what the call reads from stdin. The environment's other packages are those of this one; the checkout
    is not on its path.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    places = dict.fromkeys([str(wheel), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "packages.pth").write_text("\n".join(places) + "\n")
    command = folder / "bin" / "autosparse"
    command.write_text(f"#!{folder}/bin/python\nfrom autosparse.cli import main\nmain()\n")
    command.chmod(0o755)
    alone = {"COLUMNS": "160", "OMP_NUM_THREADS": "1", "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}

    def call(cwd, *arguments, python=None, given=None):
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        run = [command, *arguments] if python is None else [folder / "bin" / "python", "-P", "-c", python, *arguments]
        return subprocess.run(
            run, cwd=cwd, env=environment | alone, input=given, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture(scope="session")
def s3():
    """Makes an empty bucket on an S3 server that ends with the session, and returns the address of a prefix in it."""
    sys.path.append(str(Path(__file__).parents[1] / "scripts"))
    from local_s3 import make_bucket, s3_server

    with s3_server() as where:
        yield lambda name: make_bucket(where, name)


@pytest.fixture(scope="session")
def digits():
    from autosparse.data import load_dataset

    return load_dataset("digits")


@pytest.fixture(scope="session")
def tiny_digits(digits):
    """The first 200 training and 90 test images of the digits: an epoch takes milliseconds."""

    def first(split, count):
        return replace(split, images=split.images[:count], labels=split.labels[:count])

    return replace(digits, name="tiny digits", train=first(digits.train, 200), test=first(digits.test, 90))
