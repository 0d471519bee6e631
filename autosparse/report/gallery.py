"""The figures of a report: each drawn once, shown in the page, and kept as a file."""

import base64
import re
from collections.abc import Callable

from markupsafe import Markup
from matplotlib.figure import Figure

from autosparse.report.style import draw_png, draw_svg, inlined

FOLDER = "figures"


class Gallery:
    """Draws figures when the page asks for them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Content of the files ``figures/NN-name.svg`` or ``.png``, by name, in the order of the page."""

    def svg(self, draw: Callable[[], Figure], name: str) -> Markup:
        """An ``<svg>`` element. Matplotlib has escaped the texts in it, so the page must not do so again."""
        title = f"figure {len(self.files) + 1} {name}"
        text = draw_svg(draw, title)
        self._keep(name, "svg", text.encode())
        return Markup(inlined(text, title))

    def png(self, draw: Callable[[], Figure], name: str) -> str:
        """A ``data:`` address, for clouds of points that would make a heavy SVG."""
        data = draw_png(draw)
        self._keep(name, "png", data)
        return "data:image/png;base64," + base64.b64encode(data).decode()

    def _keep(self, name: str, ending: str, data: bytes) -> None:
        self.files[f"{FOLDER}/{len(self.files) + 1:02d}-{slug(name)}.{ending}"] = data


def slug(title: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80]
