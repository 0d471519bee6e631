"""Fingerprints of the user's own code: what counts, and what does not."""

import sys
from collections import ChainMap

import pytest

from autosparse.autos.backbones import BACKBONES
from autosparse.criteria.features import FEATURES, Feature
from autosparse.experiment.sources import code_of, functions_of, look_again, source_fingerprint
from autosparse.experiment.space import Downstream, SweepTask
from autosparse.experiment.tasks import Cell, FitSpec, IrpTask, ScorerTask

FILES = {
    "own_pack/__init__.py": "",
    "own_pack/nets.py": "from .layers import WIDTH\nfrom . import parts\ndef f():\n    import own_late\n",
    "own_pack/layers.py": "WIDTH = 8\n",
    "own_pack/parts.py": "import own_other.deep\n",
    "own_pack/unused.py": "X = 1\n",
    "own_late.py": "X = 1\n",
    "own_other/__init__.py": "X = 1\n",
    "own_other/deep.py": "X = 1\n",
}


@pytest.fixture
def modules_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    look_again()  # other tests have modules of these names, too
    yield tmp_path
    look_again()


def fingerprint(module="own_pack.nets"):
    look_again()
    return source_fingerprint(module)


@pytest.mark.parametrize("name", [name for name in FILES if name != "own_pack/unused.py"])
def test_a_module_of_the_users_that_is_imported_counts_wherever_it_is_imported(modules_folder, name):
    before = fingerprint()
    (modules_folder / name).write_text(FILES[name] + "Y = 2\n")
    assert fingerprint() != before


def test_a_module_that_is_not_imported_does_not_count(modules_folder):
    before = fingerprint()
    (modules_folder / "own_pack/unused.py").write_text("X = 2\n")
    assert fingerprint() == before


@pytest.mark.parametrize("text", [
    "'''What it holds.'''\nWIDTH = 8\n", "WIDTH = 8  # wide\n", "WIDTH = (\n    8\n)\n", "\n\nWIDTH=8"
])  # fmt: skip
def test_comments_docstrings_and_formatting_do_not_count(modules_folder, text):
    before = fingerprint()
    (modules_folder / "own_pack/layers.py").write_text(text)
    assert fingerprint() == before


@pytest.mark.parametrize(
    "text", ["WIDTH = 9\n", "WIDTH = 8.0\n", "WIDTH = '8'\n", "WIDTH = -8\n", "WIDE = 8\n", "syntax error"]
)
def test_what_the_code_says_counts(modules_folder, text):
    before = fingerprint()
    (modules_folder / "own_pack/layers.py").write_text(text)
    assert fingerprint() != before


def test_a_string_that_is_no_docstring_counts(modules_folder):
    (modules_folder / "own_late.py").write_text("def f():\n    '''doc'''\n    return 'a'\n")
    before = fingerprint()
    (modules_folder / "own_late.py").write_text("def f():\n    '''other'''\n    return 'a'\n")
    assert fingerprint() == before
    (modules_folder / "own_late.py").write_text("def f():\n    '''other'''\n    return 'b'\n")
    assert fingerprint() != before


def test_it_is_the_same_in_another_folder(modules_folder, tmp_path_factory, monkeypatch):
    before, other = fingerprint(), tmp_path_factory.mktemp("other")
    for name, text in FILES.items():
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(other), *[path for path in sys.path if path != str(modules_folder)]])
    assert fingerprint() == before


def test_installed_packages_do_not_count(modules_folder):
    installed = modules_folder / "site-packages"
    (installed / "bought").mkdir(parents=True)
    (installed / "bought/__init__.py").write_text("X = 1\n")
    sys.path.append(str(installed))
    try:
        (modules_folder / "own_late.py").write_text("import bought\n")
        before = fingerprint()
        (installed / "bought/__init__.py").write_text("X = 2\n")
        assert fingerprint() == before
        before = fingerprint("bought")
        (installed / "bought/__init__.py").write_text("X = 3\n")
        assert fingerprint("bought") != before, "a function in it that the user names does"
    finally:
        sys.path.remove(str(installed))


def test_a_module_without_a_source_file_has_no_fingerprint():
    assert fingerprint("math") == ""
    assert fingerprint("no_such_module") == ""


def test_ours_have_none():
    network = {"model": "lenet-300-100", "dataset": "digits"}
    for task in (
        Cell(**network, criterion="snip", sparsity=0.9, seed=0),
        Cell(model="torchvision:resnet18", dataset="digits", criterion="dense", sparsity=0.0, seed=0),
        IrpTask(**network),
        ScorerTask(irp=("ab",)),
        SweepTask(irp=("ab",), points=({"lr": 0.1},), downstream=Downstream(**network, sparsity=0.5)),
    ):
        assert code_of(task) == {}
        assert list(functions_of(task)) == []


def test_a_sweep_calls_its_backbones_and_the_network_that_it_trains(modules_folder, monkeypatch):
    mine = type("Mine", (), {"__module__": "own_pack.nets"})
    monkeypatch.setattr("autosparse.experiment.sources.BACKBONES", ChainMap({"mine": mine}, BACKBONES))
    network = Downstream(model="lenet-300-100", dataset="digits", sparsity=0.5)
    task = SweepTask(irp=("ab",), points=({"lr": 0.1},), downstream=network)
    theirs = {"downstream": network.model_copy(update={"model": "own_pack.nets:f"})}
    rates = {"space": {"lr": {"uniform": (0.1, 0.2)}}, "fit": FitSpec().model_copy(update={"backbone": "mine"})}
    for changes, called in (
        (theirs, ["model own_pack.nets:f"]),
        ({"points": ({"backbone": "mine"}, {"lr": 0.1})}, ["backbone mine"]),
        (theirs | {"space": {"backbone": {"choice": ("mlp", "mine")}}}, ["model own_pack.nets:f", "backbone mine"]),
        (rates | {"points": ()}, ["backbone mine"]),
    ):
        assert [function.key for function in functions_of(task.model_copy(update=changes))] == called


def test_features_and_criteria_that_a_formula_or_a_fit_reads_count(modules_folder, monkeypatch):
    def compute(state, name):
        return state.values[name]

    compute.__module__ = "own_pack.nets"
    monkeypatch.setitem(FEATURES._members, "mine", Feature("mine", compute, frozenset()))
    cell = Cell(model="lenet-300-100", dataset="digits", criterion="formula", sparsity=0.9, seed=0)
    formula = cell.model_copy(update={"options": {"expression": "mine + 2 * log_param"}})
    fit = FitSpec(backbone="linear", inputs=("mine", "log_param"))
    sweep = SweepTask(irp=("ab",), points=({"lr": 0.1},))
    for task in (
        formula,
        ScorerTask(irp=("ab",), fit=fit, dataset="digits"),
        sweep.model_copy(update={"fit": fit}),
        sweep.model_copy(update={"points": ({"inputs": ["mine", "log_param"]},)}),
        sweep.model_copy(update={"space": {"inputs": {"choice": [["param"], ["mine"]]}}}),
    ):
        assert code_of(task) == {"feature mine": fingerprint()}
    assert code_of(cell) == {}
    assert (
        code_of(ScorerTask(irp=("ab",), fit=FitSpec(backbone="linear", inputs=("log_param",)), dataset="digits")) == {}
    )
