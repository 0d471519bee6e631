"""The report of an experiment: one HTML file that needs nothing but a browser."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure
from mlflow import MlflowClient

from autosparse.analysis.sketch import LARGEST_ERROR, SIZE
from autosparse.files import write_atomic
from autosparse.report.collect import make_sections, natural
from autosparse.report.collect_autos import fits_of, in_order, irp_runs_of
from autosparse.report.figures_autos import prediction_figure, survival_figure
from autosparse.report.figures_grid import accuracy_figure, iterations_figure
from autosparse.report.plain import Plain, plain_tables, write_tables
from autosparse.report.published import concordant_pairs, published_tables, summary_of
from autosparse.report.style import inline_png, inline_svg, line_styles
from autosparse.report.tables import accuracy_table, density_table, effect_table, percent, seeds_text
from autosparse.report.tables_agreement import concordance_tables, overlap_table
from autosparse.tracking.client import find_experiment, safe_uri, tracking_errors
from autosparse.tracking.log import FAILED
from autosparse.tracking.pages import all_runs
from autosparse.tracking.query import Run, finished_runs
from autosparse.version import __version__

IRP_SHOWN = 2
"""IRP runs whose figures are drawn; those of one network look much alike."""
UNTOLD = {
    "description": "",
    "notes": [],
    "changes": [],
    "preset": "",
    "command": "autosparse run FILE.yaml",
    "file": "",
    "tasks": {"cells": 1},
}
"""Of an experiment without a parent run: what an older version wrote."""
IRP_COMPARED = 12
"""IRP runs whose survival scores are compared: as many as fit on a page."""


def write_report(client: MlflowClient, experiment: str, folder: Path) -> Path:
    """Write ``folder/index.html`` with everything that MLflow holds of an experiment, and return its path.

    Each of its tables lies in ``folder/tables`` as Markdown, CSV and LaTeX, too.

    The file is whole or not there, and holds its figures and styles itself. Only MLflow is read: runs, metrics, and
    the samples of weights that were logged as artifacts; a sample that cannot be had is told of in the page.

    :raises AutosparseError: where MLflow does not answer, knows no such experiment, or ``folder`` cannot be written.
    """
    path = Path(folder) / "index.html"
    page, tables = render(client, experiment)
    write_atomic(path, page.encode())
    write_tables(tables, Path(folder))
    return path


def render(client: MlflowClient, experiment: str) -> tuple[str, list[Plain]]:
    """The HTML of :func:`write_report`, and its tables."""
    cells, irp = finished_runs(client, experiment, "cell"), in_order(finished_runs(client, experiment, "irp"))
    sections = make_sections(cells)
    fits = fits_of(client, experiment, irp)
    runs = [*cells, *irp, *(fit.run for fit in fits)]
    summary = {**UNTOLD, **summary_of(client, experiment)}
    compared = irp_runs_of(client, irp[:IRP_COMPARED])
    published, concordant = published_tables(summary, cells), concordant_pairs(summary)
    concordances = concordance_tables(compared)
    styles = line_styles(method for section in sections for method in section.methods)
    page = _template().render(
        experiment=experiment,
        summary=summary,
        published=published,
        concordant=concordant,
        sections=sections,
        irp=compared[:IRP_SHOWN],
        concordances=concordances,
        compared=len(compared),
        fits=fits,
        counts={"cell": len(cells), "IRP run": len(irp), "scorer": len(fits)},
        failed=_failed(client, experiment),
        networks=list(dict.fromkeys(f"{section.model} on {section.dataset}" for section in sections)),
        written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        provenance=_provenance(runs),
        tracking_uri=safe_uri(client.tracking_uri),
        version=__version__,
        draw_accuracy=lambda section: _svg(partial(accuracy_figure, section, styles), f"accuracy {section.title}"),
        draw_iterations=lambda run: _svg(partial(iterations_figure, run), f"iterations {run.run.run_id}"),
        draw_survival=lambda run: inline_png(partial(survival_figure, run, run.sample)),
        draw_prediction=lambda fit: inline_png(partial(prediction_figure, fit.sample)),
    )
    return page, list(plain_tables(sections, published, concordant, concordances))


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "seeds_text": seeds_text, "shell": shlex.quote}
    tables = (accuracy_table, density_table, effect_table, overlap_table)
    environment.globals |= {table.__name__: table for table in tables}
    environment.globals |= {"sketch_size": SIZE, "sketch_error": LARGEST_ERROR}
    return environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))


def _svg(draw: Callable[[], Figure], name: str) -> Markup:
    """Matplotlib escapes the texts in it; the page must not do so again."""
    return Markup(inline_svg(draw, name))


def _failed(client: MlflowClient, experiment: str) -> int:
    with tracking_errors(client.tracking_uri):
        found = all_runs(client, find_experiment(client, experiment), f"attributes.status = '{FAILED}'")
        return sum("task_id" in run.data.tags for run in found)


def _provenance(runs: Iterable[Run]) -> dict[str, str]:
    """Commit, hosts and versions that the runs were made with, each with how many runs where they differ."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in run.tags.items():
            if name in ("git_commit", "host") or name.startswith("version."):
                found.setdefault(name.removeprefix("version.").replace("_", " "), Counter())[value] += 1
    return {name: _tally(found[name]) for name in sorted(found, key=lambda name: (name != "git commit", natural(name)))}


def _tally(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{value} ({count} runs)" for value, count in values.most_common())
