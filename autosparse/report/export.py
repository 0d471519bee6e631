"""Every table of a report as Markdown, CSV and LaTeX, for papers and spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from autosparse.report.collect import Section
from autosparse.report.gallery import slug
from autosparse.report.published import Beside, Concordant, Table
from autosparse.report.tables import Density, Effect, Entry, accuracy_table, density_table, effect_table
from autosparse.report.tables_agreement import Agreement, Square, overlap_table
from autosparse.report.tables_cost import Costs, method_costs
from autosparse.report.tables_size import Size, size_table

FOLDER = "tables"
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
MARKS = {"±": r"$\pm$", "–": "--", "✕": r"$\times$"}


@dataclass(frozen=True)
class Plain:
    """A table of texts."""

    title: str
    columns: list[str]
    """The first is that of the rows' names."""
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        """With its title as a heading."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = "\n".join(f"| {' | '.join(_markdown(text) for text in line)} |" for line in lines)
        return f"### {_markdown(self.title)}\n\n{body}\n"

    @property
    def csv(self) -> str:
        """Comma-separated, a header line first."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    @property
    def latex(self) -> str:
        """A booktabs ``table``."""
        head, *body = (" & ".join(map(_latex, line)) + r" \\" for line in [self.columns, *self.rows])
        parts = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(self.title)}}}"]
        parts += [rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\toprule", head, r"\midrule", *body]
        return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def plain_tables(
    sections: Sequence[Section],
    published: Iterable[Table],
    concordant: Sequence[Concordant],
    concordances: Iterable[Square],
    stages: Costs | None,
) -> Iterator[Plain]:
    """In the order of the page."""
    for table in published:
        yield Plain(f"Published and measured, {table.title}", ["method", *table.columns], _rows(table.rows))
    if concordant:
        rows = [[pair.name, pair.published, pair.measured, pair.source] for pair in concordant]
        yield Plain("Concordance of IRP runs", ["runs", "published", "measured", "source"], rows)
    for section in sections:
        accuracy = accuracy_table(section)
        named = [(method.name, entries) for method, entries in accuracy.rows]
        yield Plain(f"Test accuracy, {section.title}", ["method", *accuracy.columns], _rows(named))
        if densities := density_table(section):
            columns = ["layer", *(method.name for method in densities.methods)]
            yield Plain(f"Density at {densities.sparsity}, {section.title}", columns, _rows(densities.rows))
        if sizes := size_table(section):
            before = [f"before: {sizes.before}", *("" for _ in sizes.columns)]
            yield Plain(f"Size, {section.title}", ["method", *sizes.columns], [before, *_rows(sizes.rows)])
        if effects := effect_table(section):
            named_effects = [(method.name, entries) for method, entries in effects.rows]
            yield Plain(f"Effective sparsity, {section.title}", ["method", *effects.columns], _rows(named_effects))
        if overlaps := overlap_table(section):
            yield _square(f"Overlap of masks at {overlaps.title}, {section.title}", overlaps)
    for square in concordances:
        yield _square(f"Agreement of survival scores, {square.title}", square)
    for costs in (stages, *map(method_costs, sections)):
        if costs is not None:
            yield Plain(costs.title, costs.columns, costs.rows)


def table_files(tables: Iterable[Plain]) -> dict[str, bytes]:
    """Each as ``tables/NN-title.md``, ``.csv`` and ``.tex``."""
    return {
        f"{FOLDER}/{number:02d}-{slug(table.title)}.{ending}": text.encode()
        for number, table in enumerate(tables, 1)
        for ending, text in (("md", table.markdown), ("csv", table.csv), ("tex", table.latex))
    }


def _square(title: str, square: Square) -> Plain:
    return Plain(title, ["", *square.names], _rows(zip(square.names, square.rows, strict=True)))


Item = Entry | Density | Effect | Size | Beside | Agreement | None


def _rows(rows: Iterable[tuple[str, Sequence[Item]]]) -> list[list[str]]:
    return [[name, *map(_text, items)] for name, items in rows]


def _text(item: Item) -> str:
    match item:
        case Entry():
            return f"{item.text} ({item.n})"
        case Density():
            return f"{item.mean} ✕{item.collapsed}" if item.collapsed else item.mean
        case Effect():
            return f"{item.sparsity} ✕{item.disconnected}" if item.disconnected else item.sparsity
        case Size():
            return f"{item.weights}, FLOPs {item.flops}" if item.flops else item.weights
        case Beside():
            measured = [f"{item.measured} ({item.n})", item.difference] if item.n else ["not measured"]
            return "; ".join(filter(None, [item.published, *measured]))
        case Agreement():
            return item.text
        case None:
            return "–"


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    return "".join(MARKS.get(character, LATEX.get(character, character)) for character in text)
