#!/usr/bin/env python
"""Keep the names and versions under cluster/ equal to cluster/versions.env, and that to requirements.lock.

python scripts/cluster_versions.py                              write them
python scripts/cluster_versions.py --image REGISTRY/NAME:TAG    the same, with your image
python scripts/cluster_versions.py --check                      change nothing; exit 1 if they differ
"""

import argparse
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

LOCKED = {"CUDA_VERSION": "cuda-toolkit", "RAY_VERSION": "ray"}
"""The package of requirements.lock that determines each version."""

IMAGE = r"(?m)^docker:\n  image: (\S+)$"
KUSTOMIZED = r"\{name: autosparse, (newName: \S+, newTag: \S+)\}"

PLACES = [
    ("docker/Dockerfile", r"(?m)^ARG CUDA_VERSION=(\S+)$", "{CUDA_VERSION}"),
    ("docker/Dockerfile", r"(?m)^ARG CUDA_DIGEST=(\S*)$", "{CUDA_DIGEST}"),
    ("docker/Dockerfile", r"(?m)^ARG PYTHON_VERSION=(\S+)$", "{PYTHON_VERSION}"),
    ("docker/Dockerfile", r"(?m)^ARG UV_VERSION=(\S+)$", "{UV_VERSION}"),
    ("ray/aws.yaml", IMAGE, "{IMAGE}"),
    ("ray/gcp.yaml", IMAGE, "{IMAGE}"),
    ("kubernetes/base/kustomization.yaml", KUSTOMIZED, "newName: {NAME}, newTag: {TAG}"),
    ("kubernetes/raycluster/kustomization.yaml", KUSTOMIZED, "newName: {NAME}, newTag: {TAG}"),
    ("kubernetes/rayjob/kustomization.yaml", KUSTOMIZED, "newName: {NAME}, newTag: {TAG}"),
    ("kubernetes/raycluster/raycluster.yaml", r"(?m)^  rayVersion: (\S+)$", "{RAY_VERSION}"),
    ("kubernetes/base/postgres.yaml", r"(?m)^\s+image: (\S+)$", "{POSTGRES_IMAGE}"),
]
"""File under cluster/, a pattern whose group is the value, and the value."""


def read_env(path: Path) -> dict[str, str]:
    """The values of ``NAME=value`` lines, by name."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def expected(repository: Path, image: str | None = None) -> dict[str, str]:
    """Every name and version: chosen in versions.env, or found where it is pinned."""
    values = read_env(repository / "cluster" / "versions.env")
    lock = (repository / "requirements.lock").read_text()
    was = values["CUDA_VERSION"]
    for name, package in LOCKED.items():
        values[name] = _only(rf"(?m)^{package}==([^\s;]+)", lock, f"{package} in requirements.lock")
    if values["CUDA_VERSION"] != was:
        values["CUDA_DIGEST"] = ""  # it belongs to another image, and Docker prefers a digest to a tag
    values["UV_VERSION"] = _only(
        r"(?m)^UV_VERSION := (\S+)", (repository / "Makefile").read_text(), "the Makefile's uv"
    )
    return {**values, "IMAGE": image or values["IMAGE"]}


def differences(repository: Path, values: dict[str, str]) -> dict[Path, str]:
    """The right content of each file that differs."""
    folder = repository / "cluster"
    name, colon, tag = values["IMAGE"].rpartition(":")
    if not colon or "/" in tag:
        raise SystemExit(f"error: image {values['IMAGE']!r} has no tag: write NAME:TAG")
    shown = {**values, "NAME": name, "TAG": tag}
    texts: dict[Path, str] = {}
    env = folder / "versions.env"
    texts[env] = re.sub(r"(?m)^(\w+)=.*$", lambda line: f"{line[1]}={values[line[1]]}", env.read_text())
    for file, pattern, value in PLACES:
        path = folder / file
        text = texts.get(path) or path.read_text()
        _only(pattern, text, f"{pattern} in {path}")
        found = re.compile(pattern).search(text)
        assert found
        texts[path] = f"{text[: found.start(1)]}{value.format(**shown)}{text[found.end(1) :]}"
    return {path: text for path, text in texts.items() if text != path.read_text()}


def _only(pattern: str, text: str, what: str) -> str:
    found = set(re.findall(pattern, text))
    if len(found) != 1:
        raise SystemExit(f"error: {what}: {'not found' if not found else f'several: {sorted(found)}'}")
    return str(found.pop())


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="NAME:TAG of the image that every node runs")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if something differs")
    options = parser.parse_args()
    changed = differences(REPOSITORY, expected(REPOSITORY, options.image))
    for path, text in changed.items():
        if not options.check:
            path.write_text(text)
        print(f"{'differs' if options.check else 'written'}: {path.relative_to(REPOSITORY)}", file=sys.stderr)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
