"""Names and versions under cluster/ are those of versions.env, and those of the lock file."""

import shutil
import subprocess
import sys

import pytest
from cluster_files import REPOSITORY

COPIED = ("cluster", "scripts", "requirements.lock", "Makefile")


def run(folder, *arguments):
    script = folder / "scripts" / "cluster_versions.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for name in COPIED:
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def test_files_match_the_lock_file():
    ran = run(REPOSITORY, "--check")
    assert ran.returncode == 0, f"{ran.stderr}run: python scripts/cluster_versions.py"


def test_another_lock_file_is_noticed_and_followed(copy):
    lock = copy / "requirements.lock"
    lock.write_text(lock.read_text().replace("\nray==", "\nray==9."))
    assert "raycluster.yaml" in run(copy, "--check").stderr
    assert run(copy).returncode == 0
    assert run(copy, "--check").returncode == 0
    assert "rayVersion: 9." in (copy / "cluster" / "kubernetes" / "raycluster" / "raycluster.yaml").read_text()


def test_image_is_set_everywhere_by_one_command(copy):
    assert run(copy, "--image", "ghcr.io/me/pruning:2").returncode == 0
    text = [path.read_text() for path in (copy / "cluster").rglob("*") if path.suffix in (".yaml", ".env")]
    assert not any("registry.example.org" in part for part in text)
    assert sum("pruning" in part for part in text) == 6


def test_postgres_may_come_from_a_mirror(copy):
    env = copy / "cluster" / "versions.env"
    env.write_text(env.read_text().replace("=postgres:", "=mirror.example.org/postgres:"))
    for _ in range(2):
        assert run(copy).returncode == 0
    assert "image: mirror." in (copy / "cluster" / "kubernetes" / "base" / "postgres.yaml").read_text()
    assert run(copy, "--check").returncode == 0


def test_images_from_elsewhere_may_be_pinned_by_digest_until_their_version_changes(copy):
    env, digest = copy / "cluster" / "versions.env", f"@sha256:{'0123456789abcdef' * 4}"
    text = env.read_text().replace("\nCUDA_DIGEST=\n", f"\nCUDA_DIGEST={digest}\n")
    env.write_text(text.replace("-bookworm\n", f"-bookworm{digest}\n"))
    for _ in range(2):
        assert run(copy).returncode == 0
    assert run(copy, "--check").returncode == 0
    assert f"-bookworm{digest}\n" in (copy / "cluster" / "kubernetes" / "base" / "postgres.yaml").read_text()
    dockerfile = copy / "cluster" / "docker" / "Dockerfile"
    assert f"\nARG CUDA_DIGEST={digest}\n" in dockerfile.read_text()
    lock = copy / "requirements.lock"
    lock.write_text(lock.read_text().replace("\ncuda-toolkit==", "\ncuda-toolkit==9"))
    assert run(copy).returncode == 0
    assert "\nARG CUDA_DIGEST=\n" in dockerfile.read_text()
    assert "\nCUDA_DIGEST=\n" in env.read_text()


def test_image_without_a_tag_is_refused(copy):
    assert "has no tag" in run(copy, "--image", "localhost:5000/pruning").stderr
