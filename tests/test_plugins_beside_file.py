"""Modules beside an experiment file are found, by its plugins and its factories, and by nobody who only looks."""

import json
import sys

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.errors import AutosparseError
from autosparse.experiment.files import import_plugins
from autosparse.experiment.load import load_experiment
from autosparse.plugins import Plugins, load_plugins, withholding

EXPERIMENT = """
name: mine
plugins: [{plugin}]
grid:
  models: ["beside_models:factory"]
  datasets: [digits]
  methods: [magnitude]
  sparsities: [0.5]
  seeds: [0]
"""


@pytest.fixture
def folder_with_plugin(tmp_path, monkeypatch):
    """A folder that is not the current one, with an experiment, a plugin and a module of factories."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    (tmp_path / "beside_plugin.py").write_text("")
    (tmp_path / "beside_models.py").write_text("def factory(num_classes, input_shape): ...")
    (tmp_path / "mine.yaml").write_text(EXPERIMENT.format(plugin="beside_plugin"))
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("beside"):
            del sys.modules[name]


def test_a_file_finds_its_plugins_and_factories_beside_it(folder_with_plugin):
    load_experiment(folder_with_plugin / "mine.yaml")
    assert {"beside_plugin", "beside_models"} <= sys.modules.keys()


def test_workers_look_in_the_folder_of_the_file(folder_with_plugin):
    from autosparse.cli.run import planned

    assert planned(str(folder_with_plugin / "mine.yaml"), None, []).plugins == Plugins(
        ("beside_plugin",), str(folder_with_plugin)
    )


def test_a_module_of_python_comes_before_one_of_the_folder(folder_with_plugin):
    load_plugins([], str(folder_with_plugin))
    assert sys.path[-1] == str(folder_with_plugin)


@pytest.mark.parametrize("own", ["json.py", "json/__init__.py"])
def test_a_plugin_that_an_installed_module_hides_is_refused(folder_with_plugin, own):
    (folder_with_plugin / own).parent.mkdir(exist_ok=True)
    (folder_with_plugin / own).write_text("")
    with pytest.raises(AutosparseError, match=rf"plugin 'json': .*/{own} is hidden by .*: rename it"):
        load_plugins(["json"], str(folder_with_plugin))


@pytest.mark.parametrize("same", [True, False])
def test_a_plugin_that_one_of_another_folder_hides_is_refused_unless_it_is_a_copy(folder_with_plugin, same):
    other = folder_with_plugin / "other"
    other.mkdir()
    (other / "beside_plugin.py").write_text("" if same else "MINE = True\n")
    load_plugins(["beside_plugin"], str(folder_with_plugin))
    if same:
        load_plugins(["beside_plugin"], str(other))
    else:
        with pytest.raises(
            AutosparseError, match=r"other/beside_plugin.py is hidden by .*/beside_plugin.py, which has"
        ):
            load_plugins(["beside_plugin"], str(other))


def test_whoever_only_looks_at_a_file_does_not_look_beside_it(folder_with_plugin):
    with withholding():
        load_experiment(folder_with_plugin / "mine.yaml")
    assert str(folder_with_plugin) not in sys.path


def test_the_plugins_of_a_file_are_imported_for_a_listing(folder_with_plugin):
    answer = CliRunner().invoke(app, ["list", "models", "--plugins", str(folder_with_plugin / "mine.yaml"), "--json"])
    assert answer.exit_code == 0, answer.output
    assert "beside_plugin" in sys.modules


def test_what_a_module_registers_is_listed(folder_with_plugin, monkeypatch):
    from autosparse.criteria import CRITERIA

    "magnitude" in CRITERIA  # noqa: B015  (it loads the members that the copy below must have)
    monkeypatch.setattr(CRITERIA, "_members", {**CRITERIA._members})
    (folder_with_plugin / "beside_criterion.py").write_text(
        "from autosparse.criteria import criterion\n"
        "@criterion('beside', paper='none')\n"
        "def beside(model, batches, loss):\n    'Its summary.'\n"
    )
    listed = (
        CliRunner()
        .invoke(app, ["list", "criteria", "--plugins", str(folder_with_plugin / "beside_criterion.py"), "--json"])
        .stdout
    )
    assert "beside" in [row["name"] for row in json.loads(listed)]


@pytest.mark.parametrize(
    ("given", "reason"), [("none.py", "no module none.py"), ("lenet-mnist", "lenet-mnist names no plugins")]
)
def test_a_listing_without_plugins_to_import_is_refused(folder_with_plugin, monkeypatch, given, reason):
    monkeypatch.chdir(folder_with_plugin)
    with pytest.raises(AutosparseError, match=reason):
        import_plugins(given)


def test_no_folder_is_looked_in_for_a_shipped_file(folder_with_plugin, monkeypatch):
    looked = []
    monkeypatch.chdir(folder_with_plugin)
    monkeypatch.setattr("autosparse.experiment.load.load_plugins", lambda modules, where: looked.append(where))
    load_experiment("lenet-mnist")
    assert set(looked) == {None}
