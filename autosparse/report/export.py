"""Write every table of a report as Markdown, CSV and LaTeX, for papers and spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from autosparse.report.collect import Section
from autosparse.report.collect_frontier import Frontier
from autosparse.report.gallery import slug
from autosparse.report.table import Cell, Row, Table
from autosparse.report.tables import accuracy_table, density_table, effect_table
from autosparse.report.tables_agreement import changing_table, overlap_table
from autosparse.report.tables_cost import method_costs
from autosparse.report.tables_frontier import frontier_table
from autosparse.report.tables_size import size_table

FOLDER = "tables"
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
LATEX |= {"<": "$<$", ">": "$>$", "|": r"\textbar{}"}
"""Characters that LaTeX takes for something else; the last three look different in its usual font."""
MARKS = {"±": r"$\pm$", "–": "--", "−": "$-$", "✕": r"$\times$", "★": r"$\star$", "☆": r"$\circ$"}
"""Characters of our tables that LaTeX does not know without a package."""


def markdown(table: Table) -> str:
    """The table with its title as a heading."""
    lines = _lines(table)
    lines.insert(1, ["---"] * len(table.columns))
    body = "\n".join(f"| {' | '.join(_markdown(text) for text in line)} |" for line in lines)
    return f"### {_markdown(table.title)}\n\n{body}\n"


def comma_separated(table: Table) -> str:
    """The table as CSV, a header line first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_lines(table))
    return text.getvalue()


def latex(table: Table) -> str:
    """The table as a booktabs ``table``."""
    head, *body = (" & ".join(map(_latex, line)) + r" \\" for line in _lines(table))
    parts = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(table.title)}}}"]
    parts += [rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _lines(table: Table) -> list[list[str]]:
    return [table.columns, *([row.name, *map(str, row.cells)] for row in table.rows)]


def tables_of(
    sections: Sequence[Section],
    published: Iterable[Table],
    concordant: Table | None,
    concordances: Iterable[Table],
    stages: Table | None,
    frontiers: Sequence[Frontier] = (),
) -> Iterator[Table]:
    """All tables, in the order of the page."""
    for table in published:
        yield replace(table, title=f"Published and measured, {table.title}")
    if concordant:
        yield concordant
    for section in sections:
        made = (accuracy_table, density_table, _with_size_before, effect_table, overlap_table, changing_table)
        yield from filter(None, (make(section) for make in made))
    yield from concordances
    yield from filter(None, (stages, *map(method_costs, sections)))
    yield from map(frontier_table, frontiers)


def _with_size_before(section: Section) -> Table | None:
    """The table of sizes, with the network before pruning as its first row."""
    table = size_table(section)
    if table is None:
        return None
    before = Row(f"before: {table.notes[0]}", [Cell("")] * (len(table.columns) - 1))
    return replace(table, rows=[before, *table.rows])


def table_files(tables: Iterable[Table]) -> dict[str, bytes]:
    """The content of each table's files, ``tables/NN-title.md``, ``.csv`` and ``.tex``, by name."""
    return {
        f"{FOLDER}/{number:02d}-{slug(table.title)}.{ending}": text.encode()
        for number, table in enumerate(tables, 1)
        for ending, text in (("md", markdown(table)), ("csv", comma_separated(table)), ("tex", latex(table)))
    }


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    return "".join(MARKS.get(character, LATEX.get(character, character)) for character in text)
