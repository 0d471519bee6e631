import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from autosparse.errors import UnknownName
from autosparse.registry import Registry, first_line


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package ``zoo`` with a registry ANIMALS; ``add`` writes one more module into it."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from autosparse.registry import Registry\nANIMALS = Registry('animal', __name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def add(module, text):
        (folder / f"{module}.py").write_text(f"from zoo import ANIMALS\n{text}\n")

    def registry():
        import zoo

        return zoo.ANIMALS

    yield SimpleNamespace(add=add, registry=registry)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]


def test_a_new_file_is_a_new_member(package):
    package.add("cats", "ANIMALS.register('cat', 'meow')")
    assert package.registry()["cat"] == "meow"


def test_modules_are_imported_only_on_first_use(package):
    package.add("cats", "ANIMALS.register('cat', 'meow')")
    package.registry()
    assert "zoo.cats" not in sys.modules


def test_names_are_listed_in_alphabetical_order(package):
    package.add("a", "ANIMALS.register('owl', 1); ANIMALS.register('cat', 2)")
    package.add("b", "ANIMALS.register('dog', 3)")
    assert list(package.registry()) == ["cat", "dog", "owl"]


def test_contains_looks_into_the_modules(package):
    package.add("cats", "ANIMALS.register('cat', 'meow')")
    assert "cat" in package.registry()
    assert "dog" not in package.registry()


def test_unknown_name_suggests_the_nearest(package):
    package.add("cats", "ANIMALS.register('cat', 'meow')")
    with pytest.raises(UnknownName, match=r"unknown animal 'cta': did you mean 'cat'\?"):
        package.registry()["cta"]


def test_a_thread_waits_for_the_modules_that_another_one_imports(package):
    package.add("cats", "import time\ntime.sleep(0.2)\nANIMALS.register('cat', 'meow')")
    registry = package.registry()
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(registry.__getitem__, ["cat"] * 4)) == ["meow"] * 4


def test_same_name_twice_is_refused():
    registry = Registry("animal", "zoo")
    registry.register("cat", 1)
    with pytest.raises(ValueError, match="animal 'cat' is registered twice"):
        registry.register("cat", 2)


def test_a_module_that_cannot_be_imported_is_reported_at_every_use(package):
    package.add("broken", "raise ImportError('no such library')")
    registry = package.registry()
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            registry["cat"]


def test_a_module_that_failed_half_way_registers_the_same_name_again(package):
    broken = "def cat(): ...\nANIMALS.register('cat', {}, cat)"
    package.add("broken", f"{broken.format(1)}\nraise ImportError('no such library')")
    registry = package.registry()
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            registry["cat"]
    package.add("broken", broken.format(2))
    assert registry["cat"] == 2


def test_one_module_that_registers_a_name_twice_is_refused(package):
    package.add("cats", "def cat(): ...\nANIMALS.register('cat', 1, cat)\nANIMALS.register('cat', 2, cat)")
    with pytest.raises(ValueError, match="animal 'cat' is registered twice"):
        package.registry()["cat"]


def test_first_line_of_a_docstring():
    def member():
        """One line.

        And more.
        """

    assert first_line(member) == "One line."


def test_first_line_without_a_docstring_is_empty():
    assert first_line(lambda: None) == ""


def test_two_registries_that_load_at_the_same_time_wait_for_each_other_but_not_for_ever(monkeypatch):
    """Loading one may look a name up in the other, as a plugin does while Python imports it for both."""
    first, second = Registry[int]("first", "autosparse.models"), Registry[int]("second", "autosparse.models")
    both, imports = threading.Barrier(2, timeout=0.5), threading.RLock()

    def load_installed():
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()
        with imports:
            _ = "name" in first
            _ = "name" in second

    monkeypatch.setattr("autosparse.registry.load_installed", load_installed)
    threads = [threading.Thread(target=lambda r=r: "name" in r, daemon=True) for r in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
