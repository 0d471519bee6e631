"""The figure of a comparison: each difference with its interval, and a line at zero."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autosparse.report.compared import Comparison, Pair
from autosparse.report.formats import percent
from autosparse.report.style import COOL, GREY, INK, WARM, shown
from autosparse.report.tables_compared import difference_text, name_of, p_text
from autosparse.report.tips import tell

LOOKS = {"A": (COOL[0], "o", "A is significantly better"), "B": (WARM[0], "s", "B is significantly better")}
"""Colour, marker and label of what is significant."""
OPEN = (GREY, "D", "not significant")
LONGEST = 40
"""Most letters of a name beside the axis."""


def differences_figure(found: Sequence[Pair], comparison: Comparison) -> Figure:
    """The differences, one line a method and sparsity, with bars of the 95 % interval."""
    figure = Figure(figsize=(9.2, 1.3 + 0.27 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1.0)
    for line, pair in enumerate(found):
        color, marker, _ = LOOKS.get(pair.better, OPEN)
        difference = pair.difference
        axes.errorbar(
            difference.difference, line, xerr=difference.half_width, color=color, linewidth=1.4, capsize=2.5,
            marker=marker, markersize=6, markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        seeds = (f"seed {seed}: {value:+.2f}" for seed, value in pair.by_seed.items())
        p = "" if pair.p is None else f"p {p_text(pair.p)}, corrected"
        title = f"{name_of(pair, comparison)}, {percent(pair.place[2])} sparse"
        tell(axes, difference.difference, line, title, f"{difference_text(pair)} points", p, *seeds)
    axes.set_yticks(range(len(found)), [shown(_label(pair, comparison)) for pair in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel("test accuracy, A − B, in percentage points")
    axes.grid(axis="y", visible=False)
    looks = {pair.better: LOOKS.get(pair.better, OPEN) for pair in found}
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=6, markeredgecolor="white", label=label)
        for color, marker, label in looks.values()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _label(pair: Pair, comparison: Comparison) -> str:
    name = pair.method or comparison.name
    return f"{name if len(name) <= LONGEST else name[: LONGEST - 1] + '…'}  {percent(pair.place[2])}"
