"""The figures of a report: each drawn once, shown in the page, and kept as a file."""

import base64
import functools
import re
from collections.abc import Callable

from markupsafe import Markup
from matplotlib.figure import Figure

from autosparse.report.style import draw_png, draw_svg, inlined
from autosparse.report.tips import tips_of

FOLDER = "figures"
PLOT = Markup('<div class="plot" tabindex="0"><div class="canvas">{}</div>{}</div>')
TIPS = Markup('<script type="application/json">{}</script>')


class Gallery:
    """Draws figures when the page asks for them.

    Each is drawn once; only then are the positions of its points known.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Content of the files ``figures/NN-name.svg`` or ``.png``, by name, in the order of the page."""

    def svg(self, draw: Callable[[], Figure], name: str) -> Markup:
        """A plot with an ``<svg>``. Matplotlib has escaped the texts in it, so the page must not do so again."""
        title, drawn = f"figure {len(self.files) + 1} {name}", functools.cache(draw)
        text = draw_svg(drawn, title)
        self._keep(name, "svg", text.encode())
        return _plot(Markup(inlined(text, title)), drawn())

    def png(self, draw: Callable[[], Figure], name: str, told: str) -> Markup:
        """A plot with an ``<img>``, for clouds of points that would make a heavy SVG; ``told`` describes it."""
        drawn = functools.cache(draw)
        data = draw_png(drawn)
        self._keep(name, "png", data)
        address = "data:image/png;base64," + base64.b64encode(data).decode()
        return _plot(Markup('<img src="{}" alt="{}">').format(address, told), drawn())

    def _keep(self, name: str, ending: str, data: bytes) -> None:
        self.files[f"{FOLDER}/{len(self.files) + 1:02d}-{slug(name)}.{ending}"] = data


def _plot(picture: Markup, figure: Figure) -> Markup:
    """The picture in a box that can be scrolled, with the tooltips of its points."""
    tips = tips_of(figure)
    return PLOT.format(picture, TIPS.format(Markup(tips)) if tips else "")


def slug(title: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80]
