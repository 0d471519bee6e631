"""The page of a comparison: one HTML file that needs nothing but a browser."""

from datetime import datetime
from functools import partial
from pathlib import Path

from mlflow import MlflowClient

from autosparse.errors import safe_uri
from autosparse.report.compared import comparison_of
from autosparse.report.export import table_files
from autosparse.report.figures_compared import differences_figure
from autosparse.report.folder import PAGE, write_files
from autosparse.report.gallery import Gallery
from autosparse.report.page import Report, environment
from autosparse.report.tables_compared import alone_table, apart_table, compared_tables, difference_table
from autosparse.version import __version__


def write_comparison(client: MlflowClient, a: str, b: str, folder: Path, experiment: str | None = None) -> Path:
    """Write ``folder/index.html``, which compares two experiments, and return its path.

    Its tables and figures lie beside it, as those of :func:`autosparse.report.page.write_report` do.

    :param experiment: the experiment that has the methods (or scorers) ``a`` and ``b``; None: they are experiments.
    :raises AutosparseError: if both are the same, one is not known, or they have no cell in common; if MLflow does not
        answer; or if ``folder`` cannot be written or holds files of these names that no report has written.
    """
    report = render_comparison(client, a, b, experiment)
    write_files(Path(folder), {PAGE: report.page.encode(), **table_files(report.tables), **report.figures.files})
    return Path(folder) / PAGE


def render_comparison(client: MlflowClient, a: str, b: str, experiment: str | None = None) -> Report:
    """The page of :func:`write_comparison`, its tables and figures."""
    found, gallery = comparison_of(client, a, b, experiment), Gallery()
    page = (
        environment()
        .get_template("compared.html.j2")
        .render(
            found=found,
            draw_differences=lambda title, pairs: gallery.svg(
                partial(differences_figure, pairs, found), f"differences {title}"
            ),
            difference_table=difference_table,
            apart=apart_table(found),
            alone=alone_table(found),
            written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
            tracking_uri=safe_uri(client.tracking_uri),
            version=__version__,
        )
    )
    return Report(page, list(compared_tables(found)), gallery)
