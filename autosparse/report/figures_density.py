"""Heat map of the density of layers: shows which layers a method empties as it prunes more."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from autosparse.report.collect import Method, Section
from autosparse.report.formats import percent
from autosparse.report.style import DARK, GREY, INK, LIGHT, shown
from autosparse.report.tips import tell

SPARSE_TO_DENSE = LinearSegmentedColormap.from_list("density", ["#f7fbff", "#b5d4ea", "#56B4E9", "#0072B2", "#00304d"])
"""One hue from light to dark, which stays in order in grey print and for colour-blind readers."""
COLLAPSED = "#D55E00"
FAINTEST = 1e-4
"""Lower densities are drawn as this one."""
NUMBERED = 12
"""Up to this many layers, cells have room for their numbers."""
MOST = 6
"""Most sparsities that are drawn."""
CHARACTER = 0.0082
"""Inches that a character takes per point of its font size."""
TURNED = 0.34
"""Width of cells in inches below which sparsities are written vertically."""
WIDTH, SCALE, GAP, HEAD, FOOT, BOTTOM = 9.2, 0.85, 0.12, 0.3, 0.3, 0.25
"""Inches of the figure, of the colour bar, between panels, above and below them, and for the label of the axis."""


@dataclass(frozen=True)
class Layout:
    """Sizes in inches of the cells, and how many panels stand side by side."""

    width: float
    height: float
    side_by_side: int
    numbers: bool
    names: float
    """Room for the layers' names."""

    @classmethod
    def of(cls, layers: Sequence[str], columns: int, panels: int) -> "Layout":
        """A layout with as many panels in a row as fit, and rows as even as possible."""
        numbers = len(layers) <= NUMBERED
        names = 0.2 + (0.075 if numbers else 0.063) * min(max(map(len, layers)), 30)
        room, least = WIDTH - names - SCALE, 0.36 if numbers else 0.15
        fitting = max(1, min(panels, int(room / (columns * least + GAP))))
        rows = -(-panels // fitting)
        side_by_side = -(-panels // rows)
        width = min((room / side_by_side - GAP) / columns, 0.7)
        height = 0.24 if numbers else float(np.clip(6 / len(layers), 0.11, 0.2))
        return cls(width, height, side_by_side, numbers, names)

    @property
    def foot(self) -> float:
        """Room below a panel; more if its cells are so narrow that sparsities are written vertically."""
        return FOOT if self.width > TURNED else FOOT + 0.2


def density_figure(section: Section) -> Figure:
    """A panel per pruned method, layers from the input down, sparsities to the right; mean densities over seeds.

    Crosses mark layer collapse: in some run the layer kept no weight at all.
    """
    sparsities, layers = _sparsities(section), _layers(section)
    methods = [method for method in section.pruned if any(s in method.points for s in sparsities)]
    names = _short(layers)
    layout = Layout.of(names, len(sparsities), len(methods))
    rows = -(-len(methods) // layout.side_by_side)
    panel = len(layers) * layout.height
    each = panel + HEAD + layout.foot
    total = rows * each + BOTTOM
    figure = Figure(figsize=(WIDTH, total))
    values = [_densities(method, layers, sparsities) for method in methods]
    norm = _norm(values)
    for index, (method, (density, collapsed)) in enumerate(zip(methods, values, strict=True)):
        row, column = divmod(index, layout.side_by_side)
        left = layout.names + column * (len(sparsities) * layout.width + GAP)
        bottom = total - row * each - HEAD - panel
        box = (left / WIDTH, bottom / total, len(sparsities) * layout.width / WIDTH, panel / total)
        axes = figure.add_axes(box)
        _draw(axes, density, collapsed, norm, layout)
        _title(axes, shown(method.name), len(sparsities) * layout.width)
        axes.set_xticks(range(len(sparsities)), [percent(s) for s in sparsities], fontsize=7)
        axes.tick_params("x", rotation=0 if layout.width > TURNED else 90)
        size = 7.5 if layout.numbers else 6.5
        axes.set_yticks(range(len(layers)), names if column == 0 else [], fontsize=size)
        _tell(axes, shown(method.name), names, sparsities, density, collapsed)
    figure.text(layout.names / WIDTH, 0.06 / total, "sparsity of the network", color=INK, fontsize=9)
    left = layout.names + layout.side_by_side * (len(sparsities) * layout.width + GAP) + 0.1
    height = min(max(panel, each + panel if rows > 1 else 0.9), 2.4, total - HEAD)
    _scale(figure, norm, (left / WIDTH, (total - HEAD - height) / total, 0.12 / WIDTH, height / total))
    return figure


def numbered(section: Section) -> bool:
    """Whether the cells of the map have room for their numbers."""
    return len(_layers(section)) <= NUMBERED


def has_densities(section: Section) -> bool:
    """Whether densities were logged."""
    return bool(_layers(section))


def _sparsities(section: Section) -> list[float]:
    found = section.pruned_sparsities
    if len(found) <= MOST:
        return found
    return [found[round(place)] for place in np.linspace(0, len(found) - 1, MOST)]


def _layers(section: Section) -> list[str]:
    points = [point for method in section.pruned for point in method.points.values()]
    return section.in_order(layer for point in points for layer in point.densities())


def _densities(method: Method, layers: list[str], sparsities: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """(layers, sparsities) each: mean density over seeds, NaN if there is none; and whether a run collapsed."""
    density = np.full((len(layers), len(sparsities)), np.nan)
    collapsed = np.zeros(density.shape, bool)
    for column, sparsity in enumerate(sparsities):
        found = method.points[sparsity].densities() if sparsity in method.points else {}
        for row, layer in enumerate(layers):
            if layer in found:
                density[row, column] = statistics.fmean(found[layer])
                collapsed[row, column] = min(found[layer]) == 0
    return density, collapsed


def _norm(values: list[tuple[np.ndarray, np.ndarray]]) -> LogNorm:
    every = np.concatenate([density[density > 0] for density, _ in values])
    lowest = float(np.clip(every.min(initial=0.1), FAINTEST, 0.1))
    return LogNorm(10 ** np.floor(np.log10(lowest)), 1.0, clip=True)


def _draw(axes: Axes, density: np.ndarray, collapsed: np.ndarray, norm: LogNorm, layout: Layout) -> None:
    picture = np.ma.masked_invalid(np.where(density > 0, density, FAINTEST) + 0 * density)
    axes.imshow(picture, cmap=SPARSE_TO_DENSE, norm=norm, aspect="auto", interpolation="none")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in np.arange(-0.5, density.shape[0]):
        axes.axhline(edge, color="white", linewidth=0.8 if layout.numbers else 0.3)
    for edge in np.arange(-0.5, density.shape[1]):
        axes.axvline(edge, color="white", linewidth=0.8)
    for (row, column), value in np.ndenumerate(density):
        if collapsed[row, column]:
            size = 28 if layout.numbers else 12
            axes.scatter(column, row, s=size, marker="x", color=COLLAPSED, linewidth=1.6, zorder=3)
        elif layout.numbers and np.isfinite(value):
            colour = LIGHT if norm(value) > 0.55 else DARK
            axes.text(column, row, _number(value), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlim(-0.5, density.shape[1] - 0.5)
    axes.set_ylim(density.shape[0] - 0.5, -0.5)


def _tell(
    axes: Axes, name: str, layers: list[str], sparsities: list[float], density: np.ndarray, collapsed: np.ndarray
) -> None:
    for (row, column), value in np.ndenumerate(density):
        if np.isfinite(value):
            kept = f"{layers[row]} keeps {100 * value:.3g} %"
            broken = "in some run it kept no weight" if collapsed[row, column] else ""
            tell(axes, column, row, f"{name}, {percent(sparsities[column])} sparse", kept, broken)


def _number(density: float) -> str:
    """A density in percent, in at most four characters."""
    value = 100 * density
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"[:4]


def _scale(figure: Figure, norm: LogNorm, box: tuple[float, float, float, float]) -> None:
    bar: Colorbar = figure.colorbar(ScalarMappable(norm, SPARSE_TO_DENSE), cax=figure.add_axes(box))
    ticks = [10.0**power for power in range(round(np.log10(norm.vmin or FAINTEST)), 1)]
    bar.set_ticks(ticks, labels=[percent(tick) for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(length=2, labelsize=7, color=GREY)
    bar.ax.set_title("density", fontsize=8, loc="left", pad=9)
    bar.outline.set_visible(False)


def _title(axes: Axes, name: str, inches: float) -> None:
    """Draw the title, smaller if it is long, and with its middle left out if that is not enough."""
    size = float(np.clip(inches / (CHARACTER * len(name)), 5.5, 9))
    most = max(int(inches / (CHARACTER * size) + 0.5), 5)
    ends = (most - 1) // 2
    axes.set_title(name if len(name) <= most else f"{name[:ends]}…{name[-ends:]}", pad=4, fontsize=size)


def _short(layers: list[str]) -> list[str]:
    """The layers' names without ``.weight``, if all end with it."""
    ending = ".weight"
    return [layer.removesuffix(ending) for layer in layers] if all(x.endswith(ending) for x in layers) else layers
