"""The parts of every table of a report: cells with text, notes and a mark."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """The content of one place of a table."""

    text: str
    notes: tuple[str, ...] = ()
    """Texts in smaller letters behind the text, or below it in a stacked table."""
    mark: str = ""
    """Why it stands out: ``best``, ``collapsed`` or ``marked``; ``none`` if there is nothing to show."""
    shade: int | None = None
    """Strength of the colour behind it, in percent."""
    plain: str | None = None
    """The whole as one text, for files; None: the text and the notes, with semicolons between."""

    def __str__(self) -> str:
        return "; ".join((self.text, *self.notes)) if self.plain is None else self.plain


NOTHING = Cell("–", mark="none")


@dataclass(frozen=True)
class Row:
    """A named row."""

    name: str
    cells: Sequence[Cell]
    mark: str = ""
    """What is special about it: ``dense``, ``learned``, or ``names`` if its name may take several lines."""


@dataclass(frozen=True)
class Table:
    """Rows of cells."""

    title: str
    columns: list[str]
    """Titles of the columns; the first column holds the rows' names."""
    rows: list[Row]
    layout: str = ""
    """Any of ``wide``, ``stacked`` (notes below their text), ``tight`` and ``square``, separated by spaces."""
    foot: Row | None = None
    notes: tuple[str, ...] = ()
    """What readers must know about the table, a line each."""

    def has(self, mark: str) -> bool:
        """Whether any cell has this mark."""
        return any(cell.mark == mark for row in self.rows for cell in row.cells)


def texts(title: str, columns: list[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts; the first of a row is its name."""
    made = [Row(name, [NOTHING if text == NOTHING.text else Cell(text) for text in rest]) for name, *rest in rows]
    return Table(title, columns, made)
