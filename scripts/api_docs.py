#!/usr/bin/env python
"""Write the API reference from the docstrings: what ``import autosparse`` gives, and what plugins build on.

python scripts/api_docs.py                  # writes site/autosparse.html, and a page for each module beside it
"""

import importlib
import re
from pathlib import Path
from types import ModuleType

from jinja2 import pass_context
from jinja2.runtime import Context
from pdoc import doc, render
from pdoc.render_helpers import to_markdown_with_context

import autosparse
from autosparse.files import write_atomic
from autosparse.version import __version__

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
MODULES = (
    "autosparse",
    "autosparse.analysis",
    "autosparse.criteria",
    "autosparse.criteria.features",
    "autosparse.models",
    "autosparse.data",
    "autosparse.masks",
    "autosparse.errors",
    "autosparse.results.frame",
)
"""The package, and below it what a plugin or a notebook imports."""
PAGES = {
    "README": "README.md",
    "Commands and experiment files": "experiments/GUIDE.md",
    "Methods": "autosparse/METHODS.md",
    "The library": "autosparse/README.md",
    "Questions and answers": "FAQ.md",
    "What has changed": "CHANGELOG.md",
}
FIELD = re.compile(r"(?m)^(:(?:param|raises) [^:\n]+:) +")


def public(name: str) -> doc.Module:
    """A module with all names of its ``__all__``, of which ``autosparse`` imports most on first use."""
    module = importlib.import_module(name)
    shown = ModuleType(name, module.__doc__)
    vars(shown).update(vars(module))
    vars(shown).update({exported: getattr(module, exported) for exported in getattr(module, "__all__", ())})
    if module is autosparse:
        vars(shown)["results"] = importlib.import_module("autosparse.results.frame").results  # asp.results calls it
    return doc.Module(shown)


@pass_context
def to_markdown(context: Context, docstring: str) -> str:
    """pdoc's Markdown of a docstring, in which the text of a field begins a line.

    If the text were on the line of the field's name, pdoc would take all up to its last colon for the name.
    """
    return to_markdown_with_context(context, FIELD.sub(r"\1\n    ", docstring))


def write_docs(site: Path) -> list[Path]:
    """Write the pages, and return their paths.

    :param site: the folder; what is in it stays, unless it has the name of a page.
    """
    modules = {name: public(name) for name in MODULES}
    render.configure(
        docformat="restructuredtext",
        footer_text=f"autosparse {__version__}",
        template_directory=Path(__file__).parent / "docs",
    )
    render.env.globals["pages"] = PAGES
    render.env.filters["to_markdown"] = to_markdown
    files = {name.replace(".", "/") + ".html": render.html_module(module, modules) for name, module in modules.items()}
    files |= {"index.html": render.html_index(modules), "search.js": render.search_index(modules)}
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(site / name, text.encode())
    return [site / name for name in files]


def main() -> None:
    """Write ``site/``, and say where it begins."""
    write_docs(SITE)
    print(SITE / "autosparse.html")


if __name__ == "__main__":
    main()
