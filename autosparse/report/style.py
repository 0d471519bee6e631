"""The look of figures: palette, markers, and the two formats of the page."""

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

INK, GREY, FAINT = "#222222", "#6b6b6b", "#e4e4e4"
WARM = ("#D55E00", "#E69F00")
COOL = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers: warm for learned methods, cool for the others."""
LIGHT, DARK = "#fefefe", "#232323"
"""Texts on coloured cells; like the cells, and unlike INK, they look the same on a dark page."""
LAYERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#222222")
MARKERS = "osD^v><p*hXP"
LINES = ("-", "--", "-.", ":")
COLUMNS = 4
"""Small panels in a row."""
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


def small_panels(names: Sequence[str], room: float) -> tuple[Figure, list[Axes]]:
    """A figure, and its panels for a mean score by each of ``names``.

    :param room: inches of its height that are not for panels.
    """
    rows, across = math.ceil(len(names) / COLUMNS), min(COLUMNS, len(names))
    figure = Figure(figsize=(9.2, 2.1 * rows + room), layout="constrained")
    panels = figure.subplots(rows, across, sharey=True, squeeze=False).ravel().tolist()
    for axes, name in zip(panels, names, strict=False):
        axes.set_xlabel(shown(name))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[::across]:
        axes.set_ylabel("mean score")
    return figure, panels[: len(names)]


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
