"""The look of figures: palette, markers, axes of density, and the two formats of the page."""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from autosparse.report.collect import Method
from autosparse.report.tables import percent

INK, GREY, FAINT = "#222222", "#6b6b6b", "#e4e4e4"
WARM = ("#D55E00", "#E69F00")
COOL = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers: warm for learned methods, cool for the others."""
LIGHT, DARK = "#fefefe", "#232323"
"""Texts on coloured cells; like the cells, and unlike INK, they look the same on a dark page."""
LAYERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#222222")
MARKERS = "osD^v><p*hXP"
LINES = ("-", "--", "-.", ":")
ADAPTED = ("#ffffff", INK, GREY, FAINT, *WARM, *COOL)
"""Colours that the page's style sheet may replace, as ``--figure-222222`` for ``#222222``: it does on a dark page."""

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "text.parse_math": False,  # names are shown as they are, dollars and all
}


@dataclass(frozen=True)
class LineStyle:
    """The look of a method's line, the same in every figure of a report."""

    color: str
    marker: str
    line: str
    emphasis: bool


def line_styles(methods: Iterable[Method]) -> dict[str, LineStyle]:
    """A style for each pruned method, by name. Up to twelve methods have different markers, and few share a colour."""
    learned = {method.name: method.learned for method in methods if not method.dense}
    counters = {True: itertools.count(), False: itertools.count()}
    styles = {}
    for index, name in enumerate(sorted(learned, key=lambda name: (not learned[name], name))):
        palette, place = (WARM if learned[name] else COOL), next(counters[learned[name]])
        line = LINES[place // len(palette) % len(LINES)]
        styles[name] = LineStyle(palette[place % len(palette)], MARKERS[index % len(MARKERS)], line, learned[name])
    return styles


def shown(name: str) -> str:
    """``name`` as a label: Matplotlib hides labels that start with an underscore."""
    return f" {name}" if name.startswith("_") else name


def density_axis(axes: Axes, densities: Sequence[float], ticks: Sequence[float] | None = None) -> None:
    """Make the x axis density on a log scale, sparse to the right, with ticks labelled as sparsity.

    ``ticks`` are densities too, by default those drawn; ticks out of range are left out.
    """
    low, high = math.log10(min(densities)), math.log10(max(densities))
    span = max(high - low, 0.1)
    places = sorted({math.log10(d) for d in ticks or densities if low <= math.log10(d) <= high})
    labelled: list[float] = []
    for place in places:  # from the sparsest on, which matters most where labels would collide
        if not labelled or place - labelled[-1] > 0.065 * span:
            labelled.append(place)
    axes.set_xscale("log")
    axes.set_xlim(10 ** (high + 0.06 * span), 10 ** (low - 0.06 * span))
    axes.set_xticks([10**p for p in labelled], [percent(1 - 10**p) for p in labelled])
    axes.set_xticks([10**p for p in places if p not in labelled], minor=True)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("sparsity (log scale of density)")


def spread_axis(axes: Axes, x: np.ndarray) -> None:
    """Spread the x axis of long-tailed values: linear near 0, logarithmic further out, smooth in between."""
    size = np.abs(x)
    largest = float(size.max(initial=0))
    width = max(float(np.median(size)), largest / 300) if len(size) else 0.0
    if largest <= 10 * width:  # no long tail
        return
    axes.set_xscale("asinh", linear_width=width)
    low, high = 1.2 * min(x.min(), -width), 1.2 * max(x.max(), width)
    axes.set_xlim(low, high)
    decades = [10.0**power for power in range(math.ceil(math.log10(3 * width)), math.ceil(math.log10(largest)) + 1)]
    ticks = [tick for tick in (*(-decade for decade in reversed(decades)), 0.0, *decades) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def draw_svg(draw: Callable[[], Figure], name: str) -> str:
    """The figure as an SVG file, the same each time."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({**RC, "svg.hashsalt": name}):
        draw().savefig(text, format="svg", metadata=nothing)
    return text.getvalue()


def inlined(svg: str, name: str) -> str:
    """The ``<svg>`` element of an SVG file, for HTML.

    It has ids that no other figure of the page has, and colours that the page may replace.
    """
    svg = svg[svg.index("<svg") :]
    prefix = re.sub(r"\W", "-", name)
    colours = "|".join(colour.removeprefix("#").lower() for colour in ADAPTED)
    svg = re.sub(rf"\b(fill|stroke): #({colours})\b", r"\1: var(--figure-\2, #\2)", svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}-", svg)


def draw_png(draw: Callable[[], Figure]) -> bytes:
    """The figure as a small PNG."""
    with matplotlib.rc_context({**RC, "figure.dpi": 150}):
        canvas = FigureCanvasAgg(draw())
        canvas.draw()  # savefig() would draw twice
    return _small_png(Image.fromarray(np.asarray(canvas.buffer_rgba())))


def _small_png(image: Image.Image) -> bytes:
    """The image in 256 colours, which has a third of the size and looks the same."""
    small = image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, background = small.getpalette() or [], small.getpixel((0, 0))
    assert isinstance(background, int)
    palette[3 * background : 3 * background + 3] = [255, 255, 255]  # the octree makes white a shade darker
    small.putpalette(palette)
    data = io.BytesIO()
    small.save(data, "png", optimize=True)
    return data.getvalue()


def layer_colors(count: int) -> list[str]:
    """A colour per layer: distinct ones for a few, from dark to light by depth for many."""
    if count <= len(LAYERS):
        return list(LAYERS[:count])
    scale = matplotlib.colormaps["viridis"]
    return [matplotlib.colors.to_hex(scale(place)) for place in np.linspace(0, 0.93, count)]
