"""The leaderboard of the terminal."""

from mlflow import MlflowClient
from rich.markup import escape
from rich.table import Table

from autosparse.report.collect import Section, sections_of
from autosparse.report.tables import Entry, accuracy_table, seeds_text


def leaderboard(client: MlflowClient, experiment: str) -> list[Table]:
    """Test accuracy of an experiment: one table per model and dataset, methods as rows, sparsities as columns.

    Entries are mean ± sample standard deviation over seeds in percent. Dense comes first, the others by their mean
    at the highest sparsity; the best of them at each sparsity is bold. Empty if no cell has finished.
    """
    return [_table(section) for section in sections_of(client, experiment)]


def _table(section: Section) -> Table:
    content = accuracy_table(section)
    same_n = len(section.counts) == 1
    title = f"{section.title}: test accuracy in %, {seeds_text(section.counts)}"
    table = Table(title=escape(title), caption=None if same_n else "in brackets: number of seeds")
    table.add_column("method", no_wrap=True)
    for column in content.columns:
        table.add_column(column, justify="right")
    for method, entries in content.rows:
        table.add_row(escape(method.name), *[_markup(entry, same_n) for entry in entries], end_section=method.dense)
    return table


def _markup(entry: Entry | None, same_n: bool) -> str:
    if entry is None:
        return "[dim]–[/dim]"
    text = entry.text if same_n else f"{entry.text} ({entry.n})"
    return f"[bold]{text}[/bold]" if entry.best else text
