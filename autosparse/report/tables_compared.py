"""The tables of a comparison."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from autosparse.report.compared import Comparison, Pair
from autosparse.report.formats import percent
from autosparse.report.table import NOTHING, Cell, Row, Table


def difference_table(title: str, found: Sequence[Pair], comparison: Comparison) -> Table:
    """One row per method and sparsity: the difference with its interval, how sure it is, and both means."""
    rows = [Row(name_of(pair, comparison), _cells(pair), "" if comparison.settings else "names") for pair in found]
    columns = ["method", "sparsity", "A − B", "p", "A", "B", "seeds"]
    return Table(f"Test accuracy, A − B, {title}", columns, rows, "wide")


def name_of(pair: Pair, comparison: Comparison) -> str:
    """The method, with what sets the two apart, unless that is the same in all pairs."""
    method = pair.method or comparison.name
    return f"{method} ({pair.settings})" if pair.settings and not comparison.settings else method


def _cells(pair: Pair) -> list[Cell]:
    means = [
        Cell(f"{mean:.2f}", mark="best" if pair.better == side else "")
        for mean, side in zip(pair.means, "AB", strict=True)
    ]
    p = NOTHING if pair.p is None else Cell(p_text(pair.p))
    return [Cell(percent(pair.place[2])), Cell(difference_text(pair)), p, *means, Cell(str(pair.difference.pairs))]


def difference_text(pair: Pair) -> str:
    """``+0.40 ± 0.12``; without an interval for one seed."""
    half = pair.difference.half_width
    return f"{pair.difference.difference:+.2f}" + ("" if half is None else f" ± {half:.2f}")


def p_text(p: float) -> str:
    """A p-value in two digits, ``< 0.001`` if it is smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def apart_table(comparison: Comparison) -> Table | None:
    """What sets the two apart; None if nothing does."""
    rows = [Row(each.what, [Cell(each.a), Cell(each.b), Cell(each.where)], "names") for each in comparison.apart]
    return Table("What sets them apart", ["setting", "A", "B", "comparisons"], rows, "wide") if rows else None


def alone_table(comparison: Comparison) -> Table | None:
    """Cells that only one of the two has; None if both have the same."""
    rows = [
        Row(
            each.method or comparison.name,
            [Cell(each.network), Cell(", ".join(map(percent, each.sparsities))), _seeds(each.a), _seeds(each.b)],
        )
        for each in comparison.alone
    ]
    columns = ["method", "network", "sparsities", "seeds of A alone", "seeds of B alone"]
    return Table("Cells that only one has", columns, rows, "wide") if rows else None


def _seeds(seeds: Sequence[int]) -> Cell:
    return Cell(", ".join(_spans(seeds))) if seeds else NOTHING


def _spans(seeds: Iterable[int]) -> Iterator[str]:
    """``0–4, 7``, of ascending seeds."""
    for _, run in itertools.groupby(enumerate(seeds), lambda placed: placed[1] - placed[0]):
        first, *rest = (seed for _, seed in run)
        yield f"{first}–{rest[-1]}" if rest else str(first)


def compared_tables(comparison: Comparison) -> Iterator[Table]:
    """All tables, in the order of the page."""
    for title, found in comparison.networks.items():
        yield difference_table(title, found, comparison)
    yield from filter(None, (apart_table(comparison), alone_table(comparison)))
