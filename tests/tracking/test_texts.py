"""Params as texts: what is written is read back, and so is what earlier versions wrote."""

import pytest

from autosparse.tracking.texts import alike, names_in, text_of


@pytest.mark.parametrize("names", [[], ["param"], ["param", "grad"], ["it's", 'a "name"', "ä"]])
def test_a_list_is_json_and_comes_back(names):
    assert names_in(text_of(names)) == names


@pytest.mark.parametrize(("text", "names"), [("['param', 'grad']", ["param", "grad"]), ("[]", []), ("", [])])
def test_what_python_printed_is_read_too(text, names):
    assert names_in(text) == names


def test_other_values_are_what_python_prints():
    assert [text_of(own) for own in (0.1, None, True, "cpu")] == ["0.1", "None", "True", "cpu"]


def test_lists_of_both_versions_are_alike():
    assert alike("['param', 'grad']", '["param", "grad"]')
    assert alike("[60, 120]", "[60, 120]")
    assert not alike("['param']", '["grad"]')
