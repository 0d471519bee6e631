import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosparse.errors import AutosparseError, UnknownName
from autosparse.schedule import SCHEDULES, density_after


@pytest.mark.parametrize(
    ("schedule", "final", "densities"),
    [
        ("geometric", 0.0625, [0.5, 0.25, 0.125, 0.0625]),
        ("geometric", 0.0001, [0.1, 0.01, 0.001, 0.0001]),
        ("linear", 0.2, [0.8, 0.6, 0.4, 0.2]),
        ("linear", 1.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_densities_by_hand(schedule, final, densities):
    assert [density_after(i, 4, final, schedule) for i in range(1, 5)] == pytest.approx(densities)


def test_default_is_geometric():
    assert density_after(10, 20, 0.01) == pytest.approx(0.1)


@given(st.sampled_from(SCHEDULES), st.integers(1, 50), st.floats(1e-6, 1))
def test_density_never_rises_and_ends_at_the_final_one(schedule, iterations, final):
    densities = [density_after(i, iterations, final, schedule) for i in range(1, iterations + 1)]
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] == pytest.approx(final, rel=1e-6)
    assert densities[0] <= 1


@pytest.mark.parametrize("final", [0, -0.1, 1.01, float("nan")])
def test_final_density_outside_the_unit_interval_is_refused(final):
    with pytest.raises(AutosparseError, match=rf"final density must be in \(0, 1\].*got {final}"):
        density_after(1, 4, final)


@pytest.mark.parametrize("iteration", [0, 5, -1])
def test_iteration_outside_the_run_is_refused(iteration):
    with pytest.raises(AutosparseError, match=rf"iteration {iteration} is not in 1\.\.4"):
        density_after(iteration, 4, 0.1)


def test_unknown_schedule_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown schedule 'geo': did you mean 'geometric'\?"):
        density_after(1, 4, 0.1, "geo")
