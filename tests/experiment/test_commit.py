"""The git commit of the code: from the checkout, else from what the build told, else unknown."""

import subprocess

import pytest

from autosparse.experiment import commit


def git(folder, *arguments):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one tracked file, which the module takes for itself."""
    source = tmp_path / "commit.py"
    source.write_text("")
    git(tmp_path, "init")
    git(tmp_path, "add", "commit.py")
    git(tmp_path, "commit", "--message", "first")
    monkeypatch.setattr(commit, "__file__", str(source))
    monkeypatch.setattr(commit, "TOLD", tmp_path / "commit.txt")
    return tmp_path


def test_a_checkout_tells_its_own_commit(checkout):
    assert commit.git_commit() == git(checkout, "rev-parse", "HEAD")


def test_local_changes_make_it_dirty(checkout):
    (checkout / "commit.py").write_text("changed")
    assert commit.git_commit().endswith("+dirty")


def test_a_package_inside_another_repository_tells_what_its_build_told(checkout, monkeypatch):
    monkeypatch.setattr(commit, "__file__", str(checkout / "untracked.py"))
    (checkout / "commit.txt").write_text("abc123\n")
    assert commit.git_commit() == "abc123"


def test_nothing_told_is_unknown(checkout, monkeypatch):
    monkeypatch.setattr(commit, "__file__", str(checkout / "untracked.py"))
    assert commit.git_commit() == "unknown"
