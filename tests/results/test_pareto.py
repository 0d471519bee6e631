"""The Pareto set, by hand and against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from autosparse.results.pareto import pareto

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)
"""Cost and worth, with many ties."""


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def test_hand_made_points():
    points = [(1, 80), (2, 90), (2, 85), (3, 90), (4, 89), (5, 95)]
    assert pareto(points) == [True, True, False, False, False, True]


def test_points_that_are_equal_do_not_beat_each_other():
    assert pareto([(1, 80), (1, 80), (2, 80)]) == [True, True, False]
    assert pareto([]) == []


@given(POINTS)
def test_no_point_of_the_set_is_beaten_and_every_other_is(points):
    optimal = pareto(points)
    for point, best in zip(points, optimal, strict=True):
        assert best != any(beats(other, point) for other in points)


@given(POINTS)
def test_every_point_that_is_not_in_the_set_is_beaten_by_one_that_is(points):
    best = [point for point, optimal in zip(points, pareto(points), strict=True) if optimal]
    assert all(point in best or any(beats(other, point) for other in best) for point in points)
