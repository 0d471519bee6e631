"""What `import autosparse` offers, and what it leaves for later."""

import subprocess
import sys

import grimp
import networkx
import pytest

import autosparse as asp


@pytest.mark.parametrize("name", asp.__all__)
def test_each_public_name_is_there_and_is_listed(name):
    assert getattr(asp, name) is not None
    assert name in dir(asp)


def test_parts_are_there_without_an_import_of_their_own_and_what_is_not_is_an_attribute_error():
    assert asp.criteria.CRITERIA
    with pytest.raises(AttributeError, match="'autosparse' has no attribute 'prun'"):
        asp.prun  # noqa: B018
    assert not hasattr(asp, "__wrapped__")


def test_the_command_line_answers_without_pytorch():
    probe = "import sys, autosparse.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("autosparse", cache_dir=None)
    edges = [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]
    circles = [found for found in networkx.strongly_connected_components(networkx.DiGraph(edges)) if len(found) > 1]
    assert circles == []
