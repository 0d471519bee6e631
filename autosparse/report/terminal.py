"""The leaderboard for the terminal."""

from mlflow import MlflowClient
from rich.markup import escape
from rich.table import Table

from autosparse.report.collect import Section, make_sections
from autosparse.report.formats import seeds_text
from autosparse.report.table import NOTHING, Cell
from autosparse.report.tables import accuracy_table
from autosparse.results.runs import finished_runs

CAPTION = "in brackets: number of seeds; ranked as if all had the same"


def leaderboard(client: MlflowClient, experiment: str) -> list[Table]:
    """Test accuracy of an experiment: one table per model and dataset, methods as rows, sparsities as columns.

    Entries are mean ± sample standard deviation over seeds in percent. Dense comes first, the others by their mean
    at the highest sparsity; the best of them at each sparsity is bold. Empty if no cell has finished.
    """
    return [_table(section) for section in make_sections(finished_runs(client, experiment, "cell"))]


def _table(section: Section) -> Table:
    content = accuracy_table(section)
    same_n = len(section.counts) == 1
    title = f"{section.title}: test accuracy in %, {seeds_text(section.counts)}"
    table = Table(title=escape(title), caption=None if same_n else CAPTION)
    table.add_column("method", no_wrap=True)
    for column in content.columns[1:]:
        table.add_column(column, justify="right")
    for row in content.rows:
        table.add_row(escape(row.name), *map(_markup, row.cells), end_section="dense" in row.mark)
    return table


def _markup(cell: Cell) -> str:
    if cell == NOTHING:
        return f"[dim]{cell.text}[/dim]"
    text = " ".join((cell.text, *cell.notes)).replace("± ", "±")
    return f"[bold]{text}[/bold]" if cell.mark == "best" else text
