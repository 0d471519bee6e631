"""How dense the network is after each iteration of iterative pruning."""

from autosparse.errors import AutosparseError, UnknownName

SCHEDULES = ("geometric", "linear")


def density_after(iteration: int, iterations: int, final_density: float, schedule: str = "geometric") -> float:
    """Share of weights kept after ``iteration`` (from 1) of ``iterations``.

    ``geometric``: final_density ** (i / N); each iteration removes the same share of the survivors.
    ``linear``: 1 - (1 - final_density) * i / N; each iteration removes the same number of weights.
    """
    if not 0 < final_density <= 1:
        raise AutosparseError(f"final density must be in (0, 1], the share of weights kept; got {final_density}")
    if not 1 <= iteration <= iterations:
        raise AutosparseError(f"iteration {iteration} is not in 1..{iterations}")
    if schedule == "geometric":
        return final_density ** (iteration / iterations)
    if schedule == "linear":
        return 1 - (1 - final_density) * iteration / iterations
    raise UnknownName("schedule", schedule, SCHEDULES)
