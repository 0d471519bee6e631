"""The report of an experiment: one HTML file that needs nothing but a browser."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from mlflow import MlflowClient

from autosparse.analysis.sketch import LARGEST_ERROR, SIZE
from autosparse.errors import safe_uri
from autosparse.experiment.stages import NAMED
from autosparse.report.collect import make_sections, natural
from autosparse.report.collect_autos import fits_of, in_order, irp_run
from autosparse.report.collect_frontier import frontiers_of
from autosparse.report.export import table_files, tables_of
from autosparse.report.figures_autos import prediction_figure, states_figure, survival_figure
from autosparse.report.figures_curves import curves_figure, drawn_sparsities
from autosparse.report.figures_density import density_figure, has_densities, numbered
from autosparse.report.figures_frontier import frontier_figure
from autosparse.report.figures_grid import accuracy_figure, iterations_figure
from autosparse.report.folder import PAGE, write_files
from autosparse.report.formats import percent, seeds_text, sort_key
from autosparse.report.gallery import Gallery
from autosparse.report.published import concordance_table, published_tables
from autosparse.report.style import LineStyle, line_styles
from autosparse.report.table import Table
from autosparse.report.tables import accuracy_table, density_table, effect_table
from autosparse.report.tables_agreement import changing_table, concordance_tables, overlap_table
from autosparse.report.tables_cost import method_costs, stage_costs
from autosparse.report.tables_frontier import frontier_table
from autosparse.report.tables_size import size_table
from autosparse.results.costs import wall_seconds
from autosparse.results.runs import ORIGIN, Run, facts_of, failed_tasks, finished_runs, parent_and_summary, run_pages
from autosparse.version import __version__

IRP_SHOWN = 2
"""Number of IRP runs whose figures are drawn; runs on one network look much alike."""
UNTOLD = {
    "description": "", "notes": [], "changes": [], "preset": "", "command": "autosparse run FILE.yaml", "file": "",
    "tasks": {"cells": 1}, "layers": {},
}  # fmt: skip
"""The summary of an experiment that has no parent run, because an older version wrote it."""
IRP_COMPARED = 12
"""Number of IRP runs whose survival scores are compared: as many as fit on a page."""


@dataclass(frozen=True)
class Report:
    """What :func:`write_report` writes."""

    page: str
    """HTML."""
    tables: list[Table]
    figures: Gallery

    def write(self, folder: Path) -> Path:
        """Write the page, and its tables and figures beside it; return the path of the page."""
        write_files(folder, {PAGE: self.page.encode(), **table_files(self.tables), **self.figures.files})
        return folder / PAGE


def write_report(client: MlflowClient, experiment: str, folder: Path) -> Path:
    """Write ``folder/index.html`` with everything that MLflow holds of an experiment, and return its path.

    Each of its tables lies in ``folder/tables`` as Markdown, CSV and LaTeX, and each of its figures in
    ``folder/figures`` as SVG or, for a cloud of points, PNG.

    The page appears whole or not at all, and contains its figures and styles. It reads only MLflow: runs, metrics, and
    the samples of weights that were logged as artifacts. The page says if a sample cannot be read.

    :raises AutosparseError: if MLflow does not answer or has no such experiment, or if ``folder`` cannot be written or
        holds files of these names that no report has written.
    """
    return render(client, experiment).write(folder)


def render(client: MlflowClient, experiment: str, live: Mapping[str, Any] | None = None) -> Report:
    """The page of :func:`write_report`, its tables and figures.

    :param live: how far the experiment is, for a page that keeps itself up to date (``live.html.j2``).
    """
    cells, irp = finished_runs(client, experiment, "cell"), in_order(finished_runs(client, experiment, "irp"))
    parent, told = parent_and_summary(client, experiment)
    summary = {**UNTOLD, **told}
    sections = make_sections(cells, summary["layers"])
    fits = fits_of(client, experiment, irp)
    runs = [*cells, *irp, *(fit.run for fit in fits)]
    compared = [irp_run(client, run) for run in irp[:IRP_COMPARED]]
    published, concordant = published_tables(summary, cells), concordance_table(summary)
    concordances = concordance_tables(compared)
    sweeps = finished_runs(client, experiment, "sweep")
    stages = _stages(client, parent, irp=irp, sweeps=sweeps, scorers=[fit.run for fit in fits], grid=cells)
    frontiers = frontiers_of(cells, irp, [fit.run for fit in fits], sweeps)
    gallery, template = Gallery(), environment().get_template("page.html.j2")
    page = template.render(
        experiment=experiment,
        summary=summary,
        published=published,
        concordant=concordant,
        sections=sections,
        irp=compared[:IRP_SHOWN],
        concordances=concordances,
        compared=len(compared),
        fits=fits,
        stages=stages,
        frontiers=frontiers,
        counts={"cell": len(cells), "IRP run": len(irp), "scorer": len(fits)},
        failed=failed_tasks(client, experiment),
        networks=list(dict.fromkeys(f"{section.model} on {section.dataset}" for section in sections)),
        provenance=provenance_of(runs),
        run_pages=run_pages(client, experiment),
        live=live,
        **written_by(client),
        **_drawing(gallery, line_styles(method for section in sections for method in section.methods)),
    )
    return Report(page, list(tables_of(sections, published, concordant, concordances, stages, frontiers)), gallery)


def provenance_of(runs: Iterable[Run]) -> dict[str, str]:
    """Commits, machines, versions and data fingerprints of the runs, with the number of runs of each if they differ."""
    found = facts_of(runs)
    places = [name.replace("_", " ") for name in ORIGIN]

    def rank(name: str) -> tuple[int, bool, object]:
        return places.index(name) if name in places else len(places), not name.startswith("data "), natural(name)

    return {name: _tally(found[name]) for name in sorted(found, key=rank)}


def _drawing(gallery: Gallery, styles: Mapping[str, LineStyle]) -> dict[str, Callable[..., str]]:
    """The functions with which the templates draw."""
    svg, png = gallery.svg, gallery.png
    return {
        "draw_accuracy": lambda panel: svg(partial(accuracy_figure, panel, styles), f"accuracy {panel.title}"),
        "draw_curves": lambda panel: svg(partial(curves_figure, panel, styles), f"training {panel.title}"),
        "draw_densities": lambda panel: svg(partial(density_figure, panel), f"density {panel.title}"),
        "draw_iterations": lambda irp: svg(partial(iterations_figure, irp), f"iterations {irp.run.name}"),
        "draw_survival": lambda irp, told: png(
            partial(survival_figure, irp, irp.sample), f"survival {irp.run.name}", told
        ),
        "draw_states": lambda fit: svg(partial(states_figure, fit.sample), f"states {fit.run.name}"),
        "draw_frontier": lambda found: svg(partial(frontier_figure, found, styles), f"frontier {found.title}"),
        "draw_prediction": lambda fit, told: png(
            partial(prediction_figure, fit.sample), f"prediction {fit.run.name}", told
        ),
    }


def written_by(client: MlflowClient) -> dict[str, str]:
    """Tell when a page is written, from which MLflow, and by which version of autosparse."""
    written = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    return {"written": written, "tracking_uri": safe_uri(client.tracking_uri), "version": __version__}


def environment() -> Environment:
    """The environment of the templates."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": percent, "seeds_text": seeds_text, "shell": shlex.quote, "sort_key": sort_key}
    tables = (accuracy_table, density_table, effect_table, overlap_table, changing_table, size_table, method_costs)
    tests = (drawn_sparsities, has_densities, numbered)
    made.globals |= {each.__name__: each for each in (*tables, frontier_table, *tests)}
    made.globals |= {"sketch_size": SIZE, "sketch_error": LARGEST_ERROR}
    return made


def _stages(client: MlflowClient, parent: str | None, **runs: list[Run]) -> Table | None:
    stages = {name: (NAMED[name].costs, of_stage) for name, of_stage in runs.items()}
    return stage_costs(stages, wall_seconds(client, parent, stages))


def _tally(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return ", ".join(f"{value} ({count} run{'s' if count > 1 else ''})" for value, count in values.most_common())
