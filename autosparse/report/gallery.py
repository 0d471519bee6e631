"""The figures of a report: each drawn once, shown in the page, and kept as a file."""

import base64
import re
from collections.abc import Callable

from markupsafe import Markup
from matplotlib.figure import Figure

from autosparse.report.style import draw_png, draw_svg, inlined
from autosparse.report.tips import tips_of

FOLDER = "figures"
PLOT = Markup('<div class="plot" tabindex="0"><div class="canvas">{}</div>{}</div>')
TIPS = Markup('<script type="application/json">{}</script>')


class Drawing:
    """Draws a figure when it is called, and keeps it, because only a drawn figure knows where its points are."""

    def __init__(self, draw: Callable[[], Figure]) -> None:
        self._draw = draw

    def __call__(self) -> Figure:
        """The figure."""
        self.figure = self._draw()
        return self.figure


class Gallery:
    """Draws figures when the page asks for them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Content of the files ``figures/NN-name.svg`` or ``.png``, by name, in the order of the page."""

    def svg(self, draw: Callable[[], Figure], name: str) -> Markup:
        """A plot with an ``<svg>``. Matplotlib has escaped the texts in it, so the page must not do so again."""
        title, drawing = f"figure {len(self.files) + 1} {name}", Drawing(draw)
        text = draw_svg(drawing, title)
        self._keep(name, "svg", text.encode())
        return _plot(Markup(inlined(text, title)), drawing.figure)

    def png(self, draw: Callable[[], Figure], name: str, told: str) -> Markup:
        """A plot with an ``<img>``, for clouds of points that would make a heavy SVG; ``told`` describes it."""
        drawing = Drawing(draw)
        data = draw_png(drawing)
        self._keep(name, "png", data)
        address = "data:image/png;base64," + base64.b64encode(data).decode()
        return _plot(Markup('<img src="{}" alt="{}">').format(address, told), drawing.figure)

    def _keep(self, name: str, ending: str, data: bytes) -> None:
        self.files[f"{FOLDER}/{len(self.files) + 1:02d}-{slug(name)}.{ending}"] = data


def _plot(picture: Markup, figure: Figure) -> Markup:
    """The picture in a box that can be scrolled, with what it answers to a pointer."""
    tips = tips_of(figure)
    return PLOT.format(picture, TIPS.format(Markup(tips)) if tips else "")


def slug(title: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80]
