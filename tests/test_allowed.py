"""What a declaration allows, in types, ranges and words."""

from typing import Annotated, Literal

import pytest

from autosparse.allowed import AtLeastOne, Within, fits, wording


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "words"),
    [
        (Annotated[int, "channels of the stem"], 3, "3", "a whole number"),
        (Annotated[int, "channels of the stem", Within(1)], 3, 0, "a whole number at least 1"),
        (Annotated[str, "a name"], "a", 1, "text"),
        (Annotated[AtLeastOne | None, object()], None, 0, "a whole number at least 1"),
    ],
)
def test_notes_of_others_in_an_annotation_do_not_count(annotation, good, bad, words):
    assert fits(good, annotation)
    assert not fits(bad, annotation)
    assert wording(annotation) == words


def test_a_literal_takes_the_types_of_its_values_and_lists_them():
    assert fits("c", Literal["a", "b"])
    assert not fits(1, Literal["a", "b"])
    assert wording(Literal["a", "b"]) == "'a' or 'b'"
