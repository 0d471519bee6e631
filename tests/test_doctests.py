"""The examples in the docstrings of public names run, and give what they say."""

import doctest
import inspect

import pytest
import torch

import autosparse as asp


def examples():
    """Each public name's examples, and those of the package, by the name."""
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=True)
    public = {name: getattr(asp, name) for name in asp.__all__}
    named = {"autosparse": asp.__doc__, **{n: inspect.getdoc(v) for n, v in public.items() if callable(v)}}
    found = [
        doctest.DocTestParser().get_doctest(text, {}, name, None, 0) for name, text in named.items() if ">>>" in text
    ]
    classes = [value for value in public.values() if inspect.isclass(value)]
    return found + [test for one in classes for test in finder.find(one, globs={})[1:] if test.examples]


def test_what_users_call_first_has_an_example():
    first = {"autosparse", "Masks", "Recipe", "Trainer", "compact", "fit_scorer", "load_dataset", "prune", "score"}
    assert first <= {test.name for test in examples()}


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_an_example_runs_and_gives_what_it_says(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test.globs |= {"asp": asp, "torch": torch}
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(test, out=told.append).failed == 0, "".join(told)
