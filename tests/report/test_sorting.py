"""The numbers by which tables are sorted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosparse.report.formats import duration, quantity, sort_key


def number_of(text: str) -> float | None:
    found = sort_key(text)
    return float(text) if found is None else found


@given(st.floats(0, 9e17), st.sampled_from(["", "FLOPs"]))
def test_a_quantity_is_its_three_digits(value: float, unit: str) -> None:
    assert number_of(quantity(value, unit)) == pytest.approx(value, rel=6e-3, abs=6e-3)


@given(st.floats(0.01, 1e7))
def test_a_duration_is_its_seconds(seconds: float) -> None:
    found = number_of(duration(seconds))
    assert found == pytest.approx(seconds, rel=0.06 if seconds < 10 else 0.02, abs=0.5 if seconds >= 10 else 0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("95.00", None),
        ("+1.5", None),
        ("", None),
        ("overlap 50.0%", None),
        ("min", None),
        ("5 ✕1", 5),
        ("91.94 ± 0.12 (3)", 91.94),
        ("1,234", 1234),
        ("99.5%", 99.5),
        ("2.66 k (1%)", 2660),
        ("3.30 G ★", 3.3e9),
        ("56 s ★", 56),
        ("1 h 5 min", 3900),
        ("12 kittens", 12),
        ("-0.25 ± 0.10", -0.25),
    ],
)
def test_a_text_is_the_number_that_it_starts_with(text: str, expected: float | None) -> None:
    assert sort_key(text) == (None if expected is None else pytest.approx(expected))


def test_less_than_a_number_comes_before_it() -> None:
    assert 0 < sort_key("< 0.01") < 0.01
