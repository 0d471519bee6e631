"""What notebooks show of an object: its line, and below it a small table."""

from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 12
"""A longer table is cut in the middle."""


def shown(line: object, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """HTML of a line of text and of a table; everything in it is escaped.

    :param rows: one value per column; floats are written with four digits.
    """
    given = [list(map(_text, row)) for row in rows]
    if len(given) > MOST_ROWS:
        left_out = [f"... {len(given) - MOST_ROWS + 1} more", *[""] * (len(columns) - 1)]
        given = [*given[: MOST_ROWS // 2], left_out, *given[1 - MOST_ROWS // 2 :]]
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in given)
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f"<div>{escape(str(line))}</div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def by_x(shape: Iterable[int]) -> str:
    """A shape as people write it: ``1x8x8``."""
    return "x".join(map(str, shape))


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
