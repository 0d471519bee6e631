"""What every table of a report is made of: cells with text, notes and a mark."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What stands at one place of a table."""

    text: str
    notes: tuple[str, ...] = ()
    """Said in smaller letters behind the text, or below it in a stacked table."""
    mark: str = ""
    """Why it stands out: ``best``, ``collapsed``, ``marked``, or ``none`` if there is nothing to show."""
    shade: int | None = None
    """Strength of the colour behind it, in percent."""
    plain: str = ""
    """The whole as one text, for files; empty: the text and the notes, with semicolons between."""

    def __str__(self) -> str:
        return self.plain or "; ".join((self.text, *self.notes))


NOTHING = Cell("–", mark="none")


@dataclass(frozen=True)
class Row:
    """A named row."""

    name: str
    cells: Sequence[Cell]
    mark: str = ""
    """What is special of it: ``dense``, ``learned``, or ``names`` if its name may take several lines."""


@dataclass(frozen=True)
class Table:
    """Rows of cells."""

    title: str
    columns: list[str]
    """The first is that of the rows' names."""
    rows: list[Row]
    layout: str = ""
    """Of ``wide``, ``stacked`` (notes below their text), ``tight`` and ``square``, with spaces between."""
    foot: Row | None = None
    notes: tuple[str, ...] = ()
    """What must be known beside it, a line each."""

    def has(self, mark: str) -> bool:
        """Whether any cell has this mark."""
        return any(cell.mark == mark for row in self.rows for cell in row.cells)


def texts(title: str, columns: list[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts; the first of a row is its name."""
    made = [Row(name, [NOTHING if text == NOTHING.text else Cell(text) for text in rest]) for name, *rest in rows]
    return Table(title, columns, made)
