#!/usr/bin/env python
"""Draw the README's figure from the measured tables of experiments/README.md, so that the two cannot differ.

python scripts/readme_figure.py             # writes experiments/figures/leading-scorer.svg
"""

import argparse
import re
from html import escape
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from output import output
from scipy import stats

from autosparse.files import write_atomic
from autosparse.report.axes import density_axis
from autosparse.report.style import COOL, GREY, INK, WARM, draw_svg

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
TABLES = EXPERIMENTS / "README.md"
FIGURE = EXPERIMENTS / "figures" / "leading-scorer.svg"
SECTION = "## Learned scorers that prune in rounds\n"
CELL = r"\**(\d+\.\d+) ± (\d+\.\d+)\**"
PANELS = {
    "nothing is trained before pruning": ("autos-context", "force", "synflow", "autos-paper", "snip", "magnitude"),
    "short trainings before pruning, undone afterwards": (
        "autos-prospect-100",
        "early-magnitude-100",
        "autos-prospect-160",
        "early-magnitude-160",
        "prospr-first-order",
    ),
}
"""The methods to draw, by the title of their panel."""

Points = dict[str, list[tuple[float, float, float]]]
"""Method -> (sparsity, mean accuracy in %, half of its 95 % interval in points) at each sparsity."""


def measured(page: str) -> Points:
    """The rows of the section's accuracy tables; the page gives each mean with the standard deviation over seeds."""
    _, found, section = page.partition(SECTION)
    if not found:
        raise SystemExit(f"{TABLES} has no section {SECTION.strip()!r}")
    section = re.split(r"\n##+ ", section)[0]  # without its subsections
    first, last = map(int, re.findall(r"seeds (\d+)-(\d+)", section)[0])
    seeds, columns, points = last - first + 1, [], {}
    for line in section.splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name == "method":
            columns = [float(cell.removesuffix("%")) / 100 for cell in cells if cell.endswith("%")]
        values = [re.fullmatch(CELL, cell) for cell in cells[: len(columns)]]
        if columns and values and all(values):
            means = [(float(value[1]), half_width(float(value[2]), seeds)) for value in values if value]
            points[name] = [(sparsity, *mean) for sparsity, mean in zip(columns, means, strict=True)]
    return points


def half_width(deviation: float, seeds: int) -> float:
    """Half of the 95 % interval of a mean over ``seeds``, by Student's t."""
    return float(stats.t.ppf(0.975, seeds - 1)) * deviation / seeds**0.5


def described(points: Points) -> str:
    """The numbers of the figure in words, which the file holds too: for screen readers, and for the test."""
    rows = []
    for method in (method for methods in PANELS.values() for method in methods):
        values = (f"{mean:.2f} ± {half:.2f} at {100 * sparsity:g} %" for sparsity, mean, half in points[method])
        rows.append(f"{method}: {', '.join(values)}")
    return "Test accuracy in %, mean ± half of its 95 % interval. " + "; ".join(rows) + "."


def draw(points: Points) -> Figure:
    """A panel for each kind of method, on one scale of accuracy."""
    figure = Figure(figsize=(9.2, 3.9), layout="constrained")
    for axes, (title, methods) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
        _panel(axes, {method: points[method] for method in methods})
        axes.set_title(title)
    figure.axes[0].set_ylabel("test accuracy (%)")
    return figure


def _panel(axes: Axes, points: Points) -> None:
    warm, cool = iter(WARM), iter((*COOL, GREY))
    for method, values in points.items():
        learned = method.startswith("autos")
        color = next(warm if learned else cool)
        density, means, halves = [1 - s for s, _, _ in values], [m for _, m, _ in values], [h for _, _, h in values]
        width = 2.2 if learned else 1.2
        axes.errorbar(density, means, halves, color=color, marker="o", markersize=4, linewidth=width, capsize=3)
        end = {"textcoords": "offset points", "xytext": (9, 0), "va": "center", "annotation_clip": False}
        weight = "bold" if learned else "normal"
        axes.annotate(method, (density[-1], means[-1]), color=INK, fontsize=8, fontweight=weight, **end)
    density_axis(axes, [1 - sparsity for sparsity, _, _ in next(iter(points.values()))])


def as_svg(points: Points) -> str:
    """The file: the drawing, described in words."""
    head, start, rest = draw_svg(lambda: draw(points), FIGURE.stem).partition("<defs>")
    return f"{head}<desc>{escape(described(points))}</desc>\n {start}{rest}"


def main() -> None:
    """Parse, read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=output, default=FIGURE)
    out = parser.parse_args().out
    out.parent.mkdir(exist_ok=True)
    write_atomic(out, as_svg(measured(TABLES.read_text())).encode())
    print(out)


if __name__ == "__main__":
    main()
