"""The page of a comparison: one HTML file that needs nothing but a browser."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mlflow import MlflowClient

from autosparse.report.compared import Pair, comparison_of
from autosparse.report.figures_compared import differences_figure
from autosparse.report.gallery import Gallery
from autosparse.report.page import Report, environment, written_by
from autosparse.report.tables_compared import alone_table, apart_table, compared_tables, difference_table


def write_comparison(client: MlflowClient, a: str, b: str, folder: Path, experiment: str | None = None) -> Path:
    """Write ``folder/index.html``, which compares two experiments, and return its path.

    Its tables and figures lie beside it, as those of :func:`autosparse.report.page.write_report` do.

    :param experiment: the experiment that has the methods (or scorers) ``a`` and ``b``; None: they are experiments.
    :raises AutosparseError: if both are the same, one is not known, or they have no cell in common; if MLflow does not
        answer; or if ``folder`` cannot be written or holds files of these names that no report has written.
    """
    return render_comparison(client, a, b, experiment).write(folder)


def render_comparison(client: MlflowClient, a: str, b: str, experiment: str | None = None) -> Report:
    """The page of :func:`write_comparison`, its tables and figures."""
    found, gallery = comparison_of(client, a, b, experiment), Gallery()

    def draw(title: str, pairs: Sequence[Pair]) -> str:
        return gallery.svg(partial(differences_figure, pairs, found), f"differences {title}")

    template = environment().get_template("compared.html.j2")
    tables = {"apart": apart_table(found), "alone": alone_table(found), "difference_table": difference_table}
    page = template.render(found=found, draw_differences=draw, **tables, **written_by(client))
    return Report(page, list(compared_tables(found)), gallery)
