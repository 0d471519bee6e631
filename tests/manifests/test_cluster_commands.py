"""The commands in cluster/'s files and README exist, with the options that they are given."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster_files import CLUSTER, REPOSITORY, commands, load_all, strings
from typer.main import get_command

from autosparse.cli import app

YAMLS = sorted(str(path.relative_to(CLUSTER)) for path in CLUSTER.rglob("*.yaml"))
SCRIPTS = sorted(CLUSTER.rglob("*.sbatch"))
README = (CLUSTER / "README.md").read_text()


def mlflow_options():
    """Options in the source of MLflow's command line, which takes seconds to import."""
    mlflow = Path(find_spec("mlflow").origin).parent
    sources = [mlflow / "cli" / "__init__.py", mlflow / "utils" / "cli_args.py"]
    return {option for source in sources for option in re.findall(r'"(--[a-z-]+)"', source.read_text())}


@pytest.fixture(scope="module")
def check(installed):
    """A function that takes the words of a command, and raises if it or one of its options does not exist."""
    known = {command: {*options, "--help"} for command, options in installed["options"].items()}
    for name, command in get_command(app).commands.items():
        known[f"autosparse {name}"] = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    known["ray symmetric-run"] |= known["ray start"]
    known["mlflow server"] = mlflow_options()

    def call(words):
        own = words[: words.index("--")] if "--" in words else words
        name = next((" ".join(own[:n]) for n in (2, 3) if " ".join(own[:n]) in known), None)
        assert name, f"no such command: {' '.join(own)}"
        asked = {word.split("=")[0] for word in own if word.startswith("-")}
        assert asked <= known[name], f"{name}: no {sorted(asked - known[name])}"
        for inner in commands(shlex.join(words[len(own) + 1 :])):
            call(inner)

    return call


@pytest.mark.parametrize("path", YAMLS)
def test_commands_in_yaml_exist(path, check):
    for document in load_all(path):
        for text in strings(document):
            if re.search(r"\b(ray|mlflow|autosparse) \w", text) and not text.startswith("#"):
                for words in commands(text):
                    check(words)


def test_commands_in_the_readme_exist(check):
    lines = [line.strip() for line in re.findall(r"(?m)^    (\S.+)$", README)]
    found = [words for line in lines for words in commands(line)]
    assert {words[0] for words in found} == {"ray", "autosparse"}
    for words in found:
        check(words)


def test_files_that_the_readme_names_exist():
    for name in set(re.findall(r"(?<!/)\bcluster/[\w./-]+\w", README)):
        assert (REPOSITORY / name).exists() or name.endswith(("/.env", "/secrets.env")), name


def test_ray_start_parameters_of_the_pods_exist(check):
    (cluster,) = load_all("kubernetes/raycluster/raycluster.yaml")
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        check(["ray", "start", *(f"--{name}" for name in group["rayStartParams"])])


def tool(name):
    """The path of a linter that the development extra installs beside this Python, or of another on the PATH."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if not found:
        pytest.skip(f"no {name} for this platform")
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_passes_shellcheck(script):
    ran = subprocess.run([tool("shellcheck"), "--severity=style", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_dockerfile_passes_hadolint():
    ran = subprocess.run([tool("hadolint"), CLUSTER / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["docker/.env", "kubernetes/base/secrets.env"])
def test_git_ignores_the_files_of_secrets(name):
    ran = subprocess.run(["git", "check-ignore", "--quiet", f"cluster/{name}"], cwd=REPOSITORY)
    assert ran.returncode == 0
